// Which name is asked next. One thread's; the sequence follows from the seed.
#pragma once

#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "bench/load/zone.hpp"

namespace millrace::bench {

enum class Pattern {
    uniform, ///< n0 to n<N-1>, all alike
    zipf,    ///< the same, the k-th most popular one with a share of 1/k
    each,    ///< the same, each once
    unique,  ///< m names, none twice
    absent,  ///< x0 to x<N-1>, all alike
};

class Choice {
  public:
    struct Setup {
        Pattern pattern = Pattern::uniform;
        std::uint32_t names = 10'000;
        double unique_share = 0; ///< of the questions that are for m names instead
        std::uint32_t first = 0; ///< number of the first m name
        std::uint64_t seed = 1;
    };

    explicit Choice(const Setup& setup)
        : setup_(setup), state_(setup.seed * 0x9e3779b97f4a7c15 | 1), unique_(setup.first),
          unique_bound_(std::uint32_t(setup.unique_share * 0xffffffff)) {
        if (setup_.pattern == Pattern::zipf) draw_zipf();
    }

    /// Names that are still to be chosen; without an end but for Pattern::each.
    std::uint32_t left() const { return setup_.pattern == Pattern::each ? setup_.names - each_ : ~0U; }

    Host next() {
        if (unique_bound_ != 0 && std::uint32_t(random() >> 32) < unique_bound_)
            return {Kind::unique, unique_++};
        switch (setup_.pattern) {
        case Pattern::uniform: return {Kind::present, below(setup_.names)};
        case Pattern::absent: return {Kind::absent, below(setup_.names)};
        case Pattern::unique: return {Kind::unique, unique_++};
        case Pattern::each: return {Kind::present, each_++};
        case Pattern::zipf: break;
        }
        at_ = at_ + 1 < drawn_.size() ? at_ + 1 : 0;
        return {Kind::present, drawn_[at_]};
    }

  private:
    static constexpr std::size_t draws = std::size_t(1) << 22; ///< then they begin anew

    std::uint64_t random() { // xorshift64*
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return state_ * 0x2545f4914f6cdd1d;
    }
    std::uint32_t below(std::uint32_t bound) { return std::uint32_t((random() >> 32) * bound >> 32); }

    /// Zipf with s=1, exactly: a rank from the continuous 1/x, accepted with the odds between the two.
    /// Logarithms are too slow for while the load runs. Popular names are spread over the numbers.
    void draw_zipf() {
        std::uint64_t step = 7919;
        while (std::gcd(step, std::uint64_t(setup_.names)) != 1) ++step;
        double span = std::log(double(setup_.names) + 1);
        drawn_.reserve(draws);
        while (drawn_.size() < draws) {
            double rank = std::floor(std::exp(uniform() * span));
            if (uniform() * rank * std::log1p(1 / rank) > std::log(2.0)) continue;
            drawn_.push_back(std::uint32_t(std::uint64_t(rank) * step % setup_.names));
        }
    }
    double uniform() { return double(random() >> 11) * 0x1p-53; }

    Setup setup_;
    std::uint64_t state_;
    std::uint32_t unique_, unique_bound_, each_ = 0;
    std::size_t at_ = 0;
    std::vector<std::uint32_t> drawn_;
};

} // namespace millrace::bench
