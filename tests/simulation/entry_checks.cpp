#include "tests/simulation/entry_checks.hpp"

#include <algorithm>

#include "tests/simulation/servers.hpp"

namespace millrace::simulation {

namespace {

constexpr std::size_t shown_limit = 32;

} // namespace

std::uint32_t EntryChecks::key_of(const Question& question) {
    unsigned aspects = question.query.aspects;
    unsigned flavour = unsigned(aspects & dnssec ? cache::dnssec_ok : cache::plain) |
                       (aspects & unchecked ? cache::checking_disabled : cache::plain);
    unsigned name = question.query.name, rule = scene_.rule_of(question.client, name, aspects);
    if (rule == 0) return add_keys(name, type_of(aspects), flavour);
    // Those of which its answer is made come first: they are looked at first.
    std::uint32_t native = add_keys(name, type_aaaa, flavour), ipv4 = add_keys(name, type_a, flavour);
    std::uint32_t key = add_keys(name, type_aaaa, flavour | rule << cache::dns64_shift);
    keys_[key].native = native;
    keys_[key].ipv4 = ipv4;
    return key;
}

/// The key, and its other one.
std::uint32_t EntryChecks::add_keys(unsigned name, std::uint16_t qtype, unsigned flavour) {
    std::uint64_t tag = tag_of(name, qtype, flavour);
    if (!index_.contains(tag)) {
        add_key(name, qtype, flavour);
        if (flavour >> cache::dns64_shift == 0) add_key(name, qtype, flavour ^ cache::dnssec_ok);
    }
    return index_.at(tag);
}

void EntryChecks::add_key(unsigned name, std::uint16_t qtype, unsigned flavour) {
    index_.emplace(tag_of(name, qtype, flavour), std::uint32_t(keys_.size()));
    KeyState& state = keys_.emplace_back();
    state.name = name;
    state.qtype = state.key.qtype = qtype;
    state.key.qclass = 1;
    state.key.group = std::uint8_t(scene_.group_of(name));
    state.key.flavour = std::uint8_t(flavour);
    state.key.name = name_of(state.name);
    state.hash = table_.hasher()(state.key);
}

std::uint32_t EntryChecks::find_key(const cache::Key& key) const {
    auto meaning = meaning_of(key.name.bytes());
    auto found = meaning ? index_.find(tag_of(meaning->name, key.qtype, key.flavour)) : index_.end();
    return found == index_.end() ? no_key : found->second;
}

std::uint32_t EntryChecks::key_of_generation(cache::Generation generation) const {
    return generation < generations_.size() ? generations_[generation].key : no_key;
}

void EntryChecks::note_generations(cache::Generation last) {
    while (generations_.size() <= last) {
        GenerationState& generation = generations_.emplace_back();
        generation.began = step_began_;
        generation.merge = scene_.merge;
        generation.quorum = scene_.quorum;
    }
}

void EntryChecks::note_start(std::uint32_t key, cache::Generation before, cache::Generation after) {
    if (key == no_key || after == before) return;
    note_generations(after);
    KeyState& state = keys_[key];
    const cache::Node* node = table_.locate(state.key, state.hash); // none when the table is full
    if (scene_.plan.dns64) { // what is made of an answer has a generation, too, and may come in the same step
        find_owners(before);
        bool is_its = node && node->second.started > before;
        if (!is_its) return;
        belongs(node->second.started, key);
        state.started = node->second.started;
        return;
    }
    scene_.require(after == before + 1, "one question starts one Fetch", "several");
    belongs(after, key);
    scene_.require(!node || node->second.started == after, "a Fetch supersedes when it starts",
                   "the slot does not know");
    state.started = after;
}

void EntryChecks::belongs(cache::Generation generation, std::uint32_t key) {
    if (generation >= generations_.size()) scene_.fail("generations are issued", "one that nobody issued");
    std::uint32_t& owner = generations_[generation].key;
    if (owner == no_key) {
        owner = key;
        const KeyState& state = keys_[key];
        asked_[tag_of(state.name, state.qtype, state.key.flavour | cache::dnssec_ok)].push_back(generation);
    }
    cache::Key own = keys_[owner].key, other = keys_[key].key;
    own.flavour |= cache::dnssec_ok;
    other.flavour |= cache::dnssec_ok;
    if (!(own == other)) {
        scene_.fail("a generation belongs to one question",
                    "generation " + std::to_string(generation) + " of name " +
                        std::to_string(keys_[owner].name) + " came up for name " +
                        std::to_string(keys_[key].name));
    }
}

void EntryChecks::look() {
    live_.reset();
    for (std::uint32_t i = 0; i < keys_.size(); ++i) look_at(i);
    check_sockets();
    for (unsigned group : {0u, 1u}) floors_[group] = table_.floor(group);
}

void EntryChecks::look_at(std::uint32_t index) {
    KeyState& state = keys_[index];
    const cache::Node* node = table_.locate(state.key, state.hash);
    const cache::Entry* entry = node ? node->second.entry.load(std::memory_order_relaxed) : nullptr;
    if (state.is_live && !node && is_inflight(state.started)) {
        scene_.fail("a slot outlasts its Fetch", "name " + std::to_string(state.name));
    }
    bool had_slot = std::exchange(state.has_slot, node != nullptr);
    if (entry != state.entry) {
        if (state.entry) {
            unlinked_[state.entry] = state.shown.back().until = scene_.moment;
            linked_.erase(state.entry);
        }
        bool had_entry = std::exchange(state.entry, entry);
        if (entry) on_published(index, *entry, had_entry);
    }
    state.is_live = node && node->second.is_live;
    if (!node) return;
    bool forgets = had_slot && node->second.started < state.started;
    scene_.require(!forgets || !state.knows, "a slot does not forget what has started",
                   "an older generation");
    state.knows =
        node->second.started >= state.started; // a slot made while its Fetch ran knows nothing of it
    if (node->second.started <= state.started) return;
    state.started = node->second.started;
    belongs(state.started, index);
}

void EntryChecks::on_published(std::uint32_t index, const cache::Entry& entry, bool had_entry) {
    KeyState& state = keys_[index];
    linked_[&entry] = index;
    unlinked_.erase(&entry);
    scene_.say("published version ", entry.version.generation, ".", entry.version.revision, " of name ",
               state.name, " type ", state.qtype, " flavour ", unsigned(state.key.flavour),
               entry.failure ? ", a failure" : "");
    if (entry.version.generation < state.started) {
        fail("a superseded result is never published", entry,
             "generation " + std::to_string(state.started) + " has started");
    }
    if (entry.version <= state.newest) {
        fail("versions never go backwards", entry,
             "after " + std::to_string(state.newest.generation) + "." +
                 std::to_string(state.newest.revision));
    }
    if (entry.version.generation <= floors_[state.key.group])
        fail("nothing is published at or below the floor", entry, "");
    check(entry, index);
    bool same_fetch = entry.version.generation == state.newest.generation;
    if (same_fetch && !entry.failure && entry.expiry > state.newest_expiry) {
        fail("a later revision never lengthens a life", entry, "");
    }
    bool is_ranked = entry.version.revision == 2;
    if (is_ranked &&
        !(same_fetch && had_entry && ordered_ == entry.version.generation && is_ordered(state))) {
        fail("a ranking changes the order of the very Entry that it is for", entry, "");
    }
    scene_.tally.add(Seen::revocations, same_fetch && entry.failure);
    state.hosts = content_.hosts;
    state.newest = entry.version;
    state.newest_expiry = entry.expiry;
    state.shown.push_back({content_.fingerprint(), entry.version.generation, entry.expiry, entry.stale_until,
                           content_.chain != 0});
    if (state.shown.size() > shown_limit) state.shown.pop_front();
}

void EntryChecks::expect_order(cache::Generation generation, std::span<const dataplane::Address> order) {
    ordered_ = generation;
    order_.clear();
    for (const auto& address : order) order_.push_back(*Ledger::host_of(address.octets));
}

/// Whether the Entry under examination has the hosts of the one before it in the order that was found, those
/// that were not ranked behind, or as many of them as are to be left.
bool EntryChecks::is_ordered(const KeyState& before) {
    std::vector<std::uint32_t> hosts = before.hosts;
    std::ranges::stable_sort(
        hosts, {}, [&](std::uint32_t host) { return std::ranges::find(order_, host) - order_.begin(); });
    std::size_t most = scene_.plan.max_addresses;
    bool is_cut = most > 0 && hosts.size() > most;
    if (is_cut) hosts.resize(most);
    scene_.tally.add(Seen::ranked_cut, is_cut);
    return content_.hosts == hosts;
}

void EntryChecks::on_given(const cache::Entry& entry, std::uint32_t key) {
    if (entry.version.generation == 0) { // the static SERVFAIL
        if (entry.records_size || entry.rcode != rcode_servfail)
            fail("the last resort is SERVFAIL", entry, "");
        return;
    }
    if (entry.version.generation <= table_.floor(keys_[key].key.group))
        fail("nothing at or below the floor is served", entry, "a Wake");
    look_at(key); // it may have been published just now
    auto linked = linked_.find(&entry);
    if (linked != linked_.end() && linked->second != key) fail("a waiter gets its own answer", entry, "");
    if (linked != linked_.end()) return;
    if (unlinked_.contains(&entry)) fail("a Wake carries nothing retired", entry, "");
    check(entry, key);
}

Moment EntryChecks::unlinked_at(const void* entry) const {
    auto found = unlinked_.find(entry);
    return found == unlinked_.end() ? 0 : found->second;
}

void EntryChecks::forget(const void* entry) {
    unlinked_.erase(entry);
}

// Exchanges.

/// Each socket belongs to a Fetch that is running, of the newest generation of its key.
void EntryChecks::check_sockets() {
    for (const auto& [socket, open] : network_.open()) {
        if (!open.has_asked || open.asked.name == Servers::probed_name) continue;
        // Whether the client wants DNSSEC records does not show in the question to the upstream.
        unsigned flavour = open.asked.unchecked ? cache::checking_disabled : cache::plain;
        if (may_ask(tag_of(open.asked.name, open.asked.qtype, flavour), open)) continue;
        if (may_ask(tag_of(open.asked.name, open.asked.qtype, flavour | cache::dnssec_ok), open)) continue;
        if (is_inflight(open)) continue;
        scene_.fail("no exchange outlives its Fetch",
                    "socket " + std::to_string(socket) + " for name " + std::to_string(open.asked.name));
    }
}

cache::Generation EntryChecks::newest_of(const Asked& asked) const {
    unsigned flavour = asked.unchecked ? cache::checking_disabled : cache::plain;
    auto found = index_.find(tag_of(asked.name, asked.qtype, flavour));
    if (found == index_.end()) return 0;
    const KeyState& key = keys_[found->second];
    const cache::Node* node = table_.locate(key.key, key.hash);
    return node && node->second.is_live ? node->second.started : 0;
}

/// By the mark in the table, which a Fetch has that found a slot when it began.
bool EntryChecks::may_ask(std::uint64_t tag, const OpenSocket& socket) const {
    auto found = index_.find(tag);
    if (found == index_.end()) return false;
    const KeyState& key = keys_[found->second];
    return key.has_slot && key.is_live && generations_[key.started].began <= socket.opened;
}

const EntryChecks::Fetches& EntryChecks::live() {
    if (!live_) live_ = inflight_();
    return *live_;
}

/// The table was full.
bool EntryChecks::is_inflight(const OpenSocket& socket) {
    for (const auto& [generation, key] : live()) {
        auto meaning = meaning_of(key.name.bytes());
        bool same = meaning && meaning->name == socket.asked.name && key.qtype == socket.asked.qtype &&
                    bool(key.flavour & cache::checking_disabled) == socket.asked.unchecked;
        if (same && generations_[generation].began <= socket.opened) return true;
    }
    return false;
}

bool EntryChecks::is_inflight(cache::Generation generation) {
    return std::ranges::any_of(live(), [&](const auto& fetch) { return fetch.first == generation; });
}

void EntryChecks::fail(std::string_view invariant, const cache::Entry& entry, const std::string& detail) {
    scene_.fail(invariant, "version " + std::to_string(entry.version.generation) + "." +
                               std::to_string(entry.version.revision) + (detail.empty() ? "" : ": ") +
                               detail);
}

} // namespace millrace::simulation
