#include "control/daemon/log_sink.hpp"

#include <cerrno>
#include <climits>
#include <iterator>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace millrace::control {

namespace {

/// The same pipe or terminal once more, so that its other users may go on to wait. Of a file, which never has
/// its writers wait, a second offset would be in the way.
int open_again(int descriptor) {
    struct stat status {};
    if (::fstat(descriptor, &status) < 0 || S_ISREG(status.st_mode)) return -1;
    auto path = fmt::format("/proc/self/fd/{}", descriptor);
    return ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

} // namespace

LogSink::LogSink(int descriptor) : own_(open_again(descriptor)), descriptor_(descriptor) {}

void LogSink::sink_it_(const spdlog::details::log_msg& message) {
    spdlog::memory_buf_t line;
    if (dropped_ > 0) {
        fmt::format_to(std::back_inserter(line), "({} lines of this log found no reader)\n", dropped_);
    }
    formatter_->format(message, line);
    if (line.size() > PIPE_BUF) { // what a pipe takes at once (pipe(7))
        line.resize(PIPE_BUF);
        line[PIPE_BUF - 1] = '\n';
    }
    dropped_ = write(line.data(), line.size()) ? 0 : dropped_ + 1;
}

/// False: it would have had to wait, or nobody is there. A pipe takes a line whole or not at all; what a
/// terminal cuts short counts as dropped.
bool LogSink::write(const char* text, std::size_t size) {
    ssize_t sent =
        own_ ? ::write(own_.get(), text, size) : ::send(descriptor_, text, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == ENOTSOCK) sent = ::write(descriptor_, text, size); // a file
    return sent == ssize_t(size);
}

} // namespace millrace::control
