// Times counted in classes of a 32nd of their power of two: a percentile is right within 3 %. One thread's.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace millrace::bench {

class Histogram {
  public:
    void add(std::uint64_t value) { ++counts_[index(value)], ++total_; }

    std::uint64_t total() const { return total_; }

    /// The middle of the class that holds the `share`-th value; 0 without any.
    double percentile(double share) const {
        auto wanted = std::uint64_t(share * double(total_)), seen = std::uint64_t(0);
        for (unsigned i = 0; i < counts_.size(); ++i) {
            seen += counts_[i];
            if (seen > wanted) return middle(i);
        }
        return 0;
    }

  private:
    static constexpr unsigned bits = 5; ///< of resolution

    static unsigned index(std::uint64_t value) {
        if (value < 1U << bits) return unsigned(value);
        unsigned shift = unsigned(std::bit_width(value)) - bits - 1;
        return (shift << bits) + unsigned(value >> shift);
    }
    static double middle(unsigned i) {
        if (i < 2U << bits) return i;
        unsigned shift = (i >> bits) - 1;
        return (double((i & ((1U << bits) - 1)) + (1U << bits)) + 0.5) * double(std::uint64_t(1) << shift);
    }

    std::array<std::uint64_t, (64 - bits + 1) << bits> counts_{};
    std::uint64_t total_ = 0;
};

} // namespace millrace::bench
