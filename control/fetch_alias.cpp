// Of FetchTable: questions that are answered by way of another name's answer.
//
// A rule of LocalNames, for the question's name or for one in a reply's chain of CNAMEs, makes an Alias: the
// chain so far, and the key to be asked in the place of the first. Its target is answered here, or is in the
// table, or has a Fetch of its own, which is an ordinary one: it is coalesced, cached and cancelled under
// its own key. What it ends with is put behind the chain and published under the first key, with a
// generation of that one's own, taken at that moment.
#include "control/fetch_table.hpp"

#include <algorithm>

#include "control/limits.hpp"
#include "control/message.hpp"
#include "control/records.hpp"
#include "dataplane/answer.hpp"

namespace millrace::control {

using WakeKind = dataplane::Wake::Kind;
using dataplane::LocalNames;

namespace {

constexpr std::uint32_t rule_ttl = 60; // of a CNAME that a rule makes: a changed rule is seen in a minute

/// "owner CNAME target".
Record alias_record(const cache::Name& owner, const cache::Name& target) {
    RecordHandle record(ldns_rr_new());
    auto dname = [](const cache::Name& name) {
        return ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, name.size, name.octets.data());
    };
    ldns_rr_set_owner(record.get(), dname(owner));
    ldns_rr_set_type(record.get(), LDNS_RR_TYPE_CNAME);
    ldns_rr_set_class(record.get(), LDNS_RR_CLASS_IN);
    ldns_rr_set_ttl(record.get(), rule_ttl);
    ldns_rr_push_rdf(record.get(), dname(target));
    return record;
}

/// The target of a CNAME, folded.
cache::Name target_of(const ldns_rr* record) {
    const ldns_rdf* dname = ldns_rr_rdf(record, 0);
    cache::Reader in({ldns_rdf_data(dname), ldns_rdf_size(dname)});
    cache::Name name;
    cache::read_name(in, name);
    return name;
}

/// What a reply to `key`, as `write` writes it, says.
template <class Write>
std::optional<Answer> read_back(const cache::Key& key, std::size_t records_size, Time now, Write write) {
    dataplane::Head head;
    head.question_size = std::uint16_t(key.name.size + 4);
    head.limit = cache::limits::message_octets;
    std::vector<std::uint8_t> question(key.name.bytes().begin(), key.name.bytes().end());
    for (unsigned value : {key.qtype >> 8, key.qtype & 255, key.qclass >> 8, key.qclass & 255}) {
        question.push_back(std::uint8_t(value));
    }
    std::vector<std::uint8_t> message(dataplane::header_octets + question.size() + records_size + 16);
    message.resize(write(head, question, message));
    auto answer = parse_reply(message, key, 0, now);
    return answer ? std::optional(std::move(*answer)) : std::nullopt;
}

std::optional<Answer> read_entry(const cache::Key& key, const cache::Entry& entry, Time now) {
    return read_back(key, entry.records_size, now, [&](const auto& head, const auto& question, auto& out) {
        return dataplane::answer::write(head, question, entry, now, dataplane::answer::Age::counted, out);
    });
}

/// What LocalNames has for a key; none when it has nothing.
std::optional<Answer> read_local(const LocalNames& local, const LocalNames::Match& match,
                                 const cache::Key& key, Time now) {
    const cache::Entry* entry = local.answer(match, key.qtype);
    if (!entry) return std::nullopt;
    return read_back(key, entry->records_size, now, [&](const auto& head, const auto& question, auto& out) {
        return dataplane::answer::write_local(head, question, *entry, match.above, cache::Entry::no_info,
                                              out);
    });
}

void put_in_front(std::span<const Record> chain, Answer& answer) {
    answer.chain.insert(answer.chain.begin(), chain.begin(), chain.end());
    answer.authentic = false;
}

} // namespace

/// The rule for the key's name; rules that lead from one to the next are followed to their end.
std::optional<FetchTable::Alias> FetchTable::alias_of(const cache::Key& key) const {
    Alias alias{{}, key, std::nullopt};
    if (!local_ || key.qtype == LDNS_RR_TYPE_CNAME || !extend(alias)) return std::nullopt;
    return alias;
}

/// Follows rules from the alias's target on. False: there is none. Rules that go in a circle lead to no key:
/// the target is left without a name.
bool FetchTable::extend(Alias& alias) const {
    const LocalNames& local = local_->get();
    bool any = false;
    for (;; any = true) {
        auto match = local.find(alias.target.name.bytes());
        if (!match || local.action(*match) != LocalNames::Action::alias) return any;
        if (!alias.info && local.info(*match) != cache::Entry::no_info) alias.info = local.info(*match);
        alias.chain.push_back(alias_record(alias.target.name, local.target(*match)));
        alias.target.name = local.target(*match);
        if (alias.chain.size() > chain_limit) return alias.target.name.size = 0, true;
    }
}

void FetchTable::follow(const cache::Key& key, cache::Hash hash, const Alias& alias,
                        std::vector<Waiter> waiters, Time now) {
    if (alias.target.name.size == 0 || alias.target == key)
        return wake_some(waiters, publisher_.servfail(), nullptr);
    const cache::Key& target = alias.target;
    cache::Hash target_hash = table_.hasher()(target);
    auto match = local_ ? local_->get().find(target.name.bytes()) : std::nullopt;
    if (match) {
        if (auto answer = read_local(local_->get(), *match, target, now)) {
            return conclude(key, hash, alias, std::move(*answer), std::move(waiters));
        }
    }
    const cache::Entry* entry = table_.find(target, target_hash);
    if (entry && now < entry->expiry && entry->version.generation > table_.floor(target.group) &&
        !entry->failure) {
        if (auto answer = read_entry(target, *entry, now)) {
            return conclude(key, hash, alias, std::move(*answer), std::move(waiters));
        }
    }
    Slot* slot = find(target, target_hash);
    if (slot && slot->fetch->state() != Fetch::State::asking) {
        retire(*slot); // it has answered, and its answer is no longer usable
        slot = nullptr;
    }
    if (followers_.size() >= limits::fetches || (!slot && free_.empty())) {
        counters_.refused += waiters.size();
        return wake_some(waiters, publisher_.servfail(), nullptr);
    }
    auto [first, last] = followers_.equal_range(target_hash);
    auto same = std::find_if(first, last, [&](const auto& f) { return f.second.key == key; });
    if (same != last) {
        std::ranges::move(waiters, std::back_inserter(same->second.waiters));
    } else {
        followers_.emplace(target_hash, Follower{key, hash, alias, std::move(waiters)});
    }
    if (!slot) start(target, target_hash, {}, now);
}

/// Publishes the chain with what its end turned out to be, and wakes.
void FetchTable::conclude(const cache::Key& key, cache::Hash hash, const Alias& alias, Answer&& answer,
                          std::vector<Waiter> waiters) {
    put_in_front(alias.chain, answer);
    answer.is_rewritten = true;
    answer.info = alias.info;
    counters_.aliased += waiters.size();
    if (answer.chain.size() > 2 * chain_limit) return wake_some(waiters, publisher_.servfail(), nullptr);
    cache::Generation generation = ++last_generation_;
    table_.start(key, hash, generation);
    Published published = publisher_.publish(key, hash, answer, {generation, 0}, Time::max());
    table_.finish(key, hash, generation);
    wake_some(waiters, published.entry, &published.hold);
}

/// `entry` is what the clients of the target got.
void FetchTable::conclude_followers(const Fetch& fetch, const cache::Entry* entry) {
    if (!has_followers(fetch)) return;
    for (Follower& f : take_followers(fetch.key(), fetch.hash())) {
        auto answer = entry->failure ? std::nullopt : read_entry(fetch.key(), *entry, now_);
        if (!answer) {
            wake_some(f.waiters, publisher_.servfail(), nullptr);
            continue;
        }
        conclude(f.key, f.hash, f.alias, std::move(*answer), std::move(f.waiters));
    }
}

/// Their target's Fetch ended without an answer: they look for another.
void FetchTable::restart_followers(const cache::Key& target, cache::Hash hash) {
    for (Follower& f : take_followers(target, hash)) {
        if (!f.waiters.empty()) restarts_.push_back({f.key, f.hash, std::move(f.waiters)});
    }
}

bool FetchTable::has_followers(const Fetch& fetch) const {
    auto [first, last] = followers_.equal_range(fetch.hash());
    return std::any_of(first, last, [&](const auto& f) { return f.second.alias.target == fetch.key(); });
}

std::vector<FetchTable::Follower> FetchTable::take_followers(const cache::Key& target, cache::Hash hash) {
    std::vector<Follower> taken;
    auto [at, last] = followers_.equal_range(hash);
    while (at != last) {
        if (at->second.alias.target == target) {
            taken.push_back(std::move(at->second));
            at = followers_.erase(at);
        } else {
            ++at;
        }
    }
    return taken;
}

/// Holds the names of a reply's chain against the block lists; from a blocked one on, the answer is the
/// list's. False: the Fetch has ended, as the list leads to another name.
bool FetchTable::apply_block_lists(Slot& slot, Answer& answer) {
    if (!local_) return true;
    const LocalNames& local = local_->get();
    for (std::size_t i = 0; i < answer.chain.size(); ++i) {
        if (ldns_rr_get_type(answer.chain[i].get()) != LDNS_RR_TYPE_CNAME) continue;
        cache::Key link = slot.fetch->key();
        link.name = target_of(answer.chain[i].get());
        auto match = local.find_blocked(link.name.bytes());
        if (!match) continue;
        ++counters_.chains_blocked;
        std::span chain = std::span(answer.chain).first(i + 1);
        std::optional<std::uint16_t> info;
        if (local.info(*match) != cache::Entry::no_info) info = local.info(*match);
        auto blocked = read_local(local, *match, link, answer.received);
        if (!blocked) {
            if (slot.fetch->state() != Fetch::State::asking) {
                slot.fetch->on_failed(answer.upstream, answer.received, *this);
                return settle(slot), false;
            }
            Alias alias{{chain.begin(), chain.end()}, link, info};
            extend(alias);
            cache::Key key = slot.fetch->key();
            cache::Hash hash = slot.fetch->hash();
            std::vector<Waiter> waiters = retire(slot);
            restarts_.push_back({key, hash, std::move(waiters), std::move(alias)});
            return false;
        }
        put_in_front(chain, *blocked);
        blocked->upstream = answer.upstream;
        blocked->is_rewritten = true;
        blocked->info = info;
        answer = std::move(*blocked);
        return true;
    }
    return true;
}

/// Clients over UDP that have waited too long get nothing (DNSBomb).
void FetchTable::wake_some(const std::vector<Waiter>& waiters, const cache::Entry* entry,
                           cache::Reserve::Hold* hold) {
    for (const Waiter& w : waiters) {
        bool too_late = !w.is_tcp() && now_ > w.arrived + limits::abandon_after;
        wake(w, too_late ? nullptr : entry, too_late ? WakeKind::abandon : WakeKind::answer);
        if (hold && *hold && !w.is_tcp() && !too_late) hold->sent_to(w.source);
    }
}

} // namespace millrace::control
