// Memory that runs out when a test says so: operator new of the whole test program.
#pragma once

#include <cstdint>

namespace millrace::support {

/// While it lives, one allocation of the threads that it concerns fails: the `nth` from now, from 1. Whether
/// there was one is told by has_failed().
class FailingMemory {
  public:
    enum class Of : std::uint8_t { this_thread, other_threads };
    FailingMemory(Of whose, std::uint64_t nth);
    ~FailingMemory();
    FailingMemory(const FailingMemory&) = delete;
    FailingMemory& operator=(const FailingMemory&) = delete;
    bool has_failed() const;
};

} // namespace millrace::support
