// One object that readers look at without a lock and control replaces whole.
//
// Readers are registered with Grace and online; what they got is valid until they are quiescent. Control may
// read at any time. The object never changes once it is here, but for atomics of its own.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "cache/grace.hpp"

namespace millrace::cache {

/// T derives from Retired.
template <class T>
class Replaceable {
  public:
    explicit Replaceable(std::unique_ptr<const T> first) : now_(first.release()) {}
    ~Replaceable() { delete now_.load(std::memory_order_relaxed); }
    Replaceable(const Replaceable&) = delete;
    Replaceable& operator=(const Replaceable&) = delete;

    const T& get() const {
        // Acquire: without it the object's insides could be read from before they were written.
        return *now_.load(std::memory_order_acquire);
    }

    /// Control. Bursts that begin after the next grace period see the new object.
    void replace(std::unique_ptr<const T> next, Grace& grace) {
        grace.retire(std::unique_ptr<Retired>(const_cast<T*>(exchange(std::move(next)).release())));
    }
    /// The same of an object that takes long to free: until a grace period has passed the caller keeps what
    /// it gets back.
    [[nodiscard]] std::unique_ptr<const T> exchange(std::unique_ptr<const T> next) {
        return std::unique_ptr<const T>(now_.exchange(next.release(), std::memory_order_acq_rel));
    }

  private:
    std::atomic<const T*> now_;
};

} // namespace millrace::cache
