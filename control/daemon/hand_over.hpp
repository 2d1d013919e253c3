// The end of a daemon that a successor takes over from (`millraced --take-over`): what it serves with goes
// piece by piece to that process, which has started beside it, and whoever asks meanwhile is answered.
//
// The successor makes a socket and names it by the verb `hand-over PATH`. On the connection that this daemon
// then opens, a packet each way at a time:
//
//     -> sockets MODE, with descriptors    both may receive from them; DPDK's IOVA mode, or "none"
//     cache   -> done cache                the cache file is written
//     ports   -> done ports                no device is ours, no lcore in one: kernel sockets answer
//     over                                 nothing is received here; ends when nobody waits any more
//
// "failed", the word and a sentence in place of "done". All the while commands that flush or change something
// are refused: it would not last. When the connection ends before "over", or nothing comes for minutes, this
// daemon goes on, with the ports if they were not left yet. To take them anew takes more rights than it has
// by then: those that the kernel has sockets beside are served by these, until the next successor comes; with
// no socket at all it ends with an error.
//
// Control thread.
#pragma once

#include <utility> // asio 1.22 with GCC 12 needs it first

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>

#include "control/command/server.hpp"
#include "control/daemon/loop.hpp"
#include "control/daemon/parts.hpp"

namespace millrace::control {

class HandOver {
  public:
    /// What the daemon has that Parts have not.
    struct Front {
        std::function<std::vector<int>()> descriptors; ///< that are received from: sockets and TAPs
        std::function<void()> retire;                  ///< receives from none of them any more
    };

    HandOver(const Parts& parts, Loop& loop, CommandServer& commands, Front front);

  private:
    enum class Stage : std::uint8_t { none, offered, saving, leaving, parting, settling, parted, ending };

    tl::expected<void, std::string> offer(const std::string& path);
    void read();
    void on_word(std::string_view word);
    void save_cache();
    void leave_ports();
    void end();
    void on_lost();
    void lose_ports();
    void tell(const std::string& words);
    void enter(Stage stage);
    void wait();
    void look();
    bool is_silent();

    Parts p_;
    Loop& loop_;
    CommandServer& commands_;
    Front front_;
    asio::posix::stream_descriptor channel_;
    asio::steady_timer timer_;
    Stage stage_ = Stage::none;
    Time entered_{};             ///< the stage
    unsigned number_ = 0;        ///< of successors: what was done for another is no answer
    std::uint64_t received_ = 0; ///< by lcores, or by all, at the last look
};

} // namespace millrace::control
