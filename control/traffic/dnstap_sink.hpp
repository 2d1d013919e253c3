// Where dnstap's frames go: a Unix socket, TCP, or a file, as Frame Streams (libfstrm).
//
// It waits for whoever reads, and when it is told to stop for a moment more. Threads: one, which
// is not control's; stop() by any. Errors are sentences without the place.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "cache/time.hpp"
#include "control/config/config.hpp"
#include "dataplane/descriptor.hpp"

struct fstrm_writer;
struct iovec;

namespace millrace::control {

class DnstapSink {
  public:
    explicit DnstapSink(const Config::DnstapTarget& target);
    ~DnstapSink();
    DnstapSink(const DnstapSink&) = delete;
    DnstapSink& operator=(const DnstapSink&) = delete;

    /// Connects, or creates the file; one of the same name,
    /// of an earlier run, becomes NAME.old. Not open before.
    tl::expected<void, std::string> open();
    bool is_open() const { return writer_ != nullptr; }
    /// All frames. Else none of them is in the file, which stays open; a connection is closed.
    tl::expected<void, std::string> write(std::span<const std::vector<std::uint8_t>> frames);
    /// Says goodbye; the reader has a moment for its own.
    void close();

    /// What waits fails soon. Any thread.
    void stop();

  private:
    struct Callbacks;
    tl::expected<dataplane::Descriptor, std::string> connect();
    bool wait(short events, Time longest);
    bool write_all(std::span<const iovec> parts);
    bool read_all(void* to, std::size_t octets);

    Config::DnstapTarget target_;
    dataplane::Descriptor stopped_; ///< an eventfd
    dataplane::Descriptor to_;
    fstrm_writer* writer_ = nullptr;
    std::string error_; ///< the latest of to_
    bool has_made_file_ = false;
    Time end_{}; ///< of all waiting, once it is to stop; 0: it is not
};

} // namespace millrace::control
