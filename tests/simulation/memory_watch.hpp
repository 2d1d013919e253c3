// Watches the memory of Entries: the product's malloc and free are led through here by the linker (--wrap).
//
// A freed Entry is filled with a pattern and kept until the run's end, so that whoever reads it later reads
// nonsense, never another Entry in the same place; and the checks hear of it at the moment when it is freed.
#pragma once

#include <cstddef>

namespace millrace::simulation {

class MemoryListener {
  public:
    virtual ~MemoryListener() = default;
    virtual void on_free(const void* memory) = 0;
};

/// Allocations from here on are watched until end().
void begin_watch(MemoryListener& listener);
/// Nobody listens any more.
void end_watch();
/// Gives freed memory back; returns how many watched blocks were never freed.
std::size_t forget_watched();

} // namespace millrace::simulation
