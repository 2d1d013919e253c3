#include "cache/grace.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <new>
#include <utility>

namespace millrace::cache {

void Grace::Reader::online() {
    static_assert(offsetof(Reader, id_) / 64 == offsetof(Reader, qsbr_) / 64 &&
                      offsetof(Reader, finished_) / 64 == offsetof(Reader, qsbr_) / 64 &&
                      offsetof(Reader, sent_) / 64 != offsetof(Reader, qsbr_) / 64,
                  "a Wake sent takes no line away from the reader, which every turn of its reads");
    rte_rcu_qsbr_thread_online(qsbr_, id_);
}
void Grace::Reader::offline() {
    rte_rcu_qsbr_thread_offline(qsbr_, id_);
}
void Grace::Reader::quiescent() {
    rte_rcu_qsbr_quiescent(qsbr_, id_);
}

void Grace::Reader::finish(std::uint64_t count) {
    // Release: without it control could see the Wake as finished, and free its Entry, while the worker's
    // reads of that Entry are still to come.
    finished_.store(finished_.load(std::memory_order_relaxed) + count, std::memory_order_release);
}

std::uint64_t Grace::Reader::outstanding() const {
    return sent_ - finished_.load(std::memory_order_acquire); // pairs with finish()
}

void Grace::FreeQsbr::operator()(rte_rcu_qsbr* qsbr) const {
    std::free(qsbr);
}

Grace::Grace() {
    std::size_t size = rte_rcu_qsbr_get_memsize(limits::workers);
    std::size_t rounded = (size + RTE_CACHE_LINE_SIZE - 1) / RTE_CACHE_LINE_SIZE * RTE_CACHE_LINE_SIZE;
    auto* memory = static_cast<rte_rcu_qsbr*>(std::aligned_alloc(RTE_CACHE_LINE_SIZE, rounded));
    if (!memory || rte_rcu_qsbr_init(memory, limits::workers) != 0) throw std::bad_alloc();
    qsbr_.reset(memory);
}

Grace::~Grace() {
    constexpr std::size_t all = std::numeric_limits<std::size_t>::max();
    for (Batch* batch : {&open_, &waiting_, &over_}) free_some(*batch, all, all);
}

Grace::Reader* Grace::add_reader() {
    if (reader_count_ == limits::workers) return nullptr;
    Reader& reader = readers_[reader_count_];
    reader.qsbr_ = qsbr_.get();
    reader.id_ = reader_count_++;
    rte_rcu_qsbr_thread_register(reader.qsbr_, reader.id_);
    return &reader;
}

Grace::Period Grace::begin() {
    Period period;
    period.token = rte_rcu_qsbr_start(qsbr_.get());
    for (unsigned i = 0; i < reader_count_; ++i) period.sent[i] = readers_[i].sent_;
    return period;
}

bool Grace::has_finished(unsigned reader, std::uint64_t sent) const {
    // Acquire pairs with finish(): what the worker read for that Wake happened before what follows here.
    return readers_[reader].finished_.load(std::memory_order_acquire) >= sent;
}

bool Grace::passed(const Period& period) {
    for (unsigned i = 0; i < reader_count_; ++i) {
        if (!has_finished(i, period.sent[i])) return false;
    }
    return rte_rcu_qsbr_check(qsbr_.get(), period.token, false) == 1;
}

void Grace::retire(EntryPtr entry) {
    limbo_bytes_ += entry->bytes();
    ++limbo_entries_;
    ++retired_;
    entry->limbo_next_ = open_.entries;
    open_.entries = entry.release();
}

void Grace::retire(std::unique_ptr<Retired> thing) {
    limbo_bytes_ += thing->bytes();
    thing->limbo_next_ = open_.things;
    open_.things = thing.release();
}

bool Grace::reclaim() {
    if (!over_ && waiting_ && passed(period_)) over_ = std::exchange(waiting_, {});
    free_some(over_, std::max(limits::frees_per_tick, retired_), limits::retired_per_tick);
    retired_ = 0;
    if (!waiting_ && open_) {
        waiting_ = std::exchange(open_, {});
        period_ = begin();
    }
    return bool(over_);
}

void Grace::free_some(Batch& batch, std::size_t entries, std::size_t things) {
    for (; entries > 0 && batch.entries; --entries) {
        EntryPtr entry(batch.entries);
        batch.entries = entry->limbo_next_;
        limbo_bytes_ -= entry->bytes();
        --limbo_entries_;
    }
    for (; things > 0 && batch.things; --things) {
        std::unique_ptr<Retired> thing(batch.things);
        batch.things = thing->limbo_next_;
        limbo_bytes_ -= thing->bytes();
    }
}

} // namespace millrace::cache
