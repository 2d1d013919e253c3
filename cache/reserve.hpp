// Entries that are in no Slot: answers that must not be stored (TTL 0), or that the full table has no place
// for. They have a memory bound of their own, beside the table's.
//
// Nobody can find such an Entry; only Wakes name it. So it waits for no grace period: it is freed when those
// readers that it was sent to have finished those Wakes, whatever the others do. A reader that stalls keeps
// what it was sent, and nothing else.
//
// Control thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <utility>
#include <vector>

#include "cache/entry.hpp"
#include "cache/grace.hpp"

namespace millrace::cache {

class Reserve {
    struct Private {
        EntryPtr entry;
        std::vector<std::pair<unsigned, std::uint64_t>> marks; ///< reader, and its count of Wakes sent
    };
    using Position = std::list<Private>::iterator;

  public:
    /// `bytes`: of all Entries that are held or not yet freed.
    Reserve(const Grace& grace, std::size_t bytes) : grace_(grace), limit_(bytes) {}

    /// The right to send the Entry in Wakes; given back at its end. Does not outlive the Reserve.
    class Hold {
      public:
        Hold() = default;
        Hold(Hold&& other) noexcept
            : reserve_(std::exchange(other.reserve_, nullptr)), position_(other.position_) {}
        Hold& operator=(Hold&& other) noexcept {
            std::swap(reserve_, other.reserve_);
            std::swap(position_, other.position_);
            return *this;
        }
        ~Hold() {
            if (reserve_) reserve_->release(position_);
        }
        explicit operator bool() const { return reserve_; }
        const Entry* entry() const { return reserve_ ? position_->entry.get() : nullptr; }
        /// A Wake that names the Entry was just sent to this reader.
        void sent_to(unsigned reader);

      private:
        friend class Reserve;
        Hold(Reserve& reserve, Position position) : reserve_(&reserve), position_(position) {}
        Reserve* reserve_ = nullptr;
        Position position_{};
    };

    /// Takes the Entry, when there is room; else the Hold is empty and the Entry the caller's.
    Hold hold(EntryPtr& entry);
    void reclaim(); ///< frees what may be freed, a bounded number; once per tick

    std::size_t bytes() const { return bytes_; }
    std::size_t entries() const { return held_.size() + leaving_.size(); }

  private:
    void release(Position position) { leaving_.splice(leaving_.end(), held_, position); }
    bool is_finished(const Private& one) const;

    const Grace& grace_;
    std::size_t limit_;
    std::size_t bytes_ = 0;
    std::list<Private> held_, leaving_;
};

} // namespace millrace::cache
