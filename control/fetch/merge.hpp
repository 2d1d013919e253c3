// Merging the answers of several upstreams, where it is safe (dataplane/RULES.md, merging).
//
// Basic algorithm: the winner is the first decisive reply. `union` appends the addresses of every other reply
// that agrees with it in everything else, each once, in the order of arrival; one reply that does not agree
// in what a merge depends on (its chain, a signature, AD), or too many addresses, and the winner stays whole
// and alone. `quorum` keeps of the union what enough replies hold. A winner whose addresses are not ours to
// choose (signed, AD, for some client subnets) stays whole when enough replies hold the same ones. When too
// few agree, the winner stays, briefly.
//
// Pure functions. Control thread.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "cache/key.hpp"
#include "control/config/config.hpp"
#include "control/message/answer.hpp"
#include "control/message/entry_build.hpp"
#include "dataplane/address.hpp"

namespace millrace::control {

/// Whether the addresses of this answer are ours to choose and to order: A or AAAA, DO=0, CD=0, positive,
/// unsigned, without AD, and not meant for some client subnets only.
bool is_plain_addresses(const cache::Key& key, const Answer& answer);

/// Whether more upstreams have a say in what becomes of the winner: by the policy, and by what it is.
bool can_merge(const cache::Key& key, const Answer& winner, Config::MergePolicy policy);

/// How long a winner may live to whom nobody else is left to agree; Time::max() where nobody has to.
Time lone_expiry(const cache::Key& key, const Answer& winner, const Config::Merge& rule,
                 const TtlPolicy& policy);

/// When the answer ends, its TTLs held within the policy's bounds.
Time lowest_expiry(const Answer& answer, const TtlPolicy& policy);

struct Merged {
    std::optional<Answer> answer;     ///< what to publish in the winner's place; none: nothing changes
    Time latest_expiry = Time::max(); ///< no later revision lives longer than any contributor
    bool disagreement = false; ///< somebody denied the name or the type: the answer may live 30 s at most
};

/// `answers`: the winner, then the others as they arrived; failures and incomplete ones have no say. `policy`
/// bounds the TTLs of each before they are compared.
Merged merge(std::span<const Answer> answers, const Config::Merge& rule, const TtlPolicy& policy);

/// The addresses of an answer of A or AAAA records, in its order.
std::vector<dataplane::Address> addresses_of(const Answer& answer);

/// The same answer, its addresses in this order; those that `order` does not name follow as they were.
Answer in_order(const Answer& answer, std::span<const dataplane::Address> order);

} // namespace millrace::control
