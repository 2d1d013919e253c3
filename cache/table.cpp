#include "cache/table.hpp"

#include <cassert>
#include <limits>

namespace millrace::cache {

namespace {

/// Key bytes of one shard: freed with the shard, never before.
class Arena {
  public:
    const std::uint8_t* copy(std::span<const std::uint8_t> bytes) {
        if (room_ < bytes.size()) {
            chunks_.push_back(std::make_unique_for_overwrite<std::uint8_t[]>(chunk_octets));
            next_ = chunks_.back().get();
            room_ = chunk_octets;
        }
        std::memcpy(next_, bytes.data(), bytes.size());
        next_ += bytes.size();
        room_ -= bytes.size();
        return next_ - bytes.size();
    }

  private:
    static constexpr std::size_t chunk_octets = 4096;
    static_assert(chunk_octets >= sizeof(Key));
    std::vector<std::unique_ptr<std::uint8_t[]>> chunks_;
    std::uint8_t* next_ = nullptr;
    std::size_t room_ = 0;
};

/// Of one slot, its key aside: the map's node (link, order key, Node) with the allocator's header, its
/// bucket's dummy node, its place in the bucket array. Measured by bench/memory as growth of the resident
/// size.
constexpr std::size_t slot_octets = sizeof(Node) + 2 * 8 + 16 + 4 * 8 + 8;

} // namespace

struct Table::Shard {
    explicit Shard(std::size_t buckets) : map(buckets) {
        map.max_load_factor(std::numeric_limits<float>::max());        // never doubles
        for (std::size_t i = 0; i < buckets; ++i) map.unsafe_begin(i); // creates bucket i
    }
    Map map;
    Arena keys;
    std::size_t slots = 0;
};

Key KeyRef::key() const {
    Key key;
    std::memcpy(static_cast<void*>(&key), bytes, size());
    return key;
}

Table::Table(const TableLimits& limits, Grace& grace)
    : limits_(limits), grace_(grace), shards_((limits.entries + limits::shard_fill - 1) / limits::shard_fill),
      words_(new ShardWord[shards_]), owner_(std::this_thread::get_id()) {}

Table::~Table() {
    for (std::size_t i = 0; i < shards_; ++i) {
        std::unique_ptr<Shard> shard(words_[i].shard.load(std::memory_order_relaxed));
        if (!shard) continue;
        for (auto& [key, slot] : shard->map) EntryPtr(slot.entry.load(std::memory_order_relaxed)).reset();
    }
}

void Table::assert_owner() const {
    assert(owner_ == std::this_thread::get_id() && "one writer per key: only the owner changes the table");
}

Place Table::locate(const Key& key, Hash hash) const {
    ShardWord& w = word(hash);
    // Epoch first, pointer second: the reverse could pair an old shard with the epoch of its successor, and a
    // hot index would then use a freed node. Acquire on the pointer: without it the shard's insides could be
    // unseen.
    std::uint64_t epoch = w.epoch.load(std::memory_order_acquire);
    Shard* shard = w.shard.load(std::memory_order_acquire);
    if (!shard) return {};
    auto found = shard->map.find(KeyRef{hash, key.bytes().data()});
    return {found == shard->map.end() ? nullptr : &*found, epoch};
}

bool Table::start(const Key& key, Hash hash, Generation generation) {
    assert_owner();
    Node* node = find_or_insert(key, hash);
    if (!node) return false;
    assert(generation > node->second.started && "generations come from one monotonic counter");
    node->second.started = generation;
    return true;
}

Node* Table::find_or_insert(const Key& key, Hash hash) {
    ShardWord& w = word(hash);
    Shard* shard = w.shard.load(std::memory_order_relaxed);
    if (!shard) shard = build_shard(w);
    auto found = shard->map.find(KeyRef{hash, key.bytes().data()});
    if (found != shard->map.end()) return &*found;
    std::size_t cost = slot_octets + key.bytes().size();
    if (shard->slots == limits::shard_slots || slots_ == limits_.entries || bytes() + cost > limits_.bytes) {
        return nullptr;
    }
    auto [at, fresh] = shard->map.emplace(std::piecewise_construct,
                                          std::forward_as_tuple(KeyRef{hash, shard->keys.copy(key.bytes())}),
                                          std::forward_as_tuple());
    ++shard->slots;
    ++slots_;
    bytes_ += cost;
    return &*at;
}

Table::Shard* Table::build_shard(ShardWord& w) {
    auto* shard = new Shard(limits::shard_slots);
    // Release, both, in this order: a worker that sees the epoch must see this shard, whole.
    w.shard.store(shard, std::memory_order_release);
    w.epoch.store(++last_epoch_, std::memory_order_release);
    return shard;
}

Publication Table::judge(const Node* node, unsigned group, const Entry& entry) const {
    if (entry.version.generation <= floor(group)) return Publication::superseded;
    if (!node) return Publication::full;
    const Slot& slot = node->second;
    if (entry.version.generation < slot.started) return Publication::superseded;
    const Entry* before = slot.entry.load(std::memory_order_relaxed);
    if (before && entry.version <= before->version) return Publication::superseded;
    // While both are alive the old and the new Entry count.
    return bytes() + entry.bytes() > limits_.bytes ? Publication::full : Publication::accepted;
}

void Table::swap_in(Node& node, EntryPtr entry) {
    Slot& slot = node.second;
    slot.started = std::max(slot.started, entry ? entry->version.generation : 0);
    entries_ += entry ? 1 : 0;
    bytes_ += entry ? entry->bytes() : 0;
    const Entry* next = entry.release();
    // Relaxed load: the owner alone stores. Release store: without it a worker could see the pointer before
    // the Entry that it points to.
    EntryPtr before(slot.entry.load(std::memory_order_relaxed));
    slot.entry.store(next, std::memory_order_release);
    if (!before) return;
    --entries_;
    bytes_ -= before->bytes();
    grace_.retire(std::move(before));
}

std::size_t Table::flush(std::size_t index, Generation last,
                         const std::function<bool(const KeyRef&)>& matches) {
    assert_owner();
    Shard* shard = words_[index].shard.load(std::memory_order_relaxed);
    if (!shard) return 0;
    std::size_t emptied = 0;
    for (Node& node : shard->map) {
        const Entry* entry = node.second.entry.load(std::memory_order_relaxed);
        if (!entry || entry->version.generation > last || !matches(node.first)) continue;
        swap_in(node, nullptr);
        ++emptied;
    }
    return emptied;
}

void Table::raise_floor(unsigned group, Generation generation) {
    assert_owner();
    if (generation <= floor(group)) return;
    // Release: pairs with floor(); the floor must not become visible before what the owner did until now.
    floors_[group].store(generation, std::memory_order_release);
}

} // namespace millrace::cache
