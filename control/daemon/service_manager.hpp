// What the service manager is told (sd_notify(3)): that the daemon answers, reloads, is about to end, how it
// is, and that it lives.
//
// A datagram each, to the socket that NOTIFY_SOCKET names; without one nothing is said. Not libsystemd's
// sd_notify(), which waits when the manager does not read. What the manager does not take at once is said
// again by the next tick. Control thread only.
#pragma once

#include <deque>
#include <optional>
#include <string>

#include "cache/time.hpp"
#include "dataplane/descriptor.hpp"
#include "dataplane/unix_address.hpp"

namespace millrace::control {

class ServiceManager {
  public:
    /// `socket`: a path, or "@name" of an abstract one; null or anything else:
    /// there is no manager. `watchdog`, microseconds without a sign of life after
    /// which the manager ends the daemon, and `watchdog_pid`, whom that is about
    /// (null: this process), as WATCHDOG_USEC and WATCHDOG_PID are written.
    ServiceManager(const char* socket, const char* watchdog, const char* watchdog_pid);
    /// By this process's environment, which loses them.
    static ServiceManager of_environment();

    /// Once. Before that tick() says nothing but what waits.
    void ready();
    bool is_ready() const { return is_ready_; }
    void reloading(bool is_under_way);
    void stopping();

    /// Several times a second. `is_alive`: all that has to go on does; else the manager's patience runs out.
    /// `status` is a line for people.
    void tick(bool is_alive, const std::string& status, Time now);

    bool is_there() const { return bool(socket_); }

  private:
    void say(std::string words);
    bool send(const std::string& words) const;

    dataplane::Descriptor socket_;
    std::optional<dataplane::UnixAddress> address_;
    std::deque<std::string> unsent_;
    std::optional<Time> pulse_; ///< from one sign of life to the next; none: nobody waits for them
    Time pulse_due_{};
    std::string status_; ///< that was sent last
    bool is_ready_ = false;
};

} // namespace millrace::control
