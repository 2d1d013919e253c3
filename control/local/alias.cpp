#include "control/local/alias.hpp"

#include <algorithm>
#include <cassert>
#include <iterator>

#include "control/limits.hpp"
#include "control/message/entry_read.hpp"
#include "control/message/records.hpp"

namespace millrace::control {

using dataplane::LocalNames;

namespace {

constexpr std::uint32_t rule_ttl = 60; // of a CNAME that a rule makes: a changed rule is seen in a minute

std::optional<std::uint16_t> info_of(const LocalNames& local, const LocalNames::Match& match) {
    std::uint16_t info = local.info(match);
    return info == cache::Entry::no_info ? std::nullopt : std::optional(info);
}

/// What LocalNames has for a key; none when it has nothing.
std::optional<Answer> read_local(const LocalNames& local, const LocalNames::Match& match,
                                 const cache::Key& key, Time now) {
    const cache::Entry* entry = local.answer(match, key.qtype);
    return entry ? read_local_entry(key, *entry, match.above, now) : std::nullopt;
}

void put_in_front(std::span<const Record> chain, Answer& answer) {
    answer.chain.insert(answer.chain.begin(), chain.begin(), chain.end());
    answer.authentic = false;
    answer.is_rewritten = true;
}

/// Whether the rule for the name that was asked lets its whole chain pass (PASSTHRU, `local: forward`).
bool passes(const LocalNames& local, std::span<const std::uint8_t> qname) {
    auto match = local.find_for_chain(qname);
    return match && local.action(*match) == LocalNames::Action::forward;
}

/// Follows rules from the alias's target on. False: there is none.
bool extend(const LocalNames& local, Alias& alias) {
    bool any = false;
    for (;; any = true) {
        auto match = local.find(alias.target.name.bytes());
        if (!match || local.action(*match) != LocalNames::Action::alias) return any;
        if (alias.is_blocked && local.is_blocked(*match)) return any;
        alias.is_blocked = alias.is_blocked || local.is_blocked(*match);
        if (!alias.info) alias.info = info_of(local, *match);
        alias.chain.push_back(make_cname(alias.target.name, local.target(*match), rule_ttl));
        alias.target.name = local.target(*match);
        if (alias.chain.size() > limits::chain) {
            alias.target.name.size = 0;
            return true;
        }
    }
}

/// Whether the first name that a rule knows, the key's or one of the reply's chain, is let pass.
bool lets_pass(const LocalNames& local, const cache::Key& key, const Answer& answer) {
    if (passes(local, key.name.bytes())) return true;
    for (const Record& record : answer.chain) {
        if (!is_cname(record)) continue;
        auto match = local.find_for_chain(name_of(ldns_rr_rdf(record.get(), 0)).bytes());
        if (match) return local.action(*match) == LocalNames::Action::forward;
    }
    return false;
}

} // namespace

std::optional<Alias> alias_of(const LocalNames& local, const cache::Key& key) {
    Alias alias;
    alias.target = key;
    bool leads = key.qtype != LDNS_RR_TYPE_CNAME && extend(local, alias) && !(alias.target == key);
    return leads ? std::optional(std::move(alias)) : std::nullopt;
}

Alias chased_alias(const LocalNames* local, const cache::Key& key, const Answer& answer) {
    Alias alias;
    alias.chain = answer.chain;
    alias.signatures = answer.signatures;
    alias.proofs = answer.proofs;
    alias.target = key;
    alias.is_chased = true;
    auto last = std::ranges::find_if(answer.chain.rbegin(), answer.chain.rend(), is_cname);
    assert(last != answer.chain.rend());
    alias.target.name = name_of(ldns_rr_rdf(last->get(), 0));
    // A rule that lets the chain pass lets its end pass too: as if a list had led it there, no other will.
    alias.is_blocked = local && lets_pass(*local, key, answer);
    if (local && extend(*local, alias)) alias.is_chased = false;
    return alias;
}

std::optional<Answer> own_alias(const LocalNames& local, const cache::Key& key, Time now) {
    if (key.qtype != LDNS_RR_TYPE_CNAME) return std::nullopt;
    auto match = local.find(key.name.bytes());
    if (!match || local.action(*match) != LocalNames::Action::alias) return std::nullopt;
    Answer answer;
    answer.kind = Kind::positive;
    answer.rcode = LDNS_RCODE_NOERROR;
    answer.received = now;
    answer.records = {make_cname(key.name, local.target(*match), rule_ttl)};
    return answer;
}

std::optional<Answer> rule_for_target(const LocalNames& local, const Alias& alias, Time now) {
    auto match = local.find(alias.target.name.bytes());
    bool applies = match && !(alias.is_blocked && local.is_blocked(*match));
    return applies ? read_local(local, *match, alias.target, now) : std::nullopt;
}

bool leads_to_blocked(const LocalNames& local, std::span<const std::uint8_t> qname,
                      const cache::Entry& entry) {
    if (!entry.chained || passes(local, qname)) return false;
    for (const cache::Name& name : chain_targets(qname, entry)) {
        if (auto match = local.find_for_chain(name.bytes()))
            return local.action(*match) != LocalNames::Action::forward;
    }
    return false;
}

ChainVerdict apply_block_lists(const LocalNames& local, const cache::Key& key, Answer& answer) {
    if (answer.chain.empty() || passes(local, key.name.bytes())) return {};
    for (std::size_t i = 0; i < answer.chain.size(); ++i) {
        if (!is_cname(answer.chain[i])) continue;
        cache::Key link = key;
        link.name = name_of(ldns_rr_rdf(answer.chain[i].get(), 0));
        auto match = local.find_for_chain(link.name.bytes());
        if (!match) continue;
        if (local.action(*match) == LocalNames::Action::forward) return {};
        std::span chain = std::span(answer.chain).first(i + 1);
        auto blocked = read_local(local, *match, link, answer.received);
        if (!blocked) {
            Alias alias;
            alias.chain.assign(chain.begin(), chain.end());
            alias.target = link;
            alias.info = info_of(local, *match);
            extend(local, alias);
            return {true, std::move(alias)};
        }
        put_in_front(chain, *blocked);
        blocked->upstream = answer.upstream;
        blocked->info.reset();
        if (auto info = info_of(local, *match)) blocked->info.emplace(*info);
        answer = std::move(*blocked);
        return {true, std::nullopt};
    }
    return {};
}

bool complete(const Alias& alias, Answer& answer) {
    bool was_rewritten = answer.is_rewritten;
    put_in_front(alias.chain, answer);
    std::ranges::copy(alias.signatures, std::back_inserter(answer.signatures));
    std::ranges::copy(alias.proofs, std::back_inserter(answer.proofs));
    answer.is_rewritten = was_rewritten || !alias.is_chased;
    answer.info.reset();
    if (alias.info) answer.info.emplace(*alias.info);
    return std::ranges::count_if(answer.chain, is_cname) <= std::ptrdiff_t(2 * limits::chain);
}

} // namespace millrace::control
