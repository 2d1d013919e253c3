// Names that are answered here and never asked upstream: special-use zones, the operator's records, block
// lists. One immutable object, built by control, read by every worker, replaced whole (dataplane/rules.hpp).
//
// A rule stands for one name exactly, for every name below one, or both. Of several that match a name,
// the one of the earliest source wins; within a source the one of the longest name (as in response
// policy zones, draft-vixie-dnsop-dns-rpz). Of a source that is a zone, what stands for the names below one
// ends where the zone has a name of its own, with or without a rule (RFC 4592 2.2.2, 3.3.1).
//
// Basic algorithm: a question's labels are hashed from the root leftwards, so that every name that the
// question lies at or below costs one step. A filter of 16 bits for each name in the set, three of them
// looked at, in one word of memory, knows the names and all that lies above them; the first step that it does
// not know is the last. What passes is looked up in an open-addressed table and compared in full.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cache/entry.hpp"
#include "cache/name.hpp"

namespace millrace::dataplane {

class LocalNames final {
  public:
    static constexpr unsigned most_sources = 32;

    enum class Action : std::uint8_t {
        forward,  ///< as if no later source named it (PASSTHRU)
        nxdomain, ///< no such name
        nodata,   ///< no such record
        records,  ///< these records, and NODATA for other types
        alias,    ///< a CNAME to a name that is asked upstream
    };

    /// Where a name was found.
    struct Match {
        std::uint32_t rule = 0; ///< index, for the functions below
        std::uint8_t above = 0; ///< octets of the question's name in front of the name in the set
    };

    /// The rule for a canonical name. None: ask the cache.
    std::optional<Match> find(std::span<const std::uint8_t> name) const;

    Action action(const Match& match) const { return rules_[match.rule].action; }
    /// Whether a block list says it, not the operator's own records or a standard.
    bool is_blocked(const Match& match) const { return rules_[match.rule].is_blocked; }
    unsigned source(const Match& match) const {
        return rules_[match.rule].source;
    } ///< as the Builder was told
    /// Extended error code for clients (RFC 8914 4.16 to 4.18), or Entry::no_info.
    std::uint16_t info(const Match& match) const { return rules_[match.rule].info; }
    /// What answers `qtype`; null for Action::forward and ::alias. The records' owner is the question's name,
    /// the SOA's the name in the set: see answer::write_local.
    const cache::Entry* answer(const Match& match, std::uint16_t qtype) const;
    /// Of Action::alias.
    const cache::Name& target(const Match& match) const { return targets_[rules_[match.rule].first]; }
    /// The text of a name in class CH (RFC 4892); null: none is told.
    const cache::Entry* chaos(std::span<const std::uint8_t> name, std::uint16_t qtype) const;

    /// The same for a name of a CNAME chain: only what block lists say, and Action::forward, which keeps
    /// them away from the rest of the chain. None when there are no block lists.
    std::optional<Match> find_for_chain(std::span<const std::uint8_t> name) const;

    std::size_t size() const { return nodes_.size(); } ///< names
    std::size_t bytes() const;

    class Builder;

    /// What one object holds at most, as its offsets and indexes have 32 bits.
    struct Room {
        std::size_t octets = 0xffffffff; ///< of names
        std::size_t names = 0x7fffffff;  ///< those included that are there to end wildcards
    };

  private:
    static constexpr std::uint32_t none = 0xffffffff;
    static constexpr std::uint32_t link_bit = 0x80000000;
    /// One name. For the name itself and for those below it: `none`, or a rule's index, or link_bit and the
    /// index of a Link. Links are there only while rules are collected, or when some rule stops others.
    struct Node {
        std::uint32_t name; ///< where it begins in names_; the ends of a name may be names too
        std::uint8_t size;
        std::uint32_t exact = none, below = none;
    };
    /// A rule, and those of later sources: as in Node.
    struct Link {
        std::uint32_t rule, next;
    };
    struct Rule {
        Action action;
        bool is_blocked;
        bool stops; ///< no rule, but the end of this source's for the names below one
        std::uint16_t source;
        std::uint16_t info;
        std::uint32_t first; ///< of entries_, or index of targets_
        std::uint32_t count; ///< of entries_
    };
    /// By type; the one of type 0 answers all others.
    struct TypedEntry {
        std::uint16_t qtype;
        cache::EntryPtr entry;
    };
    struct Bucket {
        std::uint32_t tag = 0; ///< the upper half of the hash
        std::uint32_t node = none;
    };
    struct Chaos {
        cache::Name name;
        cache::EntryPtr entry;
    };

    LocalNames() = default;
    const Node* find_node(std::uint64_t hash, std::span<const std::uint8_t> name) const;
    bool may_hold(std::uint64_t hash) const;
    template <class Visit>
    void visit(std::span<const std::uint8_t> name, Visit each) const;
    std::optional<Match> find_past_stops(std::span<const std::uint8_t> name) const;
    std::span<const std::uint8_t> name_of(const Node& node) const {
        return {names_.data() + node.name, node.size};
    }
    Link link(std::uint32_t at) const {
        return at != none && at & link_bit ? links_[at & ~link_bit] : Link{at, none};
    }

    std::vector<std::uint8_t> names_;
    std::vector<Node> nodes_;
    std::vector<Bucket> buckets_;       ///< a power of two of them, at most two thirds in use
    std::vector<std::uint64_t> filter_; ///< a power of two of words
    std::vector<Rule> rules_;
    std::vector<Link> links_;
    std::vector<TypedEntry> entries_;
    std::vector<cache::Name> targets_;
    std::vector<Chaos> chaos_;
    bool has_root_ = false; ///< the root is one of the names
    bool blocks_ = false;   ///< some rule is a block list's
    bool stops_ = false;    ///< some rule stops others
};

/// Collects rules; used by one thread. Sources are numbered in the order in which they count.
class LocalNames::Builder {
  public:
    using RuleId = std::uint32_t;
    enum Reach : unsigned { exact = 1, below = 2, both = 3 };

    explicit Builder(Room room = {});

    RuleId forward(unsigned source, bool is_blocked);
    /// NXDOMAIN or NODATA: `entry` is their answer, with its SOA.
    RuleId deny(unsigned source, bool is_blocked, Action action, std::uint16_t info, cache::EntryPtr entry);
    /// Entries by type, that of type 0 for all others.
    RuleId records(unsigned source, bool is_blocked, std::uint16_t info,
                   std::vector<std::pair<std::uint16_t, cache::EntryPtr>> entries);
    RuleId alias(unsigned source, bool is_blocked, std::uint16_t info, const cache::Name& target);

    /// False: an earlier rule for this name and reach stays (of an earlier source, or of this one).
    bool add(std::span<const std::uint8_t> name, unsigned reach, RuleId rule);
    /// Something was left out for want of room: what is built is not to be used.
    bool is_full() const { return is_full_; }
    /// The source is a zone, and all its rules are there: those for the names below one end at the names that
    /// the zone has there, and above these (RFC 4592). Returns how many names that takes.
    std::size_t end_wildcards(unsigned source);
    void chaos(const cache::Name& name, cache::EntryPtr text);

    std::unique_ptr<const LocalNames> build(); ///< leaves the builder empty

  private:
    bool has_room(std::size_t octets, std::size_t names);
    Node* node_of(std::span<const std::uint8_t> name);
    Node& add_node(std::uint64_t hash, std::uint32_t at, std::size_t size);
    void end_wildcards_above(const Node& node, RuleId stop);
    bool take(std::uint32_t& taken, RuleId rule);
    std::uint32_t with_rule(std::uint32_t taken, RuleId rule);
    bool has(std::uint32_t taken, unsigned source) const;
    void grow();
    RuleId add_rule(Rule rule);

    Room room_;
    bool is_full_ = false;
    std::unique_ptr<LocalNames> made_;
    std::uint32_t wildcards_ = 0; ///< a bit for each source that has rules for the names below one
};

} // namespace millrace::dataplane
