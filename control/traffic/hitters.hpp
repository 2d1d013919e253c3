// Who comes most, of any number, in a bounded place: Space-Saving (Metwally, Agrawal, El Abbadi, "Efficient
// Computation of Frequent and Top-k Elements in Data Streams", 2005).
//
// Each of `places` keys has a count. A key without a place takes that of the one with the lowest count, and
// begins with it: so a count is too high by at most `error`, and whoever makes up more than 1/places of all
// has a place. Threads: none of its own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cache/keyed_hash.hpp"

namespace millrace::control {

class Hitters {
  public:
    struct Row {
        std::string key;
        std::uint64_t count = 0;
        std::uint64_t error = 0; ///< of the count, how much may be others'
    };

    explicit Hitters(std::size_t places) : places_(places) {}

    void add(std::string_view key, std::uint64_t count) {
        total_ += count;
        std::string own(key);
        if (auto known = by_key_.find(own); known != by_key_.end()) {
            rows_[known->second].count += count;
            return;
        }
        std::size_t at = rows_.size();
        if (at < places_) {
            rows_.push_back({own, count, 0});
        } else {
            at = lowest();
            Row& row = rows_[at];
            by_key_.erase(row.key);
            row = {own, row.count + count, row.count};
        }
        by_key_.emplace(std::move(own), at);
    }
    const std::vector<Row>& rows() const { return rows_; } ///< in no order
    std::uint64_t total() const { return total_; }         ///< of all counts
    void clear() {
        rows_.clear();
        by_key_.clear();
        total_ = 0;
    }

  private:
    struct Hash { ///< the keys are others' choice
        std::size_t operator()(const std::string& key) const {
            return cache::keyed_hash({reinterpret_cast<const std::uint8_t*>(key.data()), key.size()});
        }
    };
    std::size_t lowest() const {
        std::size_t best = 0;
        for (std::size_t i = 1; i < rows_.size(); ++i) {
            if (rows_[i].count < rows_[best].count) best = i;
        }
        return best;
    }

    std::size_t places_;
    std::uint64_t total_ = 0;
    std::vector<Row> rows_;
    std::unordered_map<std::string, std::size_t, Hash> by_key_;
};

} // namespace millrace::control
