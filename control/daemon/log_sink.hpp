// Where the daemon's log goes: standard error, or systemd-journald, and never waits for it.
//
// A reader that stops must not stop control. What a pipe, a socket or a terminal does not take at once is
// dropped, and the next line that goes through says how much was. Threads: any (spdlog's mutex).
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include <spdlog/sinks/base_sink.h>

#include "dataplane/descriptor.hpp"
#include "dataplane/unix_address.hpp"

namespace millrace::control {

class LogSink final : public spdlog::sinks::base_sink<std::mutex> {
  public:
    explicit LogSink(int descriptor);

  protected:
    void sink_it_(const spdlog::details::log_msg& message) override;
    void flush_() override {}

  private:
    bool write(const char* text, std::size_t size);

    /// The same pipe or terminal, never waited for. None: a socket, a file, or it is another user's.
    dataplane::Descriptor own_;
    int descriptor_;
    std::uint64_t dropped_ = 0; ///< lines since the last that went through
};

/// Datagrams of fields (systemd's "Native Journal Protocol"): MESSAGE, PRIORITY as syslog(3) has it, and
/// SYSLOG_IDENTIFIER. journald may be away or restarted.
class JournalSink final : public spdlog::sinks::base_sink<std::mutex> {
  public:
    static constexpr const char* usual_socket = "/run/systemd/journal/socket";
    explicit JournalSink(const std::string& path = usual_socket);

  protected:
    void sink_it_(const spdlog::details::log_msg& message) override;
    void flush_() override {}

  private:
    bool send(spdlog::level::level_enum level, std::string_view text);

    dataplane::Descriptor socket_;
    dataplane::UnixAddress address_;
    std::uint64_t dropped_ = 0;
};

} // namespace millrace::control
