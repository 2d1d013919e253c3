#include "control/daemon/log_sink.hpp"

#include <cerrno>
#include <climits>

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace millrace::control {

void LogSink::sink_it_(const spdlog::details::log_msg& message) {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    if (line.size() > PIPE_BUF) { // what a pipe takes at once (pipe(7))
        line.resize(PIPE_BUF);
        line[PIPE_BUF - 1] = '\n';
    }
    if (dropped_ > 0) {
        auto gap = fmt::format("({} lines of this log found no reader)\n", dropped_);
        if (!write(gap.data(), gap.size())) {
            ++dropped_;
            return;
        }
        dropped_ = 0;
    }
    dropped_ += !write(line.data(), line.size());
}

/// False: it would have had to wait. A pipe that is writable takes a line at once; a socket is asked
/// not to wait.
bool LogSink::write(const char* text, std::size_t size) {
    ssize_t sent = ::send(descriptor_, text, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0 || errno != ENOTSOCK) return sent >= 0;
    pollfd writable{descriptor_, POLLOUT, 0};
    return ::poll(&writable, 1, 0) == 1 && (writable.revents & POLLOUT) &&
           ::write(descriptor_, text, size) >= 0;
}

} // namespace millrace::control
