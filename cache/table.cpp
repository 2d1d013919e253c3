#include "cache/table.hpp"

#include <algorithm>
#include <cassert>
#include <new>

#include "cache/shard.hpp"

namespace millrace::cache {

namespace {

/// With as many dead ones as there may be.
std::size_t slots_for(std::size_t entries) {
    return entries + entries / (limits::dead_share - 1);
}

/// Shards for a table: as many as its entries need, or fewer if its memory cannot hold those.
std::size_t planned_shards(const TableLimits& limits) {
    constexpr std::size_t least_octets = Shard::slot_octets + Key::header_octets + 1 + sizeof(Entry);
    std::size_t slots = slots_for(std::min(limits.entries, limits.bytes / least_octets));
    return std::max<std::size_t>(1, (slots + limits::shard_fill - 1) / limits::shard_fill);
}

} // namespace

Key KeyRef::key() const {
    Key key;
    std::memcpy(static_cast<void*>(&key), bytes, size());
    return key;
}

Table::Table(const TableLimits& limits, Grace& grace, const Hasher& hasher)
    : limits_(limits), most_slots_(slots_for(limits.entries)),
      most_bytes_(limits.bytes - std::min(limits.bytes / 2, Shard::fixed_octets)), grace_(grace),
      hasher_(hasher), shards_(planned_shards(limits)), words_(new ShardWord[shards_]),
      owner_(std::this_thread::get_id()) {}

Table::~Table() {
    for (std::size_t i = 0; i < shards_; ++i) {
        std::unique_ptr<Shard> shard(words_[i].shard.load(std::memory_order_relaxed));
        if (!shard) continue;
        for (Node* node : shard->order) EntryPtr(node->second.entry.load(std::memory_order_relaxed)).reset();
    }
}

std::size_t Table::shard_octets() {
    return Shard::fixed_octets;
}

void Table::assert_owner() const {
    assert(owner_ == std::this_thread::get_id() && "one writer per key: only the owner changes the table");
}

const Node* Table::find_in_map(const Key& key, Hash hash) const {
    // Acquire: without it the shard's insides could be unseen.
    Shard* shard = words_[index(hash)].shard.load(std::memory_order_acquire);
    return shard ? shard->find_in_map(key, hash) : nullptr;
}

void Table::for_each(std::size_t index, Time now,
                     const std::function<void(const KeyRef&, const Entry&)>& take) const {
    // Acquire, both: without it a shard's insides, or an Entry's, could be unseen.
    const Shard* s = words_[index].shard.load(std::memory_order_acquire);
    if (!s) return;
    for (const auto& [key, slot] : s->map) {
        const Entry* entry = slot.entry.load(std::memory_order_acquire);
        if (entry && entry->version.generation > floor(key.group()) && now < entry->stale_until)
            take(key, *entry);
    }
}

bool Table::start(const Key& key, Hash hash, Generation generation) {
    assert_owner();
    Node* node = find_or_insert(key, hash);
    if (!node) return false;
    assert(generation > node->second.started && "generations come from one monotonic counter");
    node->second.started = generation;
    shard(index(hash))->update(*node, [&] { node->second.is_live = true; });
    return true;
}

void Table::finish(const Key& key, Hash hash, Generation generation) {
    assert_owner();
    Shard* s = shard(index(hash));
    Node* node = s ? find(*s, key, hash) : nullptr;
    if (!node || node->second.started != generation) return; // the next one has started
    s->update(*node, [&] { node->second.is_live = false; });
    queue_for_upkeep(index(hash), *s);
}

/// The owner, who may change what a reader may not.
Node* Table::find(const Shard& s, const Key& key, Hash hash) const {
    return const_cast<Node*>(locate(key, hash, s.index.find(hash)));
}

/// Null: full, or out of memory.
Node* Table::find_or_insert(const Key& key, Hash hash) try {
    if (!shard(index(hash))) {
        if (bytes() + Shard::fixed_octets > most_bytes_) return nullptr;
        install(index(hash), std::make_unique<Shard>());
    }
    Shard& s = *shard(index(hash));
    if (Node* node = find(s, key, hash)) return node;
    std::size_t cost = Shard::octets_of(key.bytes().size());
    bool full = s.slots() == limits::shard_slots || slots_ == most_slots_ || bytes() + cost > most_bytes_;
    queue_for_upkeep(index(hash), s);
    if (full) return nullptr;
    Node* node = s.insert(hash, key.bytes());
    ++slots_;
    ++inserted_;
    bytes_ += cost;
    return node;
} catch (const std::bad_alloc&) {
    return nullptr;
}

/// Makes a shard the one that readers find.
void Table::install(std::size_t index, std::unique_ptr<Shard> fresh) {
    ShardWord& w = words_[index];
    bytes_ += Shard::fixed_octets;
    built_ += w.shard.load(std::memory_order_relaxed) == nullptr;
    // Release, both: a worker that sees a pointer must see this shard, whole.
    w.index.store(&fresh->index, std::memory_order_release);
    w.shard.store(fresh.release(), std::memory_order_release);
}

Publication Table::publish(const Key& key, Hash hash, EntryPtr& entry) {
    assert_owner();
    Node* node = find_or_insert(key, hash);
    Publication verdict = judge(node, key.group, *entry);
    if (verdict == Publication::accepted) swap_in(*shard(index(hash)), *node, std::move(entry));
    return verdict;
}

Publication Table::fill(const Key& key, Hash hash, EntryPtr& entry) {
    assert_owner();
    Shard* s = shard(index(hash));
    const Node* node = s ? find(*s, key, hash) : nullptr;
    bool is_taken = node && (node->second.is_live || node->second.entry.load(std::memory_order_relaxed));
    return is_taken ? Publication::superseded : publish(key, hash, entry);
}

Publication Table::judge(const Node* node, unsigned group, const Entry& entry) const {
    if (entry.version.generation <= floor(group)) return Publication::superseded;
    if (!node) return Publication::full;
    const Slot& slot = node->second;
    if (entry.version.generation < slot.started) return Publication::superseded;
    const Entry* before = slot.entry.load(std::memory_order_relaxed);
    if (before && entry.version <= before->version) return Publication::superseded;
    if (!before && entries_ == limits_.entries) return Publication::full;
    // While both are alive the old and the new Entry count.
    return bytes() + entry.bytes() > most_bytes_ ? Publication::full : Publication::accepted;
}

void Table::swap_in(Shard& shard, Node& node, EntryPtr entry) {
    Slot& slot = node.second;
    slot.started = std::max(slot.started, entry ? entry->version.generation : 0);
    entries_ += entry ? 1 : 0;
    shard.entries += entry ? 1 : 0;
    bytes_ += entry ? entry->bytes() : 0;
    const Entry* next = entry.release();
    // Relaxed load: the owner alone stores. Release store: without it a worker could see the pointer before
    // the Entry that it points to.
    EntryPtr before(slot.entry.load(std::memory_order_relaxed));
    shard.update(node, [&] { slot.entry.store(next, std::memory_order_release); });
    if (!before) return;
    --entries_;
    --shard.entries;
    bytes_ -= before->bytes();
    grace_.retire(std::move(before));
}

void Table::withdraw(const Key& key, Hash hash) {
    assert_owner();
    Shard* s = shard(index(hash));
    Node* node = s ? find(*s, key, hash) : nullptr;
    if (!node || !node->second.entry.load(std::memory_order_relaxed)) return;
    swap_in(*s, *node, nullptr);
    queue_for_upkeep(index(hash), *s);
}

std::size_t Table::flush(Place& at, std::size_t& steps, Generation last,
                         const std::function<bool(const KeyRef&, const Entry&)>& matches) {
    assert_owner();
    steps -= std::min<std::size_t>(steps, 1); // for the shard itself
    Shard* s = shard(at.shard);
    std::size_t emptied = 0;
    // What was made since has a newer generation, and a rebuild has moved the others towards the beginning.
    at.left = s ? std::min(at.left, s->slots()) : 0;
    for (; at.left > 0 && steps > 0; --at.left, --steps) {
        Node* node = s->order[at.left - 1];
        const Entry* entry = node->second.entry.load(std::memory_order_relaxed);
        if (!entry || entry->version.generation > last || !matches(node->first, *entry)) continue;
        swap_in(*s, *node, nullptr);
        ++emptied;
    }
    if (at.left > 0) return emptied;
    if (s) queue_for_upkeep(at.shard, *s);
    at = {.shard = at.shard + 1};
    return emptied;
}

void Table::raise_floor(unsigned group, Generation generation) {
    assert_owner();
    if (generation <= floor(group)) return;
    // Release: pairs with floor(); the floor must not become visible before what the owner did until now.
    floors_[group].store(generation, std::memory_order_release);
}

} // namespace millrace::cache
