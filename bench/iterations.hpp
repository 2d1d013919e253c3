// Benchmarks whose instructions bench/callgrind counts: it says how many iterations, and there is no EAL.
#pragma once

#include <cstdlib>

#include <benchmark/benchmark.h>

namespace millrace::bench {

inline constexpr const char* iterations_variable = "BENCH_ITERATIONS";

/// Whether bench/callgrind has started this program.
inline bool counts_instructions() {
    return std::getenv(iterations_variable) != nullptr;
}

/// For Apply(): as many iterations as bench/callgrind says; else as many as Google Benchmark finds right.
inline void iterations(benchmark::internal::Benchmark* benchmark) {
    if (const char* count = std::getenv(iterations_variable)) benchmark->Iterations(std::atoll(count));
}

} // namespace millrace::bench
