// Names that rules lead to other names, and block lists along the CNAMEs of a reply: what LocalNames says
// about both without asking anybody.
//
// Rules that lead from one name to the next are followed to their end, those of block lists once. Of a chain
// the earliest name that a rule knows decides: one that passes lets all behind it pass, whatever list
// denies that (as in BIND, Unbound and PowerDNS Recursor). Threads: pure.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cache/entry.hpp"
#include "cache/key.hpp"
#include "control/message/answer.hpp"
#include "dataplane/local_names.hpp"

namespace millrace::control {

/// A chain of CNAMEs that leads from one key to another, which is asked in its place.
struct Alias {
    std::vector<Record> chain;         ///< in order, the last one's target is the other key's name
    std::vector<Record> signatures;    ///< of an upstream's chain,
    std::vector<Record> proofs;        ///< and that a wildcard in it was the right one
    cache::Key target;                 ///< without a name when the rules go in a circle: they lead to no key
    std::optional<std::uint16_t> info; ///< extended error of the block list that says so
    bool is_blocked = false;           ///< a block list has led it somewhere: no other will
    bool is_chased = false;            ///< its chain is an upstream's, whose end is to be asked
    std::uint64_t account = 0;         ///< the client prefix for which an upstream was asked; 0: nobody's
    cache::Generation generation = 0;  ///< of the Fetch that got the chain from an upstream; 0: none

    /// Of a question that DNS64 (RFC 6147) concerns: whether AAAA records are looked for, or A records to
    /// make some of. The chain is empty then.
    enum class Dns64 : std::uint8_t { none, native, mapped } dns64 = Dns64::none;
    std::shared_ptr<const Answer> native; ///< mapped: the AAAA answer that is none; null: there is no answer
    Time native_expiry{};                 ///< of the Entry that says so
    Time latest = Time::max();            ///< mapped: what comes of it lives no longer,
    cache::Generation native_root = 0;    ///< and may be revoked by this Fetch
    bool is_native_stale = false;         ///< `native` has expired: told only while nobody can be asked
};

/// What the rules make of the key. None: they lead its name nowhere.
std::optional<Alias> alias_of(const dataplane::LocalNames& local, const cache::Key& key);

/// A reply's chain of CNAMEs without its end, which is to be asked in the place of `key`; where rules lead
/// that name elsewhere, they are followed. `local` may be null.
Alias chased_alias(const dataplane::LocalNames* local, const cache::Key& key, const Answer& answer);

/// What the rule for its name says to who asks for the CNAME itself. None: there is no such
/// rule, or question.
std::optional<Answer> own_alias(const dataplane::LocalNames& local, const cache::Key& key, Time now);

/// What a rule answers in the place of the alias's target.
std::optional<Answer> rule_for_target(const dataplane::LocalNames& local, const Alias& alias, Time now);

/// Whether the chain of an Entry published for `qname` leads to a blocked name.
bool leads_to_blocked(const dataplane::LocalNames& local, std::span<const std::uint8_t> qname,
                      const cache::Entry& entry);

/// What block lists make of a reply to a key.
struct ChainVerdict {
    bool is_blocked =
        false; ///< a name of the chain is on a list: from there on, the answer is now the list's,
    std::optional<Alias> alias; ///< or this, where the list leads to another name; the answer is as it was
};
ChainVerdict apply_block_lists(const dataplane::LocalNames& local, const cache::Key& key, Answer& answer);

/// The alias's chain, then what its target was answered with, as one answer to the first key. False: the
/// chain is too long.
[[nodiscard]] bool complete(const Alias& alias, Answer& answer);

} // namespace millrace::control
