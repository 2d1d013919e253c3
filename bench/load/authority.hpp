// What an authoritative server says about made-up names (zone.hpp): A of n and m names is the address that
// the number encodes; x names: NXDOMAIN; everything else: no such record.
#pragma once

#include "bench/load/zone.hpp"
#include "cache/dns.hpp"
#include "cache/wire.hpp"
#include "dataplane/limits.hpp"

namespace millrace::bench {

struct Authority {
    static constexpr std::uint32_t day = 86'400;
    static constexpr std::uint16_t bogus = 6; ///< RFC 8914 4.7

    std::optional<cache::Name>
        zone; ///< none: each name is a zone's, which is the name without its first label
    std::uint32_t ttl = day;
    std::uint32_t wrong_every = 0; ///< names with a number that it divides get a wrong address; 0: none
    std::uint32_t bogus_every = 0; ///< names with such a number do not validate; 0: none
    dns::Rcode rcode = dns::Rcode::noerror; ///< another one is said to every question

    /// The reply over the query; 0: nothing that can be answered.
    std::size_t reply(std::span<std::uint8_t> buffer, std::size_t size) const;

  private:
    static cache::Name parent(const cache::Name& name);
    void write_soa(cache::WireWriter& out, const cache::Name& owner) const;
    void write_address(cache::WireWriter& out, std::uint32_t number) const;
};

inline cache::Name Authority::parent(const cache::Name& name) {
    auto label = std::uint8_t(name.octets[0] > 0 ? 1 + name.octets[0] : 0);
    cache::Name out;
    out.size = std::uint8_t(name.size - label);
    std::copy_n(name.octets.begin() + label, out.size, out.octets.begin());
    return out;
}

inline void Authority::write_soa(cache::WireWriter& out, const cache::Name& owner) const {
    out.bytes(owner.bytes());
    out.u16(dns::type_soa);
    out.u16(dns::class_in);
    out.u32(ttl);
    out.u16(2 + 5 * 4);
    out.u8(0); // primary and mailbox: the root
    out.u8(0);
    for (std::uint32_t number : {1U, 3600U, 600U, day, ttl}) out.u32(number);
}

inline void Authority::write_address(cache::WireWriter& out, std::uint32_t number) const {
    Ipv4 address = address_of(number);
    if (wrong_every != 0 && number % wrong_every == 0) address[3] ^= 1;
    out.u16(dns::pointer_to_question);
    out.u16(dns::type_a);
    out.u16(dns::class_in);
    out.u32(ttl);
    out.u16(4);
    out.bytes(address);
}

inline std::size_t Authority::reply(std::span<std::uint8_t> buffer, std::size_t size) const {
    cache::WireReader in(buffer.first(size));
    in.skip(2);
    std::uint16_t flags = in.u16(), questions = in.u16();
    in.u32();
    bool edns = in.u16() > 0;
    cache::Name name;
    if (questions != 1 || (flags & (dns::response | dns::opcode_mask)) != 0 || !cache::read_name(in, name))
        return 0;
    std::uint16_t type = in.u16();
    in.u16();
    if (!in.ok()) return 0;
    cache::Name owner = zone ? *zone : parent(name);
    auto host = host_of(name, owner);
    bool is_bogus = host && bogus_every != 0 && host->number % bogus_every == 0;
    dns::Rcode code = is_bogus ? dns::Rcode::servfail : rcode;
    bool fails = code != dns::Rcode::noerror;
    bool found = !fails && host && host->kind != Kind::absent && type == dns::type_a;
    if (!fails && host && host->kind == Kind::absent) code = dns::Rcode::nxdomain;
    cache::WireWriter out(buffer.subspan(in.position()));
    if (found) write_address(out, host->number);
    if (!found && !fails) write_soa(out, owner);
    if (edns) {
        out.u8(0);
        out.u16(dns::type_opt);
        out.u16(dataplane::limits::edns_octets);
        out.u32(0);
        out.u16(is_bogus ? 6 : 0);
        for (std::uint16_t word : {dns::option_extended_error, std::uint16_t(2), bogus})
            if (is_bogus) out.u16(word);
    }
    cache::WireWriter header(buffer.subspan(2, dns::header_octets - 2));
    header.u16(std::uint16_t(dns::response | dns::authoritative | (flags & dns::recursion_desired) |
                             unsigned(code)));
    header.u16(1);
    header.u16(found);
    header.u16(!found && !fails);
    header.u16(edns);
    return in.position() + out.size();
}

} // namespace millrace::bench
