#include "tests/simulation/entry_checks.hpp"

#include <algorithm>

#include "cache/wire.hpp"
#include "control/config.hpp"
#include "tests/simulation/port.hpp"

namespace millrace::simulation {

namespace {

constexpr auto bare_life = 5s; // of a denial that says nothing of how long it holds
constexpr std::size_t shown_limit = 16, merged_limit = 16;

bool contains(const std::vector<std::uint32_t>& list, std::uint32_t value) {
    return std::ranges::find(list, value) != list.end();
}

std::vector<std::uint32_t> sorted(std::vector<std::uint32_t> list) {
    std::ranges::sort(list);
    return list;
}

bool decides(const Said& said) {
    return said.nature == Nature::positive || said.nature == Nature::nxdomain ||
           said.nature == Nature::nodata;
}

} // namespace

std::uint32_t EntryChecks::key_of(const Question& question) {
    unsigned aspects = question.query.aspects;
    unsigned flavour = unsigned(aspects & dnssec ? cache::dnssec_ok : cache::plain) |
                       (aspects & unchecked ? cache::checking_disabled : cache::plain);
    std::uint64_t tag = tag_of(question.query.name, type_of(aspects), flavour);
    auto [at, fresh] = index_.try_emplace(tag, std::uint32_t(keys_.size()));
    if (!fresh) return at->second;
    KeyState& state = keys_.emplace_back();
    state.name = question.query.name;
    state.qtype = state.key.qtype = type_of(aspects);
    state.key.qclass = 1;
    state.key.flavour = std::uint8_t(flavour);
    state.key.name = name_of(state.name);
    state.hash = table_.hasher()(state.key);
    return at->second;
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
    scene_.require(after == before + 1, "one question starts one Fetch", "several");
    note_generations(after);
    belongs(after, key);
    keys_[key].started = after;
}

void EntryChecks::belongs(cache::Generation generation, std::uint32_t key) {
    if (generation >= generations_.size()) scene_.fail("generations are issued", "one that nobody issued");
    std::uint32_t& owner = generations_[generation].key;
    if (owner == no_key) owner = key;
    if (owner != key) {
        scene_.fail("a generation belongs to one key", "generation " + std::to_string(generation) +
                                                           " of name " + std::to_string(keys_[owner].name) +
                                                           " came up for name " +
                                                           std::to_string(keys_[key].name));
    }
}

void EntryChecks::look() {
    for (std::uint32_t i = 0; i < keys_.size(); ++i) look_at(i);
    check_sockets();
    floor_ = table_.floor(0);
}

void EntryChecks::look_at(std::uint32_t index) {
    KeyState& state = keys_[index];
    const cache::Node* node = table_.locate(state.key, state.hash).node;
    const cache::Entry* entry = node ? node->second.entry.load(std::memory_order_relaxed) : nullptr;
    if (state.is_live && !node && is_inflight(state.started)) {
        scene_.fail("a slot outlasts its Fetch", "name " + std::to_string(state.name));
    }
    state.has_slot = node;
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
    scene_.require(node->second.started >= state.started, "a Fetch supersedes when it starts",
                   "the slot does not know");
    if (node->second.started == state.started) return;
    state.started = node->second.started;
    belongs(state.started, index);
}

void EntryChecks::on_published(std::uint32_t index, const cache::Entry& entry, bool had_entry) {
    KeyState& state = keys_[index];
    linked_[&entry] = index;
    unlinked_.erase(&entry);
    scene_.say("published version ", entry.version.generation, ".", entry.version.revision, " of name ",
               state.name, " type ", state.qtype);
    if (entry.version.generation < state.started) {
        fail("a superseded result is never published", entry,
             "generation " + std::to_string(state.started) + " has started");
    }
    if (entry.version <= state.newest) {
        fail("versions never go backwards", entry,
             "after " + std::to_string(state.newest.generation) + "." +
                 std::to_string(state.newest.revision));
    }
    if (entry.version.generation <= floor_) fail("nothing is published at or below the floor", entry, "");
    check(entry, index);
    bool same_fetch = entry.version.generation == state.newest.generation;
    if (same_fetch && entry.expiry > state.newest_expiry) {
        fail("a later revision never lengthens a life", entry, "");
    }
    if (entry.version.revision == 2 && !(same_fetch && had_entry && sorted(content_.hosts) == state.hosts)) {
        fail("a ranking changes the order of the very Entry that it is for", entry, "");
    }
    state.hosts = sorted(content_.hosts);
    state.newest = entry.version;
    state.newest_expiry = entry.expiry;
    state.shown.push_back({content_.fingerprint(), entry.version.generation, entry.expiry});
    if (state.shown.size() > shown_limit) state.shown.pop_front();
}

void EntryChecks::on_given(const cache::Entry& entry, std::uint32_t key) {
    if (entry.version.generation == 0) { // the static SERVFAIL
        if (entry.records_size || entry.rcode != rcode_servfail)
            fail("the last resort is SERVFAIL", entry, "");
        return;
    }
    if (entry.version.generation <= table_.floor(0))
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

// Origins.

void EntryChecks::on_accepted(control::FetchId fetch, const control::Answer& answer) {
    auto [number, socket] = network_.delivery();
    const Said* said = scene_.ledger.find_said(number);
    if (!said || said->forged) scene_.fail("forged replies find nothing", "one was accepted");
    if (said->asked_by != socket)
        scene_.fail("a reply belongs to one exchange", "one was accepted by another");
    if (fetch.generation >= generations_.size())
        scene_.fail("generations are issued", "one that nobody issued");
    GenerationState& generation = generations_[fetch.generation];
    scene_.say("generation ", fetch.generation, " accepts reply ", number, " with ", said->hosts.size(),
               " addresses");
    if (said->made < generation.began) {
        scene_.fail("replies are younger than their Fetch", "generation " + std::to_string(fetch.generation));
    }
    if (generation.key != no_key &&
        (keys_[generation.key].name != said->name || keys_[generation.key].qtype != said->qtype)) {
        scene_.fail("a reply answers what was asked", "generation " + std::to_string(fetch.generation));
    }
    generation.accepted.push_back({number, answer.received});
}

/// What may be published under a key: also an Entry that is in no Slot.
void EntryChecks::check(const cache::Entry& entry, std::uint32_t index) {
    const KeyState& key = keys_[index];
    belongs(entry.version.generation, index);
    read(entry, key);
    if (content_.flaw) fail("entries can be read", entry, content_.flaw);
    check_hosts(key);
    Time latest = check_origin(entry, key, generations_[entry.version.generation]);
    if (entry.expiry > latest) fail("an answer lives no longer than what it is made of", entry, "");
    scene_.tally.add(Seen::signed_entries, !content_.signatures.empty());
    scene_.tally.add(Seen::chained_entries, content_.chain != 0);
    scene_.tally.add(Seen::negative_entries, content_.soa.has_value());
}

void EntryChecks::read(const cache::Entry& entry, const KeyState& key) {
    message_.assign(header_octets, 0);
    message_.insert(message_.end(), key.key.name.bytes().begin(), key.key.name.bytes().end());
    append_u32(message_, 0); // type and class, which nothing here reads
    std::size_t at = message_.size();
    message_.insert(message_.end(), entry.records().begin(), entry.records().end());
    read_content(message_, at, entry.answers, entry.authorities, key.name, key.qtype, content_);
    content_.rcode = entry.rcode;
}

void EntryChecks::check_hosts(const KeyState& key) {
    for (std::uint32_t number : content_.hosts) {
        const Host* host = scene_.ledger.find_host(number);
        const char* flaw = !host                      ? "an address that nobody gave"
                           : host->forged             ? "a forged address"
                           : host->name != key.name   ? "an address of another name"
                           : host->qtype != key.qtype ? "an address of another type"
                           : host->chain != content_.chain
                               ? "an address under a chain that it was not given with"
                               : nullptr;
        if (flaw)
            scene_.fail("addresses belong to their name", flaw + (": " + scene_.ledger.describe(number)));
    }
}

/// That accepted replies of this generation say what the Entry says. Returns when it must end.
Time EntryChecks::check_origin(const cache::Entry& entry, const KeyState& key,
                               const GenerationState& generation) {
    const char* invariant = "an entry derives from accepted replies of its own generation";
    if (entry.failure) {
        bool decided = std::ranges::any_of(generation.accepted, [&](const Accepted& a) {
            return decides(*scene_.ledger.find_said(a.said));
        });
        if (decided) fail("a failure is published only when nobody had an answer", entry, "");
        if (entry.records_size || entry.rcode != rcode_servfail)
            fail(invariant, entry, "a failure with records");
        return Time::max();
    }
    for (const Accepted& accepted : generation.accepted) {
        if (is_whole(accepted, key, entry.version.revision)) return expiry_of(accepted);
    }
    if (content_.hosts.empty()) fail(invariant, entry, "no reply says this");
    if (!content_.signatures.empty()) fail("a signed answer stays whole", entry, "");
    for (std::uint32_t host : content_.hosts) {
        bool given = std::ranges::any_of(generation.accepted, [&](const Accepted& a) {
            return contains(scene_.ledger.find_said(a.said)->hosts, host);
        });
        if (!given) fail(invariant, entry, scene_.ledger.describe(host));
    }
    return check_merge(entry, key, generation);
}

/// Whether the Entry says what this one reply said. A ranking, revision 2, may have changed the order.
bool EntryChecks::is_whole(const Accepted& accepted, const KeyState& key, unsigned revision) const {
    const Said& said = *scene_.ledger.find_said(accepted.said);
    bool is_signable = said.nature == Nature::positive || said.chain != 0;
    bool has_signatures = said.is_signed && is_signable && (key.key.flavour & cache::dnssec_ok);
    bool says_anything = !content_.hosts.empty() || !content_.texts.empty() || content_.soa;
    auto is_its_own = [&](std::uint32_t number) { return number == accepted.said; };
    bool same_hosts =
        revision < 2 ? said.hosts == content_.hosts : sorted(said.hosts) == sorted(content_.hosts);
    return same_hosts && said.rcode == content_.rcode && said.chain == content_.chain &&
           decides(said) == says_anything && (!content_.soa || is_its_own(*content_.soa)) &&
           std::ranges::all_of(content_.texts, is_its_own) && has_signatures != content_.signatures.empty() &&
           std::ranges::all_of(content_.signatures, is_its_own);
}

/// The rules of a merge (wire-rules.md section 3). Returns when what it made must end.
Time EntryChecks::check_merge(const cache::Entry& entry, const KeyState& key,
                              const GenerationState& generation) {
    using Policy = control::Config::MergePolicy;
    auto policy = Policy(generation.merge);
    const char* flaw = nullptr;
    const Said* winner = nullptr;
    Time latest = Time::max();
    std::unordered_map<std::uint32_t, unsigned> holders;
    for (const Accepted& accepted : generation.accepted) {
        const Said& said = *scene_.ledger.find_said(accepted.said);
        if (said.nature == Nature::nxdomain || said.nature == Nature::nodata) flaw = "positive with negative";
        if (said.nature != Nature::positive) continue;
        if (said.is_signed || said.authentic) flaw = "a signed or authentic answer";
        if (said.scoped) flaw = "an answer for some subnets only";
        if (said.chain != content_.chain) flaw = "chains that differ";
        bool is_first = !winner;
        if (is_first) winner = &said;
        auto is_added = [&](auto host) {
            return is_first || (contains(content_.hosts, host) && !contains(winner->hosts, host));
        };
        if (std::ranges::any_of(said.hosts, is_added)) latest = std::min(latest, expiry_of(accepted));
        for (std::uint32_t host : said.hosts) ++holders[host];
    }
    if (!winner) flaw = "no positive answer";
    for (std::uint32_t host : content_.hosts) {
        bool added = winner && !contains(winner->hosts, host);
        if (added && scene_.ledger.find_host(host)->is_private) flaw = "a private address";
        if (policy == Policy::quorum && holders[host] < generation.quorum)
            flaw = "an address without a quorum";
    }
    if (policy == Policy::order || policy == Policy::off) flaw = "the policy does not merge";
    if (key.key.flavour != cache::plain || key.qtype == type_txt) flaw = "nothing to be merged";
    if (content_.hosts.size() > merged_limit) flaw = "too many addresses";
    bool in_order = policy != Policy::unite || entry.version.revision == 2 ||
                    (winner && winner->hosts.size() <= content_.hosts.size() &&
                     std::equal(winner->hosts.begin(), winner->hosts.end(), content_.hosts.begin()));
    if (!in_order) flaw = "the first reply's addresses are not first";
    if (flaw)
        fail("a merge keeps its rules", entry, std::string(flaw) + ", name " + std::to_string(key.name));
    scene_.tally.add(Seen::quorum_merges, policy == Policy::quorum);
    return latest;
}

Time EntryChecks::expiry_of(const Accepted& accepted) const {
    const Said& said = *scene_.ledger.find_said(accepted.said);
    bool has_ttl = decides(said) || said.chain;
    auto ttl = std::chrono::seconds(std::max(said.ttl, scene_.plan.min_ttl_seconds));
    return accepted.received + (has_ttl ? ttl : bare_life);
}

/// Each socket belongs to a Fetch that is running, of the newest generation of its key.
void EntryChecks::check_sockets() {
    for (const auto& [socket, open] : network_.open()) {
        if (!open.has_asked) continue;
        // Whether the client wants DNSSEC records does not show in the question to the upstream.
        unsigned flavour = open.asked.unchecked ? cache::checking_disabled : cache::plain;
        if (may_ask(tag_of(open.asked.name, open.asked.qtype, flavour), open)) continue;
        if (may_ask(tag_of(open.asked.name, open.asked.qtype, flavour | cache::dnssec_ok), open)) continue;
        if (is_inflight(open)) continue;
        scene_.fail("no exchange outlives its Fetch",
                    "socket " + std::to_string(socket) + " for name " + std::to_string(open.asked.name));
    }
}

/// By the mark in the table, which a Fetch has that found a slot when it began.
bool EntryChecks::may_ask(std::uint64_t tag, const OpenSocket& socket) const {
    auto found = index_.find(tag);
    if (found == index_.end()) return false;
    const KeyState& key = keys_[found->second];
    return key.has_slot && key.is_live && generations_[key.started].began <= socket.opened;
}

/// The table was full.
bool EntryChecks::is_inflight(const OpenSocket& socket) const {
    for (const auto& [generation, key] : inflight_()) {
        auto meaning = meaning_of(key.name.bytes());
        bool same = meaning && meaning->name == socket.asked.name && key.qtype == socket.asked.qtype &&
                    bool(key.flavour & cache::checking_disabled) == socket.asked.unchecked;
        if (same && generations_[generation].began <= socket.opened) return true;
    }
    return false;
}

bool EntryChecks::is_inflight(cache::Generation generation) const {
    return std::ranges::any_of(inflight_(), [&](const auto& fetch) { return fetch.first == generation; });
}

void EntryChecks::fail(std::string_view invariant, const cache::Entry& entry, const std::string& detail) {
    scene_.fail(invariant, "version " + std::to_string(entry.version.generation) + "." +
                               std::to_string(entry.version.revision) + (detail.empty() ? "" : ": ") +
                               detail);
}

} // namespace millrace::simulation
