// From which replies an Entry may derive: those that its own generation accepted, and by the rules
// of a merge.
#include "tests/simulation/entry_checks.hpp"

#include <ldns/ldns.h>

#include <algorithm>

#include "control/config/config.hpp"
#include "tests/simulation/servers.hpp"

namespace millrace::simulation {

namespace {

constexpr auto bare_life = 5s; // of a denial that says nothing of how long it holds
constexpr std::size_t merged_limit = 16;

bool contains(const std::vector<std::uint32_t>& list, std::uint32_t value) {
    return std::ranges::find(list, value) != list.end();
}

/// The number of the reply that a denial comes from: its SOA bears it as the serial.
std::optional<std::uint32_t> serial_of(const control::Answer& denial) {
    if (denial.authority.empty()) return {};
    return ldns_rdf2native_int32(ldns_rr_rdf(denial.authority.front().get(), 2));
}

} // namespace

/// A denial that was held back until TCP had nothing better: of what was delivered then, that.
SimulatedNetwork::Delivery EntryChecks::held(control::FetchId fetch, const control::Answer& answer) const {
    auto live = inflight_();
    auto own = std::ranges::find(live, cache::Generation(fetch.generation),
                                 &std::pair<cache::Generation, cache::Key>::first);
    if (own == live.end()) scene_.fail("a Fetch lives while it accepts replies", "this one does not");
    auto meaning = meaning_of(own->second.name.bytes());
    auto serial = serial_of(answer);
    for (const auto& delivery : network_.delivered_at(answer.received)) {
        const Said* said = scene_.ledger.find_said(delivery.said);
        bool is_denial = said && !said->forged && said->rcode == rcode_nxdomain && answer.is_bare_denial();
        if (!is_denial || said->asked_by != delivery.socket) continue;
        bool is_its_own = serial ? delivery.said == *serial
                                 : said->nature != Nature::nxdomain &&
                                       Servers::is_trusted(said->server) == answer.is_trusted;
        if (!is_its_own) continue;
        if (meaning && meaning->name == said->name && own->second.qtype == said->qtype) return delivery;
    }
    scene_.fail("only denials are held back", "something else was");
}

void EntryChecks::on_accepted(control::FetchId fetch, const control::Answer& answer) {
    auto [number, socket] = answer.received == scene_.now ? network_.delivery() : held(fetch, answer);
    const Said* said = scene_.ledger.find_said(number);
    if (!said || said->forged) scene_.fail("forged replies find nothing", "one was accepted");
    if (said->asked_by != socket)
        scene_.fail("a reply belongs to one exchange", "one was accepted by another");
    if (fetch.generation >= generations_.size())
        scene_.fail("generations are issued", "one that nobody issued");
    GenerationState& generation = generations_[fetch.generation];
    scene_.say("generation ", fetch.generation, " accepts reply ", number, " with rcode ", said->rcode, ", ",
               said->hosts.size(), " addresses", said->bogus ? ", bogus" : "");
    if (said->made < generation.began) {
        scene_.fail("replies are younger than their Fetch", "generation " + std::to_string(fetch.generation));
    }
    if (generation.key == no_key && scene_.plan.dns64) find_owners(fetch.generation - 1);
    if (generation.key != no_key &&
        (keys_[generation.key].name != said->name || keys_[generation.key].qtype != said->qtype)) {
        scene_.fail("a reply answers what was asked", "generation " + std::to_string(fetch.generation));
    }
    generation.accepted.push_back({number, answer.received});
}

/// Of the Fetches since that generation: also of one that the table had no slot for.
void EntryChecks::find_owners(cache::Generation since) {
    for (const auto& [live, key] : inflight_()) {
        std::uint32_t index = live > since ? find_key(key) : no_key;
        if (index != no_key && keys_[index].key == key) belongs(live, index);
    }
}

/// What may be published under a key: also an Entry that is in no Slot.
void EntryChecks::check(const cache::Entry& entry, std::uint32_t index) {
    const KeyState& key = keys_[index];
    if (key.key.dns64()) {
        for (std::uint32_t source : {key.native, key.ipv4}) look_at(source); // they may have changed just now
    }
    belongs(entry.version.generation, index);
    read(entry, key);
    if (content_.flaw) fail("entries can be read", entry, content_.flaw);
    bool is_across = key.key.group != 0 && content_.chain != 0; // whose end nobody knows
    if (is_across) fail("what stands behind a link to another group is not kept", entry, "it is");
    check_hosts(key);
    Time latest = key.key.dns64() ? check_ruled(entry, key)
                                  : check_origin(entry, key, generations_[entry.version.generation]);
    if (entry.expiry > std::max(latest, entry.born))
        fail("an answer lives no longer than what it is made of", entry, "");
    scene_.tally.add(Seen::signed_entries, !content_.signatures.empty());
    scene_.tally.add(Seen::authentic_entries, entry.authentic);
    scene_.tally.add(Seen::chained_entries, content_.chain != 0);
    scene_.tally.add(Seen::negative_entries, content_.soa.has_value());
}

void EntryChecks::read(const cache::Entry& entry, const KeyState& key) {
    message_.assign(header_octets, 0);
    message_.insert(message_.end(), key.key.name.bytes().begin(), key.key.name.bytes().end());
    append_u32(message_, 0); // type and class, which nothing here reads
    std::size_t at = message_.size();
    message_.insert(message_.end(), entry.records().begin(), entry.records().end());
    read_content(scene_.ledger, message_, at, entry.answers, entry.authorities, key.name, key.qtype,
                 content_);
    content_.rcode = entry.rcode;
}

void EntryChecks::check_hosts(const KeyState& key) {
    for (std::uint32_t number : content_.hosts) {
        const Host* host = scene_.ledger.find_host(number);
        const char* flaw =
            !host                                                  ? "an address that nobody gave"
            : host->forged                                         ? "a forged address"
            : host->name != key.name                               ? "an address of another name"
            : host->qtype != (content_.nat64 ? type_a : key.qtype) ? "an address of another type"
            : host->server != Host::several && Servers::group_of(host->server) != key.key.group
                ? "an address that another group gave"
            : host->chain != content_.chain ? "an address under a chain that it was not given with"
                                            : nullptr;
        if (flaw)
            scene_.fail("addresses belong to their name", flaw + (": " + scene_.ledger.describe(number)));
    }
}

/// That accepted replies of this generation say what the Entry says. Returns when it must end.
Time EntryChecks::check_origin(const cache::Entry& entry, const KeyState& key,
                               const GenerationState& generation) {
    const char* invariant = "an entry derives from accepted replies of its own generation";
    bool is_bogus = this->is_bogus(generation);
    if (entry.failure) {
        bool decided = std::ranges::any_of(generation.accepted, [&](const Accepted& a) {
            return scene_.ledger.find_said(a.said)->decides();
        });
        if (decided && !is_bogus) fail("a failure is published only when nobody had an answer", entry, "");
        if (entry.records_size || entry.rcode != rcode_servfail)
            fail(invariant, entry, "a failure with records");
        return Time::max();
    }
    if (is_bogus) fail("a validator's word is final", entry, "an answer");
    for (const Accepted& accepted : generation.accepted) {
        const Said& said = *scene_.ledger.find_said(accepted.said);
        bool same_word = entry.authentic == (said.authentic && Servers::is_trusted(said.server));
        if (same_word && is_whole(accepted, key, entry.version.revision)) return expiry_of(accepted);
    }
    if (entry.authentic) fail("AD is a trusted upstream's word on its own answer", entry, "");
    if (content_.hosts.empty()) fail(invariant, entry, "no reply says this");
    if (!content_.signatures.empty()) fail("a signed answer stays whole", entry, "");
    for (std::uint32_t host : content_.hosts) {
        bool given = std::ranges::any_of(generation.accepted, [&](const Accepted& a) {
            return contains(scene_.ledger.find_said(a.said)->hosts, host);
        });
        if (!given) fail(invariant, entry, scene_.ledger.describe(host));
    }
    Time latest;
    const char* flaw = merge_flaw(key, generation, entry.version.revision, {}, latest);
    if (flaw)
        fail("a merge keeps its rules", entry, std::string(flaw) + ", name " + std::to_string(key.name));
    scene_.tally.add(Seen::quorum_merges, generation.merge == unsigned(control::Config::MergePolicy::quorum));
    return latest;
}

bool EntryChecks::is_bogus(const GenerationState& generation) const {
    return std::ranges::any_of(generation.accepted,
                               [&](const Accepted& a) { return scene_.ledger.find_said(a.said)->bogus; });
}

/// Whether these hosts, which are another's, may be what a ranking left: in another order, or the best alone.
bool EntryChecks::may_be_ranked(std::vector<std::uint32_t> hosts, bool is_cut_first) const {
    std::size_t most = scene_.plan.max_addresses, count = hosts.size();
    std::size_t left = most > 0 ? std::min(count, most) : count;
    if (is_cut_first ? content_.hosts.size() > left : content_.hosts.size() != left) return false;
    return std::ranges::all_of(content_.hosts, [&](auto host) { return std::erase(hosts, host) == 1; });
}

/// Whether the Entry says what this one reply said. Of a ranking, revision 2, on_published knows more.
bool EntryChecks::is_whole(const Accepted& accepted, const KeyState& key, unsigned revision,
                           const LeftOut& left_out) const {
    const Said& said = *scene_.ledger.find_said(accepted.said);
    std::vector<std::uint32_t> hosts = rest(said, key, left_out);
    bool is_less = hosts.size() < said.hosts.size();
    bool decides = said.decides() && !(is_less && hosts.empty());
    bool is_signable = said.nature == Nature::positive || said.chain != 0;
    bool has_signatures = said.is_signed && is_signable && (key.key.flavour & cache::dnssec_ok);
    bool says_anything = !content_.hosts.empty() || !content_.texts.empty() || content_.soa;
    auto is_its_own = [&](std::uint32_t number) { return number == accepted.said; };
    bool same_hosts = revision < 2 ? hosts == content_.hosts : may_be_ranked(hosts, is_less);
    return same_hosts && said.rcode == content_.rcode && said.chain == content_.chain &&
           decides == says_anything && (!content_.soa || is_its_own(*content_.soa)) &&
           std::ranges::all_of(content_.texts, is_its_own) && has_signatures != content_.signatures.empty() &&
           std::ranges::all_of(content_.signatures, is_its_own);
}

/// The rules of a merge (dataplane/RULES.md, merging). `latest`: when what it made must end.
const char* EntryChecks::merge_flaw(const KeyState& key, const GenerationState& generation, unsigned revision,
                                    const LeftOut& left_out, Time& latest) const {
    using Policy = control::Config::MergePolicy;
    auto policy = Policy(generation.merge);
    const char* flaw = nullptr;
    const Said* winner = nullptr;
    latest = Time::max();
    std::unordered_map<std::uint32_t, unsigned> holders;
    for (const Accepted& accepted : generation.accepted) {
        const Said& said = *scene_.ledger.find_said(accepted.said);
        if (said.nature == Nature::nxdomain || said.nature == Nature::nodata) flaw = "positive with negative";
        if (said.nature != Nature::positive) continue;
        // A quorum counts replies that must not be added to.
        bool votes = policy == Policy::quorum && winner;
        bool is_authentic = said.authentic && Servers::is_trusted(said.server);
        if (!votes && (said.is_signed || is_authentic)) flaw = "a signed or authentic answer";
        if (!votes && said.scoped) flaw = "an answer for some subnets only";
        if (said.chain != content_.chain) {
            if (votes) continue;
            flaw = "chains that differ";
        }
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
    auto first = winner ? rest(*winner, key, left_out) : std::vector<std::uint32_t>{};
    bool in_order = policy != Policy::unite || revision == 2 ||
                    (winner && first.size() <= content_.hosts.size() &&
                     std::equal(first.begin(), first.end(), content_.hosts.begin()));
    if (!in_order) flaw = "the first reply's addresses are not first";
    return flaw;
}

Time EntryChecks::expiry_of(const Accepted& accepted) const {
    const Said& said = *scene_.ledger.find_said(accepted.said);
    bool has_ttl = said.decides() || said.chain;
    auto ttl = std::chrono::seconds(std::max(said.ttl, scene_.plan.min_ttl_seconds));
    return accepted.received + (has_ttl ? ttl : bare_life);
}

} // namespace millrace::simulation
