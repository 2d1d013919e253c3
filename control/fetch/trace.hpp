// Timelines of single Fetches, for `millracectl trace`: what was sent, received, decided, published, woken.
//
// Noting is free while nobody traces: note() looks at a counter. Bounded: a few Fetches at once, a number of
// events each. Control thread only.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/time.hpp"
#include "control/upstream/fetch_id.hpp"

namespace millrace::control {

struct TraceEvent {
    Time at{};
    std::string_view what;            ///< a literal: "sent", "answer", "published", ...
    std::optional<unsigned> upstream; ///< index within the group
    std::string detail;
};

class Traces {
  public:
    /// Told once, when the Fetch has ended, with its generation and its events in order.
    using Done = std::function<void(cache::Generation generation, std::vector<TraceEvent> events)>;

    bool has_room() const;
    void begin(FetchId fetch, Done done); ///< while there is room
    void note(FetchId fetch, Time at, std::string_view what, std::optional<unsigned> upstream = {},
              const std::string& detail = {}) {
        if (!traces_.empty()) add(fetch, {at, what, upstream, detail});
    }
    bool is_traced(FetchId fetch) const; ///< before a detail is made that costs something
    void end(FetchId fetch);             ///< tells; ignored when nobody traces it

  private:
    struct Trace {
        FetchId fetch;
        Done done;
        std::vector<TraceEvent> events;
    };
    void add(FetchId fetch, TraceEvent event);

    std::vector<Trace> traces_;
};

} // namespace millrace::control
