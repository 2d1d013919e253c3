#pragma once

#include <cstdlib>

#include <benchmark/benchmark.h>

namespace millrace::bench {

/// For Apply(): as many iterations as BENCH_ITERATIONS says, where bench/callgrind counts instructions.
inline void iterations(benchmark::internal::Benchmark* benchmark) {
    if (const char* count = std::getenv("BENCH_ITERATIONS")) benchmark->Iterations(std::atoll(count));
}

} // namespace millrace::bench
