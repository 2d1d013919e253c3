// Where the daemon's log goes: standard error, and never waits for it.
//
// A reader that stops must not stop control. What a pipe, a socket or a terminal does not take at once is
// dropped, and the next line that goes through says how much was. Threads: any (spdlog's mutex).
#pragma once

#include <cstdint>
#include <mutex>

#include <spdlog/sinks/base_sink.h>

#include "dataplane/descriptor.hpp"

namespace millrace::control {

class LogSink final : public spdlog::sinks::base_sink<std::mutex> {
  public:
    explicit LogSink(int descriptor);

  protected:
    void sink_it_(const spdlog::details::log_msg& message) override;
    void flush_() override {}

  private:
    bool write(const char* text, std::size_t size);

    dataplane::Descriptor own_; ///< the same pipe or terminal, never waited for; none: a socket or a file
    int descriptor_;
    std::uint64_t dropped_ = 0; ///< lines since the last that went through
};

} // namespace millrace::control
