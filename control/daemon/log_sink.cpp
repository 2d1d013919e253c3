#include "control/daemon/log_sink.hpp"

#include <bit>
#include <cerrno>
#include <climits>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
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

int priority_of(spdlog::level::level_enum level) {
    switch (level) {
    case spdlog::level::critical: return LOG_CRIT;
    case spdlog::level::err: return LOG_ERR;
    case spdlog::level::warn: return LOG_WARNING;
    default: return LOG_INFO;
    }
}

/// MESSAGE with its length in front, as it may be of several lines.
std::string journal_fields(spdlog::level::level_enum level, std::string_view text) {
    static_assert(std::endian::native == std::endian::little, "as the protocol has lengths");
    text = text.substr(0, PIPE_BUF);
    std::uint64_t size = text.size();
    std::string fields =
        fmt::format("PRIORITY={}\nSYSLOG_IDENTIFIER=millraced\nMESSAGE\n", priority_of(level));
    fields.append(reinterpret_cast<const char*>(&size), sizeof size).append(text);
    return fields + "\n";
}

std::string words_of_dropped(std::uint64_t lines) {
    return fmt::format("({} lines of this log found no reader)", lines);
}

} // namespace

LogSink::LogSink(int descriptor) : own_(open_again(descriptor)), descriptor_(descriptor) {}

void LogSink::sink_it_(const spdlog::details::log_msg& message) {
    spdlog::memory_buf_t line;
    if (dropped_ > 0) {
        std::string words = words_of_dropped(dropped_);
        formatter_->format({message.logger_name, spdlog::level::warn, words}, line);
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
    // A file; or somebody else's pipe, which has room for PIPE_BUF octets when it has any.
    pollfd room{descriptor_, POLLOUT, 0};
    if (sent < 0 && errno == ENOTSOCK && ::poll(&room, 1, 0) > 0) sent = ::write(descriptor_, text, size);
    return sent == ssize_t(size);
}

JournalSink::JournalSink(const std::string& path)
    : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
      address_(dataplane::unix_address(path).value_or(dataplane::UnixAddress{})) {}

void JournalSink::sink_it_(const spdlog::details::log_msg& message) {
    if (dropped_ > 0 && send(spdlog::level::warn, words_of_dropped(dropped_))) dropped_ = 0;
    bool is_sent = dropped_ == 0 && send(message.level, {message.payload.data(), message.payload.size()});
    if (!is_sent) ++dropped_;
}

/// False: it would have had to wait, or nobody is there.
bool JournalSink::send(spdlog::level::level_enum level, std::string_view text) {
    std::string fields = journal_fields(level, text);
    ssize_t sent = ::sendto(socket_.get(), fields.data(), fields.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                            address_.get(), address_.size);
    return sent == ssize_t(fields.size());
}

} // namespace millrace::control
