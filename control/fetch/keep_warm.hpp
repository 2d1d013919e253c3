// Names that are asked at start and kept fresh, whether or not clients ask for them (`cache: keep-warm`).
//
// Basic algorithm: each question is looked up when its time has come: at first in the order of the file, then
// when the last tenth of its Entry's life begins, and every half minute in between, as a flush may have
// emptied it. What is not there, or soon will not be, is asked for, `rate` a second at most, as background
// work on nobody's account. While clients need the room, or no upstream would reply, all wait. What fails is
// asked again when its back-off ends, and a question that never becomes fresh (TTL 0) less and less often. A
// tick looks up a bounded number. Control thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "cache/table.hpp"
#include "control/fetch/table.hpp"
#include "control/local/warm_list.hpp"

namespace millrace::control {

class KeepWarm {
  public:
    KeepWarm(const cache::Table& table, FetchTable& fetches) : table_(table), fetches_(fetches) {}

    /// From here on these, from the first on; null: none. `rate`: asked per second.
    void set(std::unique_ptr<const WarmList> list, unsigned rate);

    void tick(Time now);
    Time next_timer() const; ///< when tick() has something to do; Time::max() when never

    std::size_t questions() const { return list_ ? list_->size() : 0; }
    std::size_t fresh() const { return fresh_; } ///< of these, when each was last looked up
    std::uint64_t asked() const { return asked_; }

  private:
    struct Due {
        Time at;
        std::uint32_t question;
        bool operator>(const Due& other) const { return at > other.at; }
    };
    struct State {
        Time ask_after{};       ///< the last of these is given so long
        std::uint8_t tries = 0; ///< in a row, that have not made it fresh
        bool is_fresh = false;
    };
    Time look_at(std::uint32_t question, Time now);
    Time ask(const cache::Key& key, cache::Hash hash, State& state, Time now);

    const cache::Table& table_;
    FetchTable& fetches_;
    std::unique_ptr<const WarmList> list_;
    std::vector<State> states_;
    std::uint32_t next_ = 0;   ///< the first that has never been looked up
    std::vector<Due> due_;     ///< the others: a heap, the earliest first
    Time interval_{}, turn_{}; ///< between two that are asked; when the next may be
    Time began_{};             ///< with the first
    std::size_t fresh_ = 0;
    std::uint64_t asked_ = 0;
};

} // namespace millrace::control
