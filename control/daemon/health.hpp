// Whether clients should be sent here: what an anycast announcement and a load balancer go by.
//
// A fault counts once it has lasted, and so does its end, so that a route does not flap (RFC 2439 1 has what
// that costs everybody else). The operator's word that no more clients are wanted counts at once; they are
// served all the while. Control thread only, but for seen_from_outside().
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string_view>

#include "cache/time.hpp"

namespace millrace::control {

class Health {
  public:
    static constexpr Time fall = 2s, rise = 5s; ///< how long it lasts until it counts

    /// What is wrong at this moment, a literal; empty: nothing. To be called several times a second.
    void look(std::string_view fault, Time now);
    /// Begins with a predecessor's reason(), so that its clients need not go away and come back.
    void go_on_from(std::string_view reason);
    /// No more clients, please: until resume().
    void drain();
    void resume();

    bool is_drained() const { return is_drained_; }
    bool is_good() const { return !is_drained_ && fault_.empty(); }
    /// Why it is not good; empty: it is.
    std::string_view reason() const { return is_drained_ ? "drained" : fault_; }

    /// The same for another thread, which waits for nobody: when nothing has been looked at for so long that
    /// control cannot be at work, that is the reason. A literal; empty: all is good. Any thread.
    std::string_view seen_from_outside(Time now) const;

  private:
    void weigh(std::string_view fault, Time now);
    void show();

    bool is_drained_ = false;
    std::string_view fault_ = "just started";        ///< that counts
    std::optional<Time> changed_;                    ///< since when what is seen is otherwise
    std::atomic<const char*> shown_{"just started"}; ///< reason(), of
    std::atomic<std::int64_t> looked_{0};            ///< when, in microseconds; 0: never
};

} // namespace millrace::control
