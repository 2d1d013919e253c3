#include "control/fetch/merge.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "control/limits.hpp"
#include "control/message/entry_build.hpp"
#include "control/message/records.hpp"
#include "control/rank/special_use.hpp"
#include "dataplane/address.hpp"

namespace millrace::control {

namespace {

using dataplane::Address;

/// By the CNAMEs: a DNAME says nothing more, and not everybody tells it.
bool same_chain(const Answer& a, const Answer& b) {
    auto cnames = [](const Answer& answer) { // not std::views::filter: clang 14 has none with GCC's library
        std::vector<Record> kept;
        std::ranges::copy_if(answer.chain, std::back_inserter(kept), is_cname);
        return kept;
    };
    return std::ranges::equal(cnames(a), cnames(b), [](const Record& x, const Record& y) {
        return ldns_rr_compare_no_rdata(x.get(), y.get()) == 0 && ldns_rr_compare(x.get(), y.get()) == 0;
    });
}

/// Gives the records of the answer one TTL that ends, counted from its own arrival, at `expiry`.
void set_ttls(std::vector<Record>& records, Time received, Time expiry) {
    auto left = std::chrono::duration_cast<std::chrono::seconds>(expiry - received).count();
    auto ttl = std::uint32_t(std::max<std::int64_t>(0, left));
    for (Record& r : records) {
        if (ldns_rr_ttl(r.get()) > ttl) r = with_ttl(r, ttl);
    }
}

/// A reply and its addresses, sorted: there may be thousands, and each is looked for among the others'.
struct Vote {
    const Answer* answer;
    std::vector<Address> addresses;

    explicit Vote(const Answer& from) : answer(&from), addresses(addresses_of(from)) {
        std::ranges::sort(addresses);
        addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
    }
    bool has(const Address& address) const { return std::ranges::binary_search(addresses, address); }
};

/// Whether the key asks for addresses that a merge may concern, and the answer has some.
bool are_addresses(const cache::Key& key, const Answer& answer) {
    bool asked = key.qtype == LDNS_RR_TYPE_A || key.qtype == LDNS_RR_TYPE_AAAA;
    return asked && key.flavour == cache::plain && answer.kind == Kind::positive;
}

bool is_comparable(const Answer& answer) {
    return !answer.is_signed && !answer.authentic && !answer.is_scoped;
}

bool is_denial(const Answer& answer) {
    return answer.kind == Kind::nxdomain || answer.kind == Kind::nodata || answer.kind == Kind::yxdomain;
}

/// The replies that say the same as the winner in all but the addresses, the winner first; none when some
/// positive reply does not.
std::vector<Vote> agreeing(std::span<const Answer> answers) {
    std::vector<Vote> same;
    for (const Answer& answer : answers) {
        if (answer.kind != Kind::positive) continue;
        bool agrees = is_comparable(answer) && same_chain(answers.front(), answer);
        if (!agrees) return {};
        same.emplace_back(answer);
    }
    return same;
}

/// The winner with the addresses of the others after its own.
Answer unite(std::span<const Vote> replies) {
    Answer united = *replies.front().answer;
    std::set<Address> known(replies.front().addresses.begin(), replies.front().addresses.end());
    for (const Vote& other : replies.subspan(1)) {
        for (const Record& r : other.answer->records) {
            Address address = address_of(r);
            // DNS rebinding: what a merge adds never leads into the client's network.
            if (!is_internal(address) && known.insert(address).second) united.records.push_back(r);
        }
    }
    return united;
}

/// Keeps what enough replies hold.
void keep_quorum(Answer& united, std::span<const Vote> replies, unsigned quorum) {
    std::map<Address, unsigned> holders;
    for (const Vote& reply : replies) {
        for (const Address& address : reply.addresses) ++holders[address];
    }
    std::erase_if(united.records, [&](const Record& r) { return holders[address_of(r)] < quorum; });
}

/// The earliest end among the replies that have a part in what is published, the winner included.
Time earliest_end(const Answer& united, std::span<const Vote> replies, const TtlPolicy& policy) {
    Time earliest = lowest_expiry(*replies.front().answer, policy);
    for (const Vote& reply : replies.subspan(1)) {
        auto gave = [&](const Record& r) { return reply.has(address_of(r)); };
        if (std::ranges::any_of(united.records, gave)) {
            earliest = std::min(earliest, lowest_expiry(*reply.answer, policy));
        }
    }
    return earliest;
}

/// What the replies make together, when that is something else than the winner alone.
Merged publish_united(Answer&& united, std::span<const Vote> replies, const TtlPolicy& policy) {
    const Answer& winner = *replies.front().answer;
    if (united.records.empty() || united.records.size() > limits::merged_addresses) return {};
    Time expiry = earliest_end(united, replies, policy);
    bool changes = united.records != winner.records || expiry < lowest_expiry(winner, policy);
    return changes ? Merged{std::move(united), expiry, false} : Merged{};
}

/// The winner as it is, but not for long.
Merged briefly(const Answer& winner, const TtlPolicy& policy, bool is_denied) {
    return {winner, std::min(lowest_expiry(winner, policy), winner.received + limits::disagreement_ttl),
            is_denied};
}

/// Votes are positive replies over the winner's chain, signed or not: no header bit makes one count less.
Merged by_quorum(std::span<const Answer> answers, const Config::Merge& rule, const TtlPolicy& policy) {
    const Answer& winner = answers.front();
    std::vector<Vote> votes, plain;
    for (const Answer& answer : answers) {
        if (answer.kind != Kind::positive || !same_chain(winner, answer)) continue;
        votes.emplace_back(answer);
        if (is_comparable(answer)) plain.push_back(votes.back());
    }
    if (!is_comparable(winner)) {
        auto agrees = [&](const Vote& vote) { return vote.addresses == votes.front().addresses; };
        bool enough = std::ranges::count_if(votes, agrees) >= std::ptrdiff_t(rule.quorum);
        return enough ? Merged{} : briefly(winner, policy, false);
    }
    Answer united = unite(plain);
    keep_quorum(united, votes, rule.quorum);
    bool can_be_shown = !united.records.empty() && united.records.size() <= limits::merged_addresses;
    if (!can_be_shown) return briefly(winner, policy, false);
    return publish_united(std::move(united), votes, policy);
}

} // namespace

Time lowest_expiry(const Answer& answer, const TtlPolicy& policy) {
    Time lowest = policy.max_ttl;
    for (const auto* part : {&answer.chain, &answer.records}) {
        for (const Record& r : *part)
            lowest = std::min<Time>(lowest, std::chrono::seconds(ldns_rr_ttl(r.get())));
    }
    return answer.received + std::max(lowest, policy.min_ttl);
}

bool is_plain_addresses(const cache::Key& key, const Answer& answer) {
    return are_addresses(key, answer) && is_comparable(answer);
}

bool can_merge(const cache::Key& key, const Answer& winner, Config::MergePolicy policy) {
    if (policy == Config::MergePolicy::quorum) return are_addresses(key, winner);
    return policy == Config::MergePolicy::unite && is_plain_addresses(key, winner);
}

Time lone_expiry(const cache::Key& key, const Answer& winner, const Config::Merge& rule,
                 const TtlPolicy& policy) {
    bool is_short = rule.policy == Config::MergePolicy::quorum && are_addresses(key, winner);
    return is_short ? briefly(winner, policy, false).latest_expiry : Time::max();
}

Merged merge(std::span<const Answer> answers, const Config::Merge& rule, const TtlPolicy& policy) {
    const Answer& winner = answers.front();
    Merged merged;
    if (std::ranges::any_of(answers, is_denial)) {
        merged = briefly(winner, policy, true); // positive against negative is never combined
    } else if (rule.policy == Config::MergePolicy::quorum) {
        merged = by_quorum(answers, rule, policy);
    } else if (auto replies = agreeing(answers); replies.size() > 1) {
        merged = publish_united(unite(replies), replies, policy);
    }
    if (merged.answer) {
        set_ttls(merged.answer->chain, winner.received, merged.latest_expiry);
        set_ttls(merged.answer->records, winner.received, merged.latest_expiry);
    }
    return merged;
}

std::vector<Address> addresses_of(const Answer& answer) {
    std::vector<Address> addresses;
    for (const Record& r : answer.records) addresses.push_back(address_of(r));
    return addresses;
}

Answer in_order(const Answer& answer, std::span<const Address> order) {
    Answer ordered = answer;
    std::map<Address, std::size_t> places;
    for (std::size_t i = 0; i < order.size(); ++i) places.emplace(order[i], i);
    auto place = [&](const Record& r) {
        auto at = places.find(address_of(r));
        return at == places.end() ? order.size() : at->second;
    };
    std::ranges::stable_sort(ordered.records, {}, place);
    return ordered;
}

} // namespace millrace::control
