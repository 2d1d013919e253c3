// What the simulated upstreams, and the forgers, ever said; and the names and addresses that
// say so themselves.
//
// Every address of a reply is a number in this ledger: 20.x.y.z (or 2a00::x:y:z) is host x.y.z. So whatever
// a client gets to see tells which name and type it was given for, by whom, through which chain of CNAMEs,
// and when: a foreign or an older address is visible in the answer itself. In the same way texts, signatures
// and SOA serials are the number of the reply that they came with.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "cache/name.hpp"
#include "cache/time.hpp"
#include "control/upstream/network.hpp"

namespace millrace::simulation {

inline constexpr std::uint16_t type_a = 1, type_cname = 5, type_soa = 6, type_txt = 16, type_aaaa = 28,
                               type_rrsig = 46;
inline constexpr unsigned rcode_noerror = 0, rcode_servfail = 2, rcode_nxdomain = 3, rcode_refused = 5;

/// Counts everything that happens, one by one: a better order than time, in which much happens at once.
using Moment = std::uint64_t;

/// Names. Name `k` is n<k>.z<k mod 5>.sim.; the links of its chains are c<link>x<k>.alias.sim.
inline constexpr unsigned zones = 5;
cache::Name name_of(unsigned name);
cache::Name zone_of(unsigned zone); ///< `zones`: sim., which all are in
cache::Name link_of(unsigned name, unsigned link);
struct Meaning {
    unsigned name = 0;
    unsigned link = 0; ///< 0: the name itself
    bool operator==(const Meaning&) const = default;
};
std::optional<Meaning> meaning_of(std::span<const std::uint8_t> name); ///< in any letter case

/// The chains that a name may have: 0 none, else the links in order.
inline constexpr unsigned chain_count = 5;
std::span<const unsigned> chain_links(unsigned chain);

enum class Nature : std::uint8_t {
    positive,
    nxdomain,
    bare_nxdomain, ///< without SOA
    nodata,
    bare_nodata, ///< without SOA: decides nothing
    bare_cname,  ///< a chain that leads nowhere: decides nothing
    failure,     ///< SERVFAIL, REFUSED
    truncated,   ///< TC=1
};

/// One reply.
struct Said {
    unsigned name = 0;
    std::uint16_t qtype = 0;
    unsigned server = 0;
    Nature nature = Nature::positive;
    unsigned rcode = 0;
    unsigned chain = 0;
    bool is_signed = false, authentic = false, scoped = false, forged = false;
    bool bogus = false;    ///< a failure that a validator is the cause of
    std::uint32_t ttl = 0; ///< the lowest
    Moment made = 0;
    control::Socket asked_by = 0; ///< whose question it answers
    std::vector<std::uint32_t> hosts;

    /// Whether a Fetch may stop at it.
    bool decides() const {
        return nature == Nature::positive || nature == Nature::nxdomain || nature == Nature::nodata;
    }
};

/// One address.
struct Host {
    unsigned name = 0;
    std::uint16_t qtype = 0;
    unsigned chain = 0;
    unsigned server = 0; ///< or `several`
    Moment made = 0;     ///< when it was first said
    bool is_private = false, forged = false;

    static constexpr unsigned several = ~0u; ///< given by whoever was asked within a short while
};

class Ledger {
  public:
    /// A new reply's number. `said.hosts` may be filled in later.
    std::uint32_t add(const Said& said);
    std::uint32_t add(const Host& host);
    /// An address that all servers give for this name at this time.
    std::uint32_t shared_host(const Host& host, std::uint64_t bucket, unsigned which);

    Said& said(std::uint32_t number) { return said_[number]; }
    const Said* find_said(std::uint32_t number) const {
        return number < said_.size() ? &said_[number] : nullptr;
    }
    const Host* find_host(std::uint32_t number) const {
        return number < hosts_.size() ? &hosts_[number] : nullptr;
    }

    /// The address of a host, 4 or 16 octets, appended.
    void append_address(std::uint32_t number, std::vector<std::uint8_t>& out) const;
    /// The host of an address that was given to a probe.
    static std::optional<std::uint32_t> host_of(std::span<const std::uint8_t> address);
    /// An address in an answer: whose it is, and behind which NAT64, 0 for none.
    struct Told {
        std::uint32_t host;
        unsigned nat64;
    };
    /// Nothing for an address that nobody can have said, and nobody have made of one.
    std::optional<Told> read_address(std::span<const std::uint8_t> address) const;

    std::string describe(std::uint32_t host) const; ///< for people

  private:
    std::vector<Said> said_;
    std::vector<Host> hosts_;
    std::map<std::tuple<unsigned, std::uint16_t, unsigned, std::uint64_t, unsigned>, std::uint32_t> shared_;
};

} // namespace millrace::simulation
