// Of FetchTable: questions that are answered by way of another name's answer.
//
// A rule of LocalNames, for the question's name or for one in a reply's chain of CNAMEs, makes an Alias: the
// chain so far, and the key to be asked in the place of the first. Its target is answered here, or is in the
// table, or has a Fetch of its own, which is an ordinary one: it is coalesced, cached and cancelled under
// its own key. What it ends with is put behind the chain and published under the first key, with a
// generation of that one's own, taken at that moment.
#include "control/fetch/table.hpp"

#include <algorithm>

#include "control/limits.hpp"
#include "control/message/records.hpp"
#include "control/message/reply.hpp"
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
    std::vector<std::uint8_t> message(dns::header_octets + question.size() + records_size + 16);
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
    Alias alias{{}, key, std::nullopt, false};
    bool leads = local_ && key.qtype != LDNS_RR_TYPE_CNAME && extend(alias) && !(alias.target == key);
    return leads ? std::optional(std::move(alias)) : std::nullopt;
}

/// What the rule for its name says to who asks for the CNAME itself.
std::optional<Answer> FetchTable::own_alias(const cache::Key& key, Time now) const {
    if (!local_ || key.qtype != LDNS_RR_TYPE_CNAME) return std::nullopt;
    auto match = local_->get().find(key.name.bytes());
    if (!match || local_->get().action(*match) != LocalNames::Action::alias) return std::nullopt;
    Answer answer;
    answer.kind = Kind::positive;
    answer.rcode = LDNS_RCODE_NOERROR;
    answer.received = now;
    answer.records = {alias_record(key.name, local_->get().target(*match))};
    return answer;
}

/// Follows rules from the alias's target on, those of block lists once. False: there is none. Rules that go
/// in a circle lead to no key: the target is left without a name.
bool FetchTable::extend(Alias& alias) const {
    const LocalNames& local = local_->get();
    bool any = false;
    for (;; any = true) {
        auto match = local.find(alias.target.name.bytes());
        if (!match || local.action(*match) != LocalNames::Action::alias) return any;
        if (alias.is_blocked && local.is_blocked(*match)) return any;
        alias.is_blocked = alias.is_blocked || local.is_blocked(*match);
        if (!alias.info && local.info(*match) != cache::Entry::no_info) alias.info = local.info(*match);
        alias.chain.push_back(alias_record(alias.target.name, local.target(*match)));
        alias.target.name = local.target(*match);
        if (alias.chain.size() > limits::chain) return alias.target.name.size = 0, true;
    }
}

void FetchTable::follow(const cache::Key& key, cache::Hash hash, const Alias& alias,
                        std::vector<Waiter> waiters, Time now) {
    const cache::Key& target = alias.target;
    if (target.name.size == 0 || leads_to(target, key)) return fail_alias(key, hash, waiters, now);
    cache::Hash target_hash = table_.hasher()(target);
    if (auto answer = known_answer(alias, target_hash, now)) {
        return conclude(key, hash, alias, std::move(*answer), waiters);
    }
    const cache::Entry* entry = table_.find(target, target_hash);
    bool has_failed = entry && entry->failure && now < entry->expiry;
    if (has_failed) return fail_alias(key, hash, waiters, now); // RFC 9520: not again so soon
    if (Follower* same = find_follower(key, hash)) {
        std::ranges::move(waiters, std::back_inserter(same->waiters));
        return;
    }
    Slot* slot = find(target, target_hash);
    if (slot && slot->fetch->state() != Fetch::State::asking) {
        retire(*slot); // it has answered, and its answer is no longer usable
        slot = nullptr;
    }
    bool is_sought = slot || find_follower(target, target_hash);
    bool has_room = followers_.size() < limits::fetches && (is_sought || !free_.empty());
    if (!has_room || !following_.emplace(hash, target_hash).second)
        return fail_alias(key, hash, waiters, now);
    if (followers_.empty()) followers_due_ = now + limits::follower_sweep;
    followers_.emplace(target_hash, Follower{key, hash, alias, std::move(waiters)});
    if (!is_sought) start(target, target_hash, {}, now, nullptr, true);
}

/// What is known of the target without asking: a rule's answer, or one in the table that no rule has
/// to do with.
std::optional<Answer> FetchTable::known_answer(const Alias& alias, cache::Hash hash, Time now) const {
    const cache::Key& target = alias.target;
    const LocalNames& local = local_->get();
    auto match = local.find(target.name.bytes());
    bool applies = match && !(alias.is_blocked && local.is_blocked(*match));
    if (applies) {
        if (auto answer = read_local(local, *match, target, now)) return answer;
    }
    const cache::Entry* entry = table_.find(target, hash);
    bool usable = entry && now < entry->expiry && entry->version.generation > table_.floor(target.group) &&
                  !entry->failure && !entry->rewritten;
    if (usable && entry->chained) {
        usable =
            std::ranges::none_of(chain_targets(target.name.bytes(), *entry), [&](const cache::Name& name) {
                return local.find_blocked(name.bytes()).has_value();
            });
    }
    return usable ? read_entry(target, *entry, now) : std::nullopt;
}

/// Publishes the chain with what its end turned out to be, and wakes; those too who follow this name.
void FetchTable::conclude(const cache::Key& key, cache::Hash hash, const Alias& alias, Answer&& answer,
                          const std::vector<Waiter>& waiters) {
    put_in_front(alias.chain, answer);
    answer.is_rewritten = true;
    answer.info = alias.info;
    counters_.aliased += waiters.size();
    auto is_cname = [](const Record& r) { return ldns_rr_get_type(r.get()) == LDNS_RR_TYPE_CNAME; };
    if (std::ranges::count_if(answer.chain, is_cname) > 2 * int(limits::chain)) {
        return fail_alias(key, hash, waiters, now_);
    }
    cache::Generation generation = ++last_generation_;
    table_.start(key, hash, generation);
    Published published = publisher_.publish(key, hash, answer, {generation, 0}, Time::max());
    table_.finish(key, hash, generation);
    wake_some(waiters, published.entry, &published.hold);
    conclude_followers(key, hash, published.entry, WakeKind::answer);
}

/// Stale data of the name's own if there is any, and no other try for a while; else SERVFAIL. Who follows
/// this name has to do with their own.
void FetchTable::fail_alias(const cache::Key& key, cache::Hash hash, const std::vector<Waiter>& waiters,
                            Time now) {
    const cache::Entry* stale = stale_entry(key, hash, now);
    conclude_followers(key, hash, publisher_.servfail(), WakeKind::answer);
    if (!stale) return wake_some(waiters, publisher_.servfail(), nullptr);
    stale->refresh_after.store((now + limits::stale_recheck).count(), std::memory_order_relaxed);
    for (const Waiter& w : waiters) wake(w, stale, WakeKind::stale);
}

/// `entry` is what the clients of the target got.
void FetchTable::conclude_followers(const cache::Key& target, cache::Hash hash, const cache::Entry* entry,
                                    WakeKind kind) {
    for (Follower& f : take_followers(target, hash)) {
        bool is_answer = kind == WakeKind::answer && entry && !entry->failure;
        auto answer = is_answer ? read_entry(target, *entry, now_) : std::nullopt;
        if (answer) {
            conclude(f.key, f.hash, f.alias, std::move(*answer), f.waiters);
        } else {
            fail_alias(f.key, f.hash, f.waiters, now_);
        }
    }
}

/// Their target's Fetch ended without an answer: they look for another.
void FetchTable::restart_followers(const cache::Key& target, cache::Hash hash) {
    for (Follower& f : take_followers(target, hash)) {
        restart_followers(f.key, f.hash);
        if (!f.waiters.empty()) restarts_.push_back({f.key, f.hash, std::move(f.waiters)});
    }
}

/// Of a flush: followers whose own name matches, and chains that wait for their turn.
void FetchTable::supersede_followers(const std::function<bool(const cache::Key&)>& matches) {
    std::vector<std::pair<cache::Key, cache::Hash>> hit;
    for (const auto& [hash, f] : followers_) {
        if (matches(f.key)) hit.emplace_back(f.alias.target, hash);
    }
    for (const auto& [target, hash] : hit) restart_followers(target, hash);
    for (Restart& restart : restarts_) {
        if (matches(restart.key)) restart.alias.reset();
    }
}

/// Client timers, as of those who wait for a Fetch.
void FetchTable::expire_followers(Time now) {
    if (followers_.empty() || now < followers_due_) return;
    followers_due_ = now + limits::follower_sweep;
    for (auto& [hash, f] : followers_) {
        const cache::Entry* stale = stale_entry(f.key, f.hash, now);
        std::erase_if(f.waiters, [&](const Waiter& w) {
            bool due = now >= patience(w, stale);
            if (due) wake(w, stale, stale ? WakeKind::stale : WakeKind::abandon);
            return due;
        });
    }
}

bool FetchTable::has_followers(const Fetch& fetch) const {
    auto [first, last] = followers_.equal_range(fetch.hash());
    return std::any_of(first, last, [&](const auto& f) { return f.second.alias.target == fetch.key(); });
}

FetchTable::Follower* FetchTable::find_follower(const cache::Key& key, cache::Hash hash) {
    auto at = following_.find(hash);
    if (at == following_.end()) return nullptr;
    auto [first, last] = followers_.equal_range(at->second);
    auto found = std::find_if(first, last, [&](const auto& f) { return f.second.key == key; });
    return found == last ? nullptr : &found->second;
}

/// Whether who waits for `from` would wait for `key`.
bool FetchTable::leads_to(cache::Key from, const cache::Key& key) {
    for (unsigned steps = 0; steps <= limits::chain; ++steps) {
        if (from == key) return true;
        Follower* next = find_follower(from, table_.hasher()(from));
        if (!next) return false;
        from = next->alias.target;
    }
    return true;
}

std::vector<FetchTable::Follower> FetchTable::take_followers(const cache::Key& target, cache::Hash hash) {
    std::vector<Follower> taken;
    auto [at, last] = followers_.equal_range(hash);
    while (at != last) {
        if (at->second.alias.target == target) {
            following_.erase(at->second.hash);
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
        link.name = name_of(ldns_rr_rdf(answer.chain[i].get(), 0));
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
            Alias alias{{chain.begin(), chain.end()}, link, info, false};
            extend(alias);
            cache::Key key = slot.fetch->key();
            cache::Hash hash = slot.fetch->hash();
            std::vector<Waiter> waiters = retire(slot, Followers::stay);
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
