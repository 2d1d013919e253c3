#include "control/fetch/trace.hpp"

#include <algorithm>

#include "control/limits.hpp"

namespace millrace::control {

bool Traces::has_room() const {
    return traces_.size() < limits::traces;
}

void Traces::begin(FetchId fetch, Done done) {
    traces_.push_back({fetch, std::move(done), {}});
}

bool Traces::is_traced(FetchId fetch) const {
    return std::ranges::find(traces_, fetch, &Trace::fetch) != traces_.end();
}

void Traces::add(FetchId fetch, TraceEvent event) {
    auto at = std::ranges::find(traces_, fetch, &Trace::fetch);
    if (at == traces_.end() || at->events.size() == limits::trace_events) return;
    at->events.push_back(std::move(event));
}

void Traces::end(FetchId fetch) {
    auto at = std::ranges::find(traces_, fetch, &Trace::fetch);
    if (at == traces_.end()) return;
    Trace ended = std::move(*at);
    traces_.erase(at);
    ended.done(fetch.generation, std::move(ended.events));
}

} // namespace millrace::control
