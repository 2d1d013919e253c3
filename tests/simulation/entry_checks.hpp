// Checks of what is in the table and of every Entry that a client may be given: whose it is, from which
// replies it derives, and that nothing superseded ever comes back.
//
// Basic algorithm: every key that was ever asked for is looked up after each step of control that changed
// something. A key whose Slot holds another Entry than before was published: the Entry's records are read and
// compared with the replies that its own generation accepted, which are noted as they are accepted.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cache/table.hpp"
#include "control/message/answer.hpp"
#include "control/upstream/fetch_id.hpp"
#include "tests/simulation/message.hpp"
#include "tests/simulation/network.hpp"
#include "tests/simulation/port.hpp"
#include "tests/simulation/scene.hpp"

namespace millrace::simulation {

/// A question as the table knows it.
struct KeyState {
    cache::Key key;
    cache::Hash hash = 0;
    unsigned name = 0;
    std::uint16_t qtype = 0;
    std::uint32_t native = 0, ipv4 = 0; ///< of a rule's key: the keys of the answers that its own is made of

    /// What readers could find, and until when; the last few.
    struct Shown {
        std::uint64_t fingerprint = 0;
        cache::Generation generation = 0;
        Time expiry{}, stale_until{};
        bool is_chained = false;
        Moment until = ~Moment(0);
    };
    const cache::Entry* entry = nullptr; ///< at the last look
    cache::Version newest{};             ///< that was ever seen here
    Time newest_expiry{};
    cache::Generation started = 0;
    bool is_live = false, has_slot = false;
    bool knows = false; ///< the slot, of `started`
    std::deque<Shown> shown;
    std::vector<std::uint32_t> hosts; ///< of the newest version
};

/// What of a reply does not go into an Entry: `rule` makes AAAA records of A records, or leaves some out.
struct LeftOut {
    unsigned rule = 0;
    bool is_made = false; ///< else it is AAAA records that are left out
};

class EntryChecks {
  public:
    /// Which Fetches are live: their generations and keys. Asked for rarely, as it takes long.
    using Fetches = std::vector<std::pair<cache::Generation, cache::Key>>;
    using Inflight = std::function<Fetches()>;

    EntryChecks(Scene& scene, const cache::Table& table, const SimulatedNetwork& network, Inflight inflight)
        : scene_(scene), table_(table), network_(network), inflight_(std::move(inflight)), generations_(1) {}

    /// The key that a question has; made when it is new, with the other one that its Fetch serves (DO).
    std::uint32_t key_of(const Question& question);
    std::uint32_t find_key(const cache::Key& key) const; ///< or no_key
    const KeyState& state(std::uint32_t key) const { return keys_[key]; }
    std::size_t keys() const { return keys_.size(); }

    /// A step of control begins: generations that start in it begin now.
    void begin_step() { step_began_ = ++scene_.moment; }
    void note_generations(cache::Generation last);
    /// A question was handed to the FetchTable: whatever began meanwhile is of its key.
    void note_start(std::uint32_t key, cache::Generation before, cache::Generation after);
    /// After a step that may have changed the table.
    void look();

    /// An exchange hands this to the Fetch; called before it does.
    void on_accepted(control::FetchId fetch, const control::Answer& answer);
    /// The Fetch of this generation is about to be given this order.
    void expect_order(cache::Generation generation, std::span<const dataplane::Address> order);
    /// An Entry goes to somebody who waits for `key`; called before it does.
    void on_given(const cache::Entry& entry, std::uint32_t key);

    /// Of the Fetch that was started last for the question; 0: the table does not say.
    cache::Generation newest_of(const Asked& asked) const;

    cache::Generation floor(unsigned group) const { return table_.floor(group); }
    /// Whether readers have been unable to find the Entry since `moment` or earlier. Never for one that
    /// they never could.
    bool is_linked(const void* entry) const { return linked_.contains(entry); }
    Moment unlinked_at(const void* entry) const;
    void forget(const void* entry);
    /// A key whose Fetch has this generation, or no_key.
    std::uint32_t key_of_generation(cache::Generation generation) const;
    Moment generation_began(cache::Generation generation) const {
        return generation < generations_.size() ? generations_[generation].began : 0;
    }
    static constexpr std::uint32_t no_key = ~0u;

  private:
    struct Accepted {
        std::uint32_t said = 0;
        Time received{};
    };
    struct GenerationState {
        std::uint32_t key = no_key;
        Moment began = 0;
        unsigned merge = 0, quorum = 0; ///< the policy that it began with
        std::vector<Accepted> accepted;
    };
    static std::uint64_t tag_of(unsigned name, std::uint16_t qtype, unsigned flavour) {
        return std::uint64_t(name) << 24 | std::uint64_t(qtype) << 8 | flavour;
    }
    SimulatedNetwork::Delivery held(control::FetchId fetch, const control::Answer& answer) const;
    void look_at(std::uint32_t index);
    void on_published(std::uint32_t index, const cache::Entry& entry, bool had_entry);
    std::uint32_t add_keys(unsigned name, std::uint16_t qtype, unsigned flavour);
    void add_key(unsigned name, std::uint16_t qtype, unsigned flavour);
    void belongs(cache::Generation generation, std::uint32_t key);
    void find_owners(cache::Generation since);
    void check(const cache::Entry& entry, std::uint32_t key);
    void read(const cache::Entry& entry, const KeyState& key);
    void check_hosts(const KeyState& key);
    Time check_origin(const cache::Entry& entry, const KeyState& key, const GenerationState& generation);
    bool is_ordered(const KeyState& before);
    bool may_be_ranked(std::vector<std::uint32_t> hosts, bool is_cut_first) const;
    bool is_left_out(const LeftOut& what, std::uint32_t host) const;
    std::vector<std::uint32_t> rest(const Said& said, const KeyState& key, const LeftOut& what) const;
    bool is_whole(const Accepted& accepted, const KeyState& key, unsigned revision,
                  const LeftOut& left_out = {}) const;
    const char* merge_flaw(const KeyState& key, const GenerationState& generation, unsigned revision,
                           const LeftOut& left_out, Time& latest) const;

    // Under the key of a rule of DNS64 (ruled_checks.cpp).
    const std::vector<cache::Generation>& generations_of(const KeyState& key) const;
    bool is_validated(const Said& said, const KeyState& key) const;
    bool is_bogus(const GenerationState& generation) const;
    bool is_revoked(const GenerationState& generation) const;
    Time check_ruled(const cache::Entry& entry, const KeyState& key);
    Time check_made(const cache::Entry& entry, const KeyState& key);
    Time check_native(const cache::Entry& entry, const KeyState& key);
    std::optional<Time> derived(const KeyState& from, const GenerationState& generation,
                                const LeftOut& left_out, bool authentic) const;
    bool may_be_cut_to(const GenerationState& generation,
                       const std::function<bool(std::uint32_t)>& is_such) const;
    std::optional<Time> lack_of_ipv6(const KeyState& key, const KeyState& native);
    bool lacks_ipv4(const KeyState& ipv4) const;
    void check_sockets();
    bool may_ask(std::uint64_t tag, const OpenSocket& socket) const;
    const Fetches& live();
    bool is_inflight(const OpenSocket& socket);
    bool is_inflight(cache::Generation generation);
    [[noreturn]] void fail(std::string_view invariant, const cache::Entry& entry, const std::string& detail);
    Time expiry_of(const Accepted& accepted) const;

    Scene& scene_;
    const cache::Table& table_;
    const SimulatedNetwork& network_;
    Inflight inflight_;
    std::optional<Fetches> live_; ///< once a look has asked
    std::vector<KeyState> keys_;
    std::unordered_map<std::uint64_t, std::uint32_t> index_;
    std::vector<GenerationState> generations_;                                ///< by generation
    std::unordered_map<std::uint64_t, std::vector<cache::Generation>> asked_; ///< of each question
    std::unordered_map<const void*, std::uint32_t> linked_; ///< Entries that readers can find, and their keys
    std::unordered_map<const void*, Moment> unlinked_;
    std::array<cache::Generation, 2> floors_{}; ///< by group
    Moment step_began_ = 0;
    cache::Generation ordered_ = 0;    ///< whose order is the newest,
    std::vector<std::uint32_t> order_; ///< and its hosts
    Content content_;                  ///< of the Entry under examination
    Octets message_;
};

} // namespace millrace::simulation
