// Grace periods: when may a retired Entry be freed?
//
// A worker reads Entries without a lock. It holds them in two ways, and a retired Entry must wait for both:
//   1. Found in the table: held until the worker's next quiescent(). rte_rcu_qsbr tells when every reader
//      that was online at retirement has been quiescent since (P. McKenney, RCU; DPDK's "RCU Library").
//   2. Named by a Wake still in the worker's ring, perhaps for many bursts: control counts the Wakes that it
//      sent to each worker, the worker counts those it has finished. A Wake carries only Entries not yet
//      retired, so all Wakes that name an Entry were sent before its retirement.
// No pins, no reference counts. Retiring never fails and never allocates: Entries link into one of two
// batches. `open` collects; `waiting` waits for one period begun after its last member was retired. A new
// period begins only when the last one passed, so two batches suffice however long a reader stalls. After a
// stall, or a flush, a batch may hold as much as the table did: it is freed a piece per tick.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include <rte_rcu_qsbr.h>

#include "cache/entry.hpp"
#include "cache/limits.hpp"

namespace millrace::cache {

/// Something other than an Entry that readers may still see: an old shard.
class Retired {
  public:
    virtual ~Retired() = default;
    virtual std::size_t bytes() const = 0;

  private:
    friend class Grace;
    Retired* limbo_next_ = nullptr; ///< control's alone, once retired
};

class Grace {
  public:
    /// A registered reader. The functions marked "reader" belong to its own thread.
    class alignas(64) Reader {
      public:
        void online();    ///< reader: may hold Entries from here on
        void offline();   ///< reader: holds nothing; control does not wait for it
        void quiescent(); ///< reader, online: holds nothing at this moment

        /// Reader: `count` more Wakes were answered and handed to the port. Called before quiescent().
        void finish(std::uint64_t count);
        /// Control: a Wake was put into the reader's ring.
        void sent() { ++sent_; }
        std::uint64_t outstanding() const; ///< control: Wakes sent and not finished

      private:
        friend class Grace;
        // The reader's line: it reads the first two in every turn.
        rte_rcu_qsbr* qsbr_ = nullptr;
        unsigned id_ = 0;
        std::atomic<std::uint64_t> finished_{0}; // written by the reader alone
        // Control's line, written for every Wake.
        alignas(64) std::uint64_t sent_ = 0;
    };

    /// A point that every reader must get past.
    struct Period {
        std::uint64_t token = 0;
        std::array<std::uint64_t, limits::workers> sent{};
    };

    Grace();
    ~Grace(); ///< frees what is retired; no reader may be online
    Grace(const Grace&) = delete;
    Grace& operator=(const Grace&) = delete;

    /// Control, before the reader's thread starts. Null when limits::workers are registered.
    Reader* add_reader();

    // Control's alone, all of them.
    Period begin();                    ///< what was unlinked before this call is covered by the period
    bool passed(const Period& period); ///< every reader has been quiescent and has finished the Wakes of then
    void retire(EntryPtr entry);       ///< unlinked from every place where a reader could find it
    void retire(std::unique_ptr<Retired> thing);
    /// Frees some of what may be freed; once per tick. Returns whether there is more.
    bool reclaim();
    unsigned reader_count() const { return reader_count_; }
    /// Wakes sent to the reader (numbered in the order of add_reader) until now,
    std::uint64_t sent_to(unsigned reader) const { return readers_[reader].sent_; }
    /// and whether it has finished that many.
    bool has_finished(unsigned reader, std::uint64_t sent) const;
    std::size_t limbo_bytes() const { return limbo_bytes_; }
    std::size_t limbo_entries() const { return limbo_entries_; }

  private:
    struct FreeQsbr {
        void operator()(rte_rcu_qsbr* qsbr) const;
    };
    /// What was retired and not yet freed, linked through its own members.
    struct Batch {
        const Entry* entries = nullptr;
        Retired* things = nullptr;
        explicit operator bool() const { return entries || things; }
    };
    void free_some(Batch& batch, std::size_t entries, std::size_t things);

    std::unique_ptr<rte_rcu_qsbr, FreeQsbr> qsbr_;
    std::array<Reader, limits::workers> readers_;
    unsigned reader_count_ = 0;
    Batch open_, waiting_, over_; ///< the last may be freed
    Period period_;
    std::size_t limbo_bytes_ = 0;
    std::size_t limbo_entries_ = 0;
    std::size_t retired_ = 0; ///< Entries, since the last reclaim()
};

} // namespace millrace::cache
