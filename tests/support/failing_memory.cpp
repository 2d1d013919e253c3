#include "tests/support/failing_memory.hpp"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace millrace::support {

namespace {

std::atomic<std::uint64_t> left{0}; // allocations until the one that fails; 0: none does
std::atomic<bool> concerns_others{false};
thread_local bool is_tester = false;

bool fails() {
    if (left.load(std::memory_order_relaxed) == 0) return false;
    if (is_tester == concerns_others.load(std::memory_order_relaxed)) return false;
    std::uint64_t before = left.load();
    while (before > 0 && !left.compare_exchange_weak(before, before - 1)) {
    }
    return before == 1;
}

void* take(std::size_t size, std::size_t alignment) {
    std::size_t rounded = (size + alignment) / alignment * alignment; // never 0
    void* memory = fails() ? nullptr : std::aligned_alloc(alignment, rounded);
    if (!memory) throw std::bad_alloc();
    return memory;
}

} // namespace

FailingMemory::FailingMemory(Of whose, std::uint64_t nth) {
    is_tester = true;
    concerns_others = whose == Of::other_threads;
    left = nth;
}

FailingMemory::~FailingMemory() {
    left = 0;
    is_tester = false;
}

bool FailingMemory::has_failed() const {
    return left == 0;
}

} // namespace millrace::support

using millrace::support::take;

// The other forms call these.
void* operator new(std::size_t size) {
    return take(size, alignof(std::max_align_t));
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    return take(size, std::size_t(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept try {
    return take(size, alignof(std::max_align_t));
} catch (const std::bad_alloc&) {
    return nullptr;
}
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept try {
    return take(size, std::size_t(alignment));
} catch (const std::bad_alloc&) {
    return nullptr;
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
    std::free(memory);
}
