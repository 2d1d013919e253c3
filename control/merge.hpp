// Merging the answers of several upstreams, where it is safe (wire-rules.md section 3; RFC 2181 5.4 warns).
//
// Basic algorithm: the winner is the first decisive reply. The addresses of every other reply that agrees
// with it in everything else are appended, each once, in the order of arrival. One reply that does not agree
// in what a merge depends on (its chain, a signature, AD, or too many addresses) and the winner stays whole
// and alone.
//
// Pure functions. Control thread.
#pragma once

#include <optional>
#include <span>

#include "cache/key.hpp"
#include "control/answer.hpp"
#include "control/config.hpp"

namespace millrace::control {

/// Whether asking more upstreams can lead to a merge at all: A or AAAA, DO=0, CD=0, policy not `off`, the
/// winner positive, unsigned and without AD.
bool can_merge(const cache::Key& key, const Answer& winner, Config::MergePolicy policy);

struct Merged {
    std::optional<Answer> answer;     ///< what to publish in the winner's place; none: nothing changes
    Time latest_expiry = Time::max(); ///< no later revision lives longer than any contributor
    bool disagreement = false; ///< somebody denied the name or the type: the answer may live 30 s at most
};

/// `answers`: the winner, then the others as they arrived; failures and incomplete ones have no say.
Merged merge(std::span<const Answer> answers);

} // namespace millrace::control
