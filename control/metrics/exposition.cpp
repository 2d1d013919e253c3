#include "control/metrics/exposition.hpp"

#include <unordered_map>

#include <prometheus/text_serializer.h>

namespace millrace::control {

struct Exposition::Families {
    prometheus::ClientMetric& add(const std::string& name, const std::string& help,
                                  prometheus::MetricType type, const Labels& labels) {
        auto [place, is_new] = places.emplace(name, all.size());
        if (is_new) all.push_back({name, help, type, {}});
        prometheus::ClientMetric& one = all[place->second].metric.emplace_back();
        for (const auto& [key, value] : labels) {
            if (!value.empty()) one.label.push_back({key, value});
        }
        return one;
    }

    std::vector<prometheus::MetricFamily> all;
    std::unordered_map<std::string, std::size_t> places;
};

Exposition::Exposition() : families_(std::make_unique<Families>()) {}
Exposition::~Exposition() = default;

void Exposition::counter(const std::string& name, const std::string& help, const Labels& labels,
                         double value) {
    families_->add(name, help, prometheus::MetricType::Counter, labels).counter.value = value;
}

void Exposition::gauge(const std::string& name, const std::string& help, const Labels& labels, double value) {
    families_->add(name, help, prometheus::MetricType::Gauge, labels).gauge.value = value;
}

void Exposition::histogram(const std::string& name, const std::string& help, const Labels& labels,
                           const dataplane::Histogram& counts, Range range) {
    auto& out = families_->add(name, help, prometheus::MetricType::Histogram, labels).histogram;
    std::uint64_t sum = 0; // of the counts themselves: the last bucket and the count are then always equal
    for (unsigned i = 0; i <= dataplane::Histogram::bounds; ++i) {
        sum += counts.counts[i];
        std::uint64_t bound = dataplane::Histogram::bound(i);
        if (i == dataplane::Histogram::bounds || bound < range.first || bound > range.last) continue;
        out.bucket.push_back({sum, double(bound) / 1e9});
    }
    out.sample_count = sum;
    out.sample_sum = double(counts.sum_ns) / 1e9;
}

std::string Exposition::text() const {
    return prometheus::TextSerializer().Serialize(families_->all);
}

} // namespace millrace::control
