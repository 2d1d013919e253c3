// Finding names in the table, one by one and in bursts as the worker does it, beside the yardstick: a bulk
// lookup in DPDK's rte_hash, which reads the same Entries. Names are drawn uniformly from those there are (10
// thousand: in the CPU's caches; millions: not), or are absent. Every Entry found is checked.
//
// Cycles are the TSC's, by name, drawing excluded.
#include <random>

#include <benchmark/benchmark.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_prefetch.h>

#include "bench/cycles.hpp"
#include "bench/iterations.hpp"
#include "bench/names.hpp"

namespace millrace {
namespace {

using bench::NumberedName;
constexpr unsigned burst = dataplane::limits::burst;

/// The table of the benchmark before, when it has as many names.
bench::Names& names_of(std::uint32_t count) {
    static std::unique_ptr<bench::Names> kept;
    static std::uint32_t kept_count = 0;
    if (kept_count != count) kept.reset(), kept = std::make_unique<bench::Names>(count), kept_count = count;
    return *kept;
}

/// A burst of questions, drawn anew each time.
class Questions {
  public:
    Questions(std::uint32_t first, std::uint32_t count) : drawn_(first, first + count - 1) {
        for (cache::Key& key : keys) key = test::key_of(NumberedName::name(0));
    }
    void draw() {
        for (unsigned i = 0; i < burst; ++i) {
            std::uint32_t rest = numbers[i] = drawn_(random_);
            for (unsigned digit = NumberedName::digits; digit-- > 0; rest /= 10) {
                keys[i].name.octets[2 + digit] = std::uint8_t('0' + rest % 10);
            }
        }
    }
    std::array<cache::Key, burst> keys;
    std::array<std::uint32_t, burst> numbers{};

  private:
    std::minstd_rand random_{1};
    std::uniform_int_distribution<std::uint32_t> drawn_;
};

/// What a reply reads of it, to be on its way: the Entry and its first records.
void prefetch(const cache::Entry* entry) {
    rte_prefetch0(entry);
    rte_prefetch0(reinterpret_cast<const std::uint8_t*>(entry) + 64);
}
/// Reads it. Null: 0.
std::uint64_t read(const cache::Entry* entry) {
    return entry ? entry->version.generation + std::uint64_t(entry->expiry.count() > 0) + entry->records()[15]
                 : 0;
}

/// `find` fills an array of Entries from an array of keys.
void measure(benchmark::State& state, std::uint32_t first, std::uint32_t count, bool is_there, auto find) {
    Questions questions(first, count);
    std::array<const cache::Entry*, burst> found{};
    std::uint64_t wrong = 0;
    bench::Cycles cycles;
    for (auto _ : state) {
        questions.draw();
        cycles.begin();
        find(questions.keys, found);
        std::uint64_t sum = 0;
        for (const cache::Entry* entry : found) sum += read(entry);
        benchmark::DoNotOptimize(sum);
        cycles.end();
        for (unsigned i = 0; i < burst; ++i) {
            wrong += is_there ? !found[i] || found[i]->version.generation != questions.numbers[i] + 1
                              : found[i] != nullptr;
        }
    }
    cycles.report(state, burst);
    if (wrong > 0) state.SkipWithError("not every name led to its own Entry");
}

/// The worker's steps (dataplane/worker.cpp).
void find_burst(const cache::Table& table, const std::array<cache::Key, burst>& keys,
                std::array<const cache::Entry*, burst>& found) {
    std::array<cache::Hash, burst> hashes;
    std::array<cache::Table::Finding, burst> ahead;
    for (unsigned i = 0; i < burst; ++i) table.prefetch(hashes[i] = table.hasher()(keys[i]));
    for (unsigned i = 0; i < burst; ++i) {
        ahead[i] = table.look_ahead(hashes[i]);
        if (ahead[i].node) rte_prefetch0(ahead[i].node);
    }
    for (const auto& finding : ahead) {
        if (!finding.node) continue;
        rte_prefetch0(finding.node->first.bytes);
        prefetch(finding.node->second.entry.load(std::memory_order_relaxed));
    }
    for (unsigned i = 0; i < burst; ++i) {
        const cache::Node* node = table.locate(keys[i], hashes[i], ahead[i]);
        found[i] = node ? node->second.entry.load(std::memory_order_acquire) : nullptr;
    }
}

void find_in_bursts(benchmark::State& state) {
    auto count = std::uint32_t(state.range(0));
    const cache::Table& table = names_of(count).table;
    measure(state, 0, count, true, [&](auto& keys, auto& found) { find_burst(table, keys, found); });
}
void find_one_by_one(benchmark::State& state) {
    auto count = std::uint32_t(state.range(0));
    const cache::Table& table = names_of(count).table;
    measure(state, 0, count, true, [&](auto& keys, auto& found) {
        for (unsigned i = 0; i < burst; ++i) found[i] = table.find(keys[i], table.hasher()(keys[i]));
    });
}
void find_absent(benchmark::State& state) {
    auto count = std::uint32_t(state.range(0));
    const cache::Table& table = names_of(count).table;
    measure(state, count, count, false, [&](auto& keys, auto& found) { find_burst(table, keys, found); });
}

/// rte_hash with the same Entries behind it.
class Yardstick {
  public:
    static constexpr unsigned key_octets = 32;

    explicit Yardstick(bench::Names& names, std::uint32_t count) {
        rte_hash_parameters parameters{};
        parameters.name = "yardstick";
        parameters.entries = count + count / 8;
        parameters.key_len = key_octets;
        parameters.hash_func = rte_hash_crc;
        parameters.socket_id = 0;
        hash_ = rte_hash_create(&parameters);
        for (std::uint32_t i = 0; hash_ && i < count; ++i) {
            auto key = test::key_of(NumberedName::name(i));
            auto* entry = names.table.find(key, names.table.hasher()(key));
            if (rte_hash_add_key_data(hash_, padded(key).data(), const_cast<cache::Entry*>(entry)) != 0) {
                rte_hash_free(std::exchange(hash_, nullptr));
            }
        }
    }
    ~Yardstick() { rte_hash_free(hash_); }
    bool is_ready() const { return hash_; }

    void find(std::array<cache::Key, burst>& keys, std::array<const cache::Entry*, burst>& found) const {
        std::array<std::array<std::uint8_t, key_octets>, burst> octets;
        std::array<const void*, burst> pointers;
        for (unsigned i = 0; i < burst; ++i) pointers[i] = (octets[i] = padded(keys[i])).data();
        std::uint64_t hits = 0;
        auto** data = reinterpret_cast<void**>(const_cast<cache::Entry**>(found.data()));
        rte_hash_lookup_bulk_data(hash_, pointers.data(), burst, &hits, data);
        for (unsigned i = 0; i < burst; ++i) {
            if (!(hits >> i & 1)) found[i] = nullptr;
        }
        for (const cache::Entry* entry : found) prefetch(entry);
    }

  private:
    static std::array<std::uint8_t, key_octets> padded(const cache::Key& key) {
        std::array<std::uint8_t, key_octets> octets{};
        std::ranges::copy(key.bytes(), octets.begin());
        return octets;
    }
    rte_hash* hash_ = nullptr;
};

void rte_hash_bulk(benchmark::State& state) {
    if (bench::counts_instructions()) return state.SkipWithError("needs EAL");
    auto count = std::uint32_t(state.range(0));
    Yardstick yardstick(names_of(count), count);
    if (!yardstick.is_ready()) return state.SkipWithError("rte_hash has no room");
    measure(state, 0, count, true, [&](auto& keys, auto& found) { yardstick.find(keys, found); });
}

void sizes(benchmark::internal::Benchmark* benchmark) {
    benchmark->Iterations(50'000); // once: a table of millions is made only once, too
    bench::iterations(benchmark);
}
#define AT(count)                                                                                            \
    BENCHMARK(find_in_bursts)->Apply(sizes)->Arg(count);                                                     \
    BENCHMARK(find_one_by_one)->Apply(sizes)->Arg(count);                                                    \
    BENCHMARK(find_absent)->Apply(sizes)->Arg(count);                                                        \
    BENCHMARK(rte_hash_bulk)->Apply(sizes)->Arg(count)
AT(10'000);
AT(1'000'000);
AT(5'000'000);

} // namespace
} // namespace millrace

int main(int argc, char** argv) {
    // Memory for rte_hash.
    if (!millrace::bench::counts_instructions() && !millrace::bench::start_eal(false, 1500)) return 1;
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
    std::fflush(stdout);
    std::_Exit(0); // the kept table is as large as it is
}
