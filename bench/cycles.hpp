// What an item costs: cycles, and instructions where bench/callgrind counts them.
#pragma once

#include <cstdint>

#include <benchmark/benchmark.h>
#include <valgrind/callgrind.h>

#include "bench/load/tsc.hpp"

namespace millrace::bench {

/// What lies between begin() and end() counts: a whole loop, or a part of each iteration. In cycles
/// of the TSC; as in Google Benchmark's column Time, and unlike CPU, what others do on this CPU
/// meanwhile counts too.
class Cycles {
  public:
    void begin() {
        CALLGRIND_TOGGLE_COLLECT; // a few instructions without effect, where there is no valgrind
        begun_ = tsc();
    }
    void end() {
        spent_ += tsc() - begun_;
        CALLGRIND_TOGGLE_COLLECT;
    }
    /// `items`: handled in each iteration.
    void report(benchmark::State& state, std::int64_t items = 1) const {
        if (items > 1) state.counters["items"] = double(items);
        items *= std::int64_t(state.iterations());
        state.SetItemsProcessed(items);
        state.counters["cycles"] = double(spent_) / double(items);
    }

  private:
    std::uint64_t begun_ = 0, spent_ = 0;
};

/// The same for a whole loop: made right before it, report() right after it.
class LoopCycles {
  public:
    LoopCycles() { cycles_.begin(); }
    void report(benchmark::State& state, std::int64_t items = 1) {
        cycles_.end();
        cycles_.report(state, items);
    }

  private:
    Cycles cycles_;
};

} // namespace millrace::bench
