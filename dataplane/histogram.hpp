// How long things took, counted by powers of two: cheap to add to, and what Prometheus makes quantiles of.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

#include "cache/time.hpp"

namespace millrace::dataplane {

/// Counts of one thread, or a copy. Bucket i holds what took bound(i) nanoseconds at most and more than the
/// bucket before; the last one what took longer than all bounds.
struct Histogram {
    static constexpr unsigned first = 7;   ///< bound(0) is 128 ns
    static constexpr unsigned bounds = 28; ///< the highest is 17 s

    static constexpr std::uint64_t bound(unsigned bucket) { return std::uint64_t(1) << (first + bucket); }
    static constexpr unsigned bucket_of(std::uint64_t ns) {
        return std::min<unsigned>(unsigned(std::bit_width((ns - (ns > 0)) >> first)), bounds);
    }

    void add(Time length) { // a clock that was set back is no length
        auto ns = std::uint64_t(std::max<Time>(length, Time{}).count()) * 1000;
        ++counts[bucket_of(ns)];
        sum_ns += ns;
    }

    Histogram& operator+=(const Histogram& other) {
        for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += other.counts[i];
        sum_ns += other.sum_ns;
        return *this;
    }
    /// What was counted since `earlier`, of the same thread or threads.
    Histogram since(const Histogram& earlier) const {
        Histogram out;
        for (std::size_t i = 0; i < counts.size(); ++i) out.counts[i] = counts[i] - earlier.counts[i];
        out.sum_ns = sum_ns - earlier.sum_ns;
        return out;
    }

    std::array<std::uint64_t, bounds + 1> counts{};
    std::uint64_t sum_ns = 0;
};

/// One thread adds, with relaxed loads and stores; any thread may read.
class SharedHistogram {
  public:
    void add(std::uint64_t ns, std::uint64_t n = 1) {
        bump(counts_[Histogram::bucket_of(ns)], n);
        bump(sum_ns_, ns * n);
    }
    Histogram read() const {
        Histogram out;
        for (std::size_t i = 0; i < counts_.size(); ++i)
            out.counts[i] = counts_[i].load(std::memory_order_relaxed);
        out.sum_ns = sum_ns_.load(std::memory_order_relaxed);
        return out;
    }

  private:
    static void bump(std::atomic<std::uint64_t>& c, std::uint64_t n) {
        c.store(c.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }

    std::array<std::atomic<std::uint64_t>, Histogram::bounds + 1> counts_{};
    std::atomic<std::uint64_t> sum_ns_{0};
};

} // namespace millrace::dataplane
