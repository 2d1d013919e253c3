#include "dataplane/local_names.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <utility>

#include "cache/dns.hpp"
#include "dataplane/labels.hpp"

namespace millrace::dataplane {

namespace {

constexpr std::size_t names_per_word = 4; // of the filter: 16 bits each, and what lies above them besides

/// Three bits of a word.
std::uint64_t filter_bits(std::uint64_t hash) {
    return std::uint64_t(1) << (hash & 63) | std::uint64_t(1) << (hash >> 6 & 63) |
           std::uint64_t(1) << (hash >> 12 & 63);
}
std::size_t filter_word(std::uint64_t hash) {
    return hash >> 18;
}

} // namespace

bool LocalNames::may_hold(std::uint64_t hash) const {
    std::uint64_t bits = filter_bits(hash);
    return (filter_[filter_word(hash) & (filter_.size() - 1)] & bits) == bits;
}

const LocalNames::Node* LocalNames::find_node(std::uint64_t hash, std::span<const std::uint8_t> name) const {
    std::size_t mask = buckets_.size() - 1;
    for (std::size_t at = hash & mask; buckets_[at].node != none; at = (at + 1) & mask) {
        if (buckets_[at].tag != hash >> 32) continue;
        const Node& node = nodes_[buckets_[at].node];
        if (std::ranges::equal(name_of(node), name)) return &node;
    }
    return nullptr;
}

/// Calls `each` with what stands for the name, from the root on: as in Node, and the octets in front of it.
template <class Visit>
void LocalNames::visit(std::span<const std::uint8_t> name, Visit each) const {
    Labels labels(name);
    std::uint64_t hash = 0;
    // From the root, which has no label, to the whole name; what the filter does not know has
    // nothing below it.
    for (unsigned i = labels.count; may_hold(hash);) {
        std::size_t above = i < labels.count ? labels.starts[i] : name.size() - 1;
        const Node* node = i < labels.count || has_root_ ? find_node(hash, name.subspan(above)) : nullptr;
        std::uint32_t at = !node ? none : i == 0 ? node->exact : node->below;
        if (at != none) each(at, std::uint8_t(above));
        if (i == 0) break;
        --i;
        hash = extended(hash, name.data() + labels.starts[i]);
    }
}

std::optional<LocalNames::Match> LocalNames::find(std::span<const std::uint8_t> name) const {
    if (nodes_.empty()) return std::nullopt;
    if (stops_) return find_past_stops(name);
    std::optional<Match> best;
    visit(name, [&](std::uint32_t rule, std::uint8_t above) {
        // A longer name of the same source counts more.
        if (!best || rules_[rule].source <= rules_[best->rule].source) best = {rule, above};
    });
    return best;
}

/// What each source says, as one that is stopped leaves the word to the next.
std::optional<LocalNames::Match> LocalNames::find_past_stops(std::span<const std::uint8_t> name) const {
    std::array<Match, most_sources> best;
    std::uint32_t said = 0; // a bit for each source
    visit(name, [&](std::uint32_t at, std::uint8_t above) {
        while (at != none) {
            auto [rule, next] = link(at);
            unsigned source = rules_[rule].source;
            best[source] = {rule, above};
            said = rules_[rule].stops ? said & ~(1u << source) : said | 1u << source;
            at = next;
        }
    });
    return said ? std::optional(best[std::size_t(std::countr_zero(said))]) : std::nullopt;
}

std::optional<LocalNames::Match> LocalNames::find_for_chain(std::span<const std::uint8_t> name) const {
    if (!blocks_) return std::nullopt;
    auto match = find(name);
    return match && (is_blocked(*match) || action(*match) == Action::forward) ? match : std::nullopt;
}

const cache::Entry* LocalNames::answer(const Match& match, std::uint16_t qtype) const {
    const Rule& rule = rules_[match.rule];
    const cache::Entry* other = nullptr;
    if (rule.action == Action::alias || rule.action == Action::forward) return nullptr;
    for (std::uint32_t i = rule.first; i < rule.first + rule.count; ++i) {
        if (entries_[i].qtype == qtype) return entries_[i].entry.get();
        if (entries_[i].qtype == 0) other = entries_[i].entry.get();
    }
    return other;
}

const cache::Entry* LocalNames::chaos(std::span<const std::uint8_t> name, std::uint16_t qtype) const {
    if (qtype != dns::type_txt) return nullptr;
    for (const Chaos& text : chaos_) {
        if (std::ranges::equal(text.name.bytes(), name)) return text.entry.get();
    }
    return nullptr;
}

std::size_t LocalNames::bytes() const {
    std::size_t sum = sizeof *this + names_.capacity() + nodes_.capacity() * sizeof(Node) +
                      buckets_.capacity() * sizeof(Bucket) + filter_.capacity() * sizeof(std::uint64_t) +
                      rules_.capacity() * sizeof(Rule) + links_.capacity() * sizeof(Link) +
                      entries_.capacity() * sizeof(TypedEntry) + targets_.capacity() * sizeof(cache::Name) +
                      chaos_.capacity() * sizeof(Chaos);
    for (const TypedEntry& e : entries_) sum += e.entry->bytes();
    return sum;
}

// The builder.

LocalNames::Builder::Builder(Room room) : room_(room), made_(new LocalNames) {
    made_->buckets_.resize(64);
}

LocalNames::Builder::RuleId LocalNames::Builder::add_rule(Rule rule) {
    assert(rule.source < most_sources && made_->rules_.size() < link_bit);
    made_->blocks_ = made_->blocks_ || rule.is_blocked;
    made_->rules_.push_back(rule);
    return std::uint32_t(made_->rules_.size() - 1);
}

LocalNames::Builder::RuleId LocalNames::Builder::forward(unsigned source, bool is_blocked) {
    return add_rule({Action::forward, is_blocked, false, std::uint16_t(source), cache::Entry::no_info, 0, 0});
}

LocalNames::Builder::RuleId LocalNames::Builder::deny(unsigned source, bool is_blocked, Action action,
                                                      std::uint16_t info, cache::EntryPtr entry) {
    auto first = std::uint32_t(made_->entries_.size());
    made_->entries_.push_back({0, std::move(entry)});
    return add_rule({action, is_blocked, false, std::uint16_t(source), info, first, 1});
}

LocalNames::Builder::RuleId
LocalNames::Builder::records(unsigned source, bool is_blocked, std::uint16_t info,
                             std::vector<std::pair<std::uint16_t, cache::EntryPtr>> entries) {
    auto first = std::uint32_t(made_->entries_.size()), count = std::uint32_t(entries.size());
    for (auto& [qtype, entry] : entries) made_->entries_.push_back({qtype, std::move(entry)});
    return add_rule({Action::records, is_blocked, false, std::uint16_t(source), info, first, count});
}

LocalNames::Builder::RuleId LocalNames::Builder::alias(unsigned source, bool is_blocked, std::uint16_t info,
                                                       const cache::Name& target) {
    auto first = std::uint32_t(made_->targets_.size());
    made_->targets_.push_back(target);
    return add_rule({Action::alias, is_blocked, false, std::uint16_t(source), info, first, 0});
}

bool LocalNames::Builder::add(std::span<const std::uint8_t> name, unsigned reach, RuleId rule) {
    Node* node = node_of(name);
    if (!node) return false;
    if (reach & below) wildcards_ |= 1u << made_->rules_[rule].source;
    bool took = (reach & exact) && take(node->exact, rule);
    return ((reach & below) && take(node->below, rule)) || took;
}

/// For so much more, and for the links of one name.
bool LocalNames::Builder::has_room(std::size_t octets, std::size_t names) {
    is_full_ = is_full_ || octets > room_.octets - made_->names_.size() ||
               names > room_.names - made_->nodes_.size() || made_->links_.size() >= link_bit - 2;
    return !is_full_;
}

/// Whether it is the one that counts now.
bool LocalNames::Builder::take(std::uint32_t& taken, RuleId rule) {
    const auto& rules = made_->rules_;
    bool first = taken == none || rules[rule].source < rules[made_->link(taken).rule].source;
    taken = with_rule(taken, rule);
    return first;
}

/// With the rule in its place among those of other sources; of its own source an earlier one stays.
std::uint32_t LocalNames::Builder::with_rule(std::uint32_t taken, RuleId rule) {
    if (taken == none) return rule;
    auto& links = made_->links_;
    auto [other, next] = made_->link(taken);
    unsigned source = made_->rules_[rule].source, others = made_->rules_[other].source;
    if (source == others) return taken;
    if (source < others) {
        links.push_back({rule, taken});
        return link_bit | std::uint32_t(links.size() - 1);
    }
    next = with_rule(next, rule);
    if (taken & link_bit) {
        links[taken & ~link_bit].next = next;
        return taken;
    }
    links.push_back({other, next});
    return link_bit | std::uint32_t(links.size() - 1);
}

bool LocalNames::Builder::has(std::uint32_t taken, unsigned source) const {
    for (; taken != none; taken = made_->link(taken).next) {
        if (made_->rules_[made_->link(taken).rule].source == source) return true;
    }
    return false;
}

std::size_t LocalNames::Builder::end_wildcards(unsigned source) {
    if (!(wildcards_ >> source & 1)) return 0;
    std::size_t before = made_->nodes_.size();
    RuleId stop =
        add_rule({Action::forward, false, true, std::uint16_t(source), cache::Entry::no_info, 0, 0});
    for (std::size_t i = 0; i < before; ++i) {
        Node node = made_->nodes_[i];
        if (has(node.exact, source) || has(node.below, source)) end_wildcards_above(node, stop);
    }
    return made_->nodes_.size() - before;
}

/// The zone has this name, and thereby those between it and a wildcard above.
void LocalNames::Builder::end_wildcards_above(const Node& node, RuleId stop) {
    unsigned source = made_->rules_[stop].source;
    auto name = made_->name_of(node);
    Labels labels(name);
    std::uint64_t hash = 0;
    bool under = false; // a wildcard
    for (unsigned i = labels.count;; hash = extended(hash, name.data() + labels.starts[i])) {
        std::size_t above = i < labels.count ? labels.starts[i] : name.size() - 1;
        auto* here = const_cast<Node*>(made_->find_node(hash, name.subspan(above)));
        if (!has_room(0, under && !here)) return;
        if (under && !here) {
            here = &add_node(hash, node.name + std::uint32_t(above), name.size() - above);
        }
        for (std::uint32_t Node::*reach : {&Node::exact, &Node::below}) {
            if (!under || has(here->*reach, source)) continue;
            take(here->*reach, stop);
            made_->stops_ = true;
        }
        under = under || (here && has(here->below, source));
        if (i-- == 0) break;
    }
}

/// None: there is no room.
LocalNames::Node* LocalNames::Builder::node_of(std::span<const std::uint8_t> name) {
    std::uint64_t hash = hash_of(name);
    const Node* node = made_->find_node(hash, name);
    if (!has_room(node ? 0 : name.size(), !node)) return nullptr;
    if (node) return const_cast<Node*>(node);
    auto at = std::uint32_t(made_->names_.size());
    made_->names_.insert(made_->names_.end(), name.begin(), name.end());
    return &add_node(hash, at, name.size());
}

/// Of a name that lies in names_ already.
LocalNames::Node& LocalNames::Builder::add_node(std::uint64_t hash, std::uint32_t at, std::size_t size) {
    if ((made_->nodes_.size() + 1) * 3 > made_->buckets_.size() * 2) grow();
    std::size_t mask = made_->buckets_.size() - 1, bucket = hash & mask;
    while (made_->buckets_[bucket].node != none) bucket = (bucket + 1) & mask;
    made_->buckets_[bucket] = {std::uint32_t(hash >> 32), std::uint32_t(made_->nodes_.size())};
    made_->nodes_.push_back({at, std::uint8_t(size)});
    made_->has_root_ = made_->has_root_ || size == 1;
    return made_->nodes_.back();
}

void LocalNames::Builder::grow() {
    std::vector<Bucket> buckets(made_->buckets_.size() * 2);
    for (std::uint32_t i = 0; i < made_->nodes_.size(); ++i) {
        std::uint64_t hash = hash_of(made_->name_of(made_->nodes_[i]));
        std::size_t at = hash & (buckets.size() - 1);
        while (buckets[at].node != none) at = (at + 1) & (buckets.size() - 1);
        buckets[at] = {std::uint32_t(hash >> 32), i};
    }
    made_->buckets_ = std::move(buckets);
}

void LocalNames::Builder::chaos(const cache::Name& name, cache::EntryPtr text) {
    made_->chaos_.push_back({name, std::move(text)});
}

std::unique_ptr<const LocalNames> LocalNames::Builder::build() {
    auto made = std::exchange(made_, std::unique_ptr<LocalNames>(new LocalNames));
    made_->buckets_.resize(64);
    wildcards_ = 0;
    is_full_ = false;
    if (!made->stops_) { // then the earliest source's is all that counts
        for (Node& node : made->nodes_) {
            node.exact = made->link(node.exact).rule;
            node.below = made->link(node.below).rule;
        }
        made->links_ = {};
    }
    made->filter_.assign(std::bit_ceil(made->nodes_.size() / names_per_word + 1), 0);
    auto mark = [&](std::uint64_t hash) {
        made->filter_[filter_word(hash) & (made->filter_.size() - 1)] |= filter_bits(hash);
    };
    mark(0); // the root
    for (const Node& node : made->nodes_) {
        auto name = made->name_of(node);
        Labels labels(name);
        std::uint64_t hash = 0;
        for (unsigned i = labels.count; i-- > 0; mark(hash)) hash = extended(hash, &name[labels.starts[i]]);
    }
    made->names_.shrink_to_fit();
    made->nodes_.shrink_to_fit();
    made->links_.shrink_to_fit();
    return made;
}

} // namespace millrace::dataplane
