#include "cache/reserve.hpp"

#include <algorithm>
#include <new>

namespace millrace::cache {

namespace {

constexpr unsigned steps_per_tick = 256;

} // namespace

Reserve::Hold Reserve::hold(EntryPtr& entry) try {
    if (bytes_ + entry->bytes() > limit_) return {};
    held_.emplace_back();
    held_.back().entry = std::move(entry);
    bytes_ += held_.back().entry->bytes();
    return {*this, std::prev(held_.end())};
} catch (const std::bad_alloc&) {
    return {}; // as when there is no room
}

void Reserve::Hold::sent_to(unsigned reader) {
    auto& marks = position_->marks;
    auto at = std::ranges::find(marks, reader, [](const auto& mark) { return mark.first; });
    if (at == marks.end()) at = marks.insert(at, {reader, 0});
    at->second = reserve_->grace_.sent_to(reader);
}

bool Reserve::is_finished(const Private& one) const {
    auto finished = [&](const auto& mark) { return grace_.has_finished(mark.first, mark.second); };
    return std::ranges::all_of(one.marks, finished);
}

void Reserve::reclaim() {
    for (auto steps = std::min<std::size_t>(steps_per_tick, leaving_.size()); steps > 0; --steps) {
        if (is_finished(leaving_.front())) {
            bytes_ -= leaving_.front().entry->bytes();
            leaving_.pop_front();
        } else {
            // To the end: those of a reader that stalls must not hide the others.
            leaving_.splice(leaving_.end(), leaving_, leaving_.begin());
        }
    }
}

} // namespace millrace::cache
