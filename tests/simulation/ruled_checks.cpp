// What may stand under the key of a rule of DNS64: what was said under the same key without the rule, or AAAA
// records made of the A records that one generation of the A question found.
#include <algorithm>
#include <iterator>
#include <set>

#include "tests/simulation/entry_checks.hpp"
#include "tests/simulation/servers.hpp"

namespace millrace::simulation {

namespace {

bool is_denial(Nature nature) {
    return nature == Nature::nxdomain || nature == Nature::bare_nxdomain || nature == Nature::nodata ||
           nature == Nature::bare_nodata;
}

/// As what the Fetch of a group takes it: behind a link to another group nothing is kept.
Nature nature_for(const Said& said, const cache::Key& key) {
    return said.chain != 0 && key.group != 0 && said.nature != Nature::failure ? Nature::bare_cname
                                                                               : said.nature;
}

} // namespace

bool EntryChecks::is_left_out(const LeftOut& what, std::uint32_t number) const {
    const Host& host = *scene_.ledger.find_host(number);
    if (what.rule == 0) return false;
    if (!what.is_made) return scene_.is_excluded(what.rule, host);
    return scene_.nat64_of(what.rule) == well_known_nat64 && host.is_private; // RFC 6052 3.1
}

std::vector<std::uint32_t> EntryChecks::rest(const Said& said, const KeyState& key,
                                             const LeftOut& what) const {
    std::vector<std::uint32_t> hosts = said.hosts;
    bool stays_whole = !what.is_made && is_validated(said, key);
    if (!stays_whole) std::erase_if(hosts, [&](auto host) { return is_left_out(what, host); });
    return hosts;
}

const std::vector<cache::Generation>& EntryChecks::generations_of(const KeyState& key) const {
    static const std::vector<cache::Generation> none;
    auto found = asked_.find(tag_of(key.name, key.qtype, key.key.flavour | cache::dnssec_ok));
    return found == asked_.end() ? none : found->second;
}

/// Whether the key's clients would see that somebody has changed it.
bool EntryChecks::is_validated(const Said& said, const KeyState& key) const {
    bool has_signatures = said.is_signed && (said.nature == Nature::positive || said.chain != 0);
    bool is_authentic = said.authentic && Servers::is_trusted(said.server);
    return key.key.flavour & cache::dnssec_ok && (has_signatures || is_authentic);
}

/// Whether a validator has found it bogus, but for one that was asked after a trusted server had answered.
bool EntryChecks::is_revoked(const GenerationState& generation) const {
    for (const Accepted& accepted : generation.accepted) {
        const Said& said = *scene_.ledger.find_said(accepted.said);
        if (said.bogus) return true;
        if (said.decides() && Servers::is_trusted(said.server)) return false;
    }
    return false;
}

/// Returns when the Entry must end.
Time EntryChecks::check_ruled(const cache::Entry& entry, const KeyState& key) {
    if (entry.failure) {
        if (entry.records_size || entry.rcode != rcode_servfail)
            fail("a failure says nothing else", entry, "it has records");
        return Time::max();
    }
    return content_.nat64 ? check_made(entry, key) : check_native(entry, key);
}

Time EntryChecks::check_made(const cache::Entry& entry, const KeyState& key) {
    const char* invariant = "a synthesised answer derives from the generation that it carries";
    const KeyState &native = keys_[key.native], &ipv4 = keys_[key.ipv4];
    if (content_.nat64 != scene_.nat64_of(key.key.dns64()))
        fail("a synthesised answer has its rule's prefix", entry, "another's");
    if (key.key.flavour & cache::checking_disabled) fail("nothing is synthesised for CD=1", entry, "");
    cache::Generation source = entry.source();
    if (source == 0 || source >= entry.version.generation || source >= generations_.size())
        fail(invariant, entry, "none that can be");
    const GenerationState& generation = generations_[source];
    auto asked = generations_of(ipv4);
    bool is_its = generation.key == no_key || std::ranges::find(asked, source) != asked.end();
    if (!is_its) fail(invariant, entry, "it is of another question");
    if (is_revoked(generation)) fail("a validator's word is final", entry, "something made of the answer");
    if (entry.authentic || !content_.signatures.empty() || content_.soa)
        fail("nobody has signed what is synthesised", entry, "AD, a signature or an SOA");
    auto made_of = derived(ipv4, generation, {key.key.dns64(), true}, false);
    if (!made_of) fail(invariant, entry, "no reply of generation " + std::to_string(source) + " says this");
    auto lack = lack_of_ipv6(key, native);
    if (!lack) fail("nothing is synthesised where there are AAAA records", entry, "");
    scene_.tally.add(Seen::synthesised);
    scene_.tally.add(Seen::synthesised_chained, content_.chain != 0);
    return std::min(*made_of, *lack);
}

/// When what replies of this generation to `from` say ends, if the Entry says that. `authentic`: with AD.
std::optional<Time> EntryChecks::derived(const KeyState& from, const GenerationState& generation,
                                         const LeftOut& left_out, bool authentic) const {
    bool ranks = scene_.has(Danger::ranking); // then it may be made of either order
    std::optional<Time> latest;
    for (const Accepted& accepted : generation.accepted) {
        const Said& said = *scene_.ledger.find_said(accepted.said);
        bool is_less = rest(said, from, left_out).size() < said.hosts.size();
        bool is_word = said.authentic && Servers::is_trusted(said.server) && !is_less && !left_out.is_made;
        if (left_out.is_made && is_validated(said, from)) continue; // RFC 6147 5.5
        bool is_its =
            is_whole(accepted, from, 0, left_out) || (ranks && is_whole(accepted, from, 2, left_out));
        if (authentic != is_word || !is_its) continue;
        latest = std::max(latest.value_or(Time{}), expiry_of(accepted));
    }
    if (latest) return latest;
    bool may_be_merged = !authentic && !content_.hosts.empty() && content_.signatures.empty();
    auto is_given = [&](std::uint32_t host) {
        return std::ranges::any_of(generation.accepted, [&](const Accepted& a) {
            const auto& hosts = scene_.ledger.find_said(a.said)->hosts;
            return std::ranges::find(hosts, host) != hosts.end();
        });
    };
    if (!may_be_merged || !std::ranges::all_of(content_.hosts, is_given)) return std::nullopt;
    Time merged;
    if (merge_flaw(from, generation, ranks ? 2 : 1, left_out, merged)) return std::nullopt;
    return merged;
}

/// Whether all that `max-addresses` leaves of it may be such.
bool EntryChecks::may_be_cut_to(const GenerationState& generation,
                                const std::function<bool(std::uint32_t)>& is_such) const {
    if (scene_.plan.max_addresses == 0 || !scene_.has(Danger::ranking)) return false;
    std::set<std::uint32_t> such;
    for (const Accepted& accepted : generation.accepted) {
        std::ranges::copy_if(scene_.ledger.find_said(accepted.said)->hosts, std::inserter(such, such.end()),
                             is_such);
    }
    return such.size() >= scene_.plan.max_addresses;
}

/// Until when it is known that there are no AAAA records for the rule's clients. None: it never was.
std::optional<Time> EntryChecks::lack_of_ipv6(const KeyState& key, const KeyState& native) {
    bool is_forgotten = !native.has_slot; // the table was full: its Fetches are not all known
    if (is_forgotten) return Time::max();
    LeftOut left_out{key.key.dns64(), false};
    std::optional<Time> latest;
    for (cache::Generation number : generations_of(native)) {
        const GenerationState& generation = generations_[number];
        if (is_revoked(generation)) continue;
        if (may_be_cut_to(generation, [&](auto host) { return is_left_out(left_out, host); }))
            return Time::max();
        bool is_decided = false, is_denied = false, lacks = generation.accepted.empty();
        Time until = Time::max();
        for (const Accepted& accepted : generation.accepted) {
            const Said& said = *scene_.ledger.find_said(accepted.said);
            Nature nature = nature_for(said, native.key);
            bool decides =
                nature == Nature::positive || nature == Nature::nodata || nature == Nature::nxdomain;
            is_denied = is_denied || nature == Nature::bare_nxdomain;
            // A failure says nothing, whatever chain is in the reply.
            bool says_so =
                nature == Nature::failure || (nature != Nature::bare_nxdomain && !is_validated(said, native));
            if (!decides) lacks = lacks || says_so;
            if (!decides || is_decided) continue;
            is_decided = true;
            bool has_some = nature == Nature::positive && !rest(said, native, left_out).empty();
            lacks = nature != Nature::nxdomain && !has_some && !is_validated(said, native);
            if (nature == Nature::nodata) until = accepted.received + std::chrono::seconds(said.ttl);
        }
        if (lacks) latest = std::max(latest.value_or(Time{}), until);
    }
    return latest;
}

Time EntryChecks::check_native(const cache::Entry& entry, const KeyState& key) {
    const char* invariant = "an answer under a rule that is not synthesised is the one without the rule";
    const KeyState &native = keys_[key.native], &ipv4 = keys_[key.ipv4];
    LeftOut left_out{key.key.dns64(), false};
    bool has_excluded =
        std::ranges::any_of(content_.hosts, [&](auto host) { return is_left_out(left_out, host); });
    bool is_seen_whole =
        key.key.flavour & cache::dnssec_ok && (entry.authentic || !content_.signatures.empty());
    if (has_excluded && !is_seen_whole) fail("excluded addresses are not served", entry, "");
    std::optional<Time> latest;
    bool is_validators = false;
    auto look_for_it = [&](const KeyState& from) {
        for (cache::Generation number : generations_of(from)) {
            const GenerationState& generation = generations_[number];
            if (number >= entry.version.generation || is_revoked(generation)) continue;
            auto until = derived(from, generation, left_out, entry.authentic);
            if (until) latest = std::max(latest.value_or(Time{}), *until);
            is_validators = is_validators || std::ranges::any_of(generation.accepted, [&](const Accepted& a) {
                                return is_validated(*scene_.ledger.find_said(a.said), from);
                            });
        }
    };
    look_for_it(native);
    bool is_nxdomain = entry.rcode == rcode_nxdomain;
    if (is_nxdomain) look_for_it(ipv4); // the AAAA question may have failed
    if (!latest) fail(invariant, entry, "no reply says this, name " + std::to_string(key.name));
    bool is_nodata = !is_nxdomain && content_.hosts.empty();
    if (is_nodata && !is_validators && !lacks_ipv4(ipv4))
        fail("no addresses are said to be where nobody has said so of A records", entry, "");
    scene_.tally.add(Seen::ruled_native, !content_.hosts.empty());
    scene_.tally.add(Seen::ruled_denials, content_.hosts.empty());
    return *latest;
}

/// Whether anybody has said that there are no A records, or none that AAAA records may be made of.
bool EntryChecks::lacks_ipv4(const KeyState& ipv4) const {
    if (!ipv4.has_slot) return true;
    auto is_private = [&](auto host) { return scene_.ledger.find_host(host)->is_private; };
    return std::ranges::any_of(generations_of(ipv4), [&](cache::Generation number) {
        const GenerationState& generation = generations_[number];
        auto denies = [&](const Accepted& accepted) {
            const Said& said = *scene_.ledger.find_said(accepted.said);
            return is_denial(nature_for(said, ipv4.key)) || is_validated(said, ipv4);
        };
        return may_be_cut_to(generation, is_private) || std::ranges::any_of(generation.accepted, denies);
    });
}

} // namespace millrace::simulation
