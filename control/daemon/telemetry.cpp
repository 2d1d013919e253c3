#include "control/daemon/telemetry.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <mutex>
#include <optional>
#include <vector>

#include <rte_telemetry.h>
#include <spdlog/spdlog.h>

namespace millrace::control {

using dataplane::Event;
using dataplane::Verdict;

namespace {

struct Row {
    std::optional<unsigned> lcore;
    const dataplane::Counters* counters;
};

// DPDK's callbacks have no argument for this, and commands cannot be taken back.
std::mutex mutex;
std::vector<Row> workers; // under the mutex; empty: there is nothing to be seen

int on_stats(const char*, const char* parameters, rte_tel_data* out) {
    std::lock_guard lock(mutex);
    std::optional<unsigned> lcore;
    if (parameters && *parameters) {
        const char* end = parameters + std::strlen(parameters);
        auto [rest, error] = std::from_chars(parameters, end, lcore.emplace());
        if (error != std::errc() || rest != end) return -1;
    }
    auto is_meant = [&](const Row& row) { return !lcore || row.lcore == lcore; };
    if (std::ranges::none_of(workers, is_meant)) return -1;
    auto sum_of = [&](auto counter) {
        std::uint64_t sum = 0;
        for (const Row& row : workers) sum += is_meant(row) ? row.counters->get(counter) : 0;
        return sum;
    };
    rte_tel_data_start_dict(out);
    for (std::size_t v = 0; v < dataplane::verdicts; ++v) // the names are literals
        rte_tel_data_add_dict_u64(out, to_string(Verdict(v)).data(), sum_of(Verdict(v)));
    for (std::size_t e = 0; e < dataplane::events; ++e)
        rte_tel_data_add_dict_u64(out, to_string(Event(e)).data(), sum_of(Event(e)));
    return 0;
}

int on_lcores(const char*, const char*, rte_tel_data* out) {
    std::lock_guard lock(mutex);
    rte_tel_data_start_array(out, RTE_TEL_INT_VAL);
    for (const Row& row : workers) {
        if (row.lcore) rte_tel_data_add_array_int(out, int(*row.lcore));
    }
    return 0;
}

} // namespace

Telemetry::Telemetry(const Workers& all) {
    {
        std::lock_guard lock(mutex);
        for (std::size_t i = 0; i < all.size(); ++i)
            workers.push_back({all.view(i).lcore, &all.view(i).counters});
    }
    bool is_there =
        rte_telemetry_register_cmd("/millrace/lcores", on_lcores, "The lcores that answer. No parameters") ==
            0 &&
        rte_telemetry_register_cmd("/millrace/stats", on_stats,
                                   "What workers have counted. Parameters: an lcore; none: all") == 0;
    if (!is_there) spdlog::warn("DPDK's telemetry does not take our counters");
}

Telemetry::~Telemetry() {
    std::lock_guard lock(mutex);
    workers.clear();
}

} // namespace millrace::control
