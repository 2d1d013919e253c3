#include "tests/simulation/memory_watch.hpp"

#include <cstdlib>
#include <cstring>
#include <unordered_map>
#include <vector>

namespace millrace::simulation {

namespace {

constexpr int pattern = 0xdd;

struct Watch {
    MemoryListener* listener = nullptr;
    bool is_recording = false;
    std::unordered_map<void*, std::size_t> live; ///< and its size
    std::vector<void*> freed;
};

Watch& watch() {
    static Watch the_one;
    return the_one;
}

} // namespace

void begin_watch(MemoryListener& listener) {
    watch().listener = &listener;
    watch().is_recording = true;
}

void end_watch() {
    watch().listener = nullptr;
}

} // namespace millrace::simulation

// Called instead of malloc and free by everything that is linked statically: the product and the simulation.
// Both reach operator new, which is not led here, for all but Entries.
extern "C" {

// NOLINTBEGIN: the linker chooses these names
void* __real_malloc(std::size_t size);
void __real_free(void* memory);

void* __wrap_malloc(std::size_t size) {
    void* memory = __real_malloc(size);
    auto& watch = millrace::simulation::watch();
    if (watch.is_recording && memory) watch.live.emplace(memory, size);
    return memory;
}

void __wrap_free(void* memory) {
    auto& watch = millrace::simulation::watch();
    auto found = memory && watch.is_recording ? watch.live.find(memory) : watch.live.end();
    if (found == watch.live.end()) return __real_free(memory);
    if (watch.listener) watch.listener->on_free(memory);
    std::memset(memory, millrace::simulation::pattern, found->second);
    watch.live.erase(found);
    watch.freed.push_back(memory);
}
// NOLINTEND
}

namespace millrace::simulation {

std::size_t forget_watched() {
    watch().is_recording = false;
    for (void* memory : watch().freed) __real_free(memory);
    watch().freed.clear();
    std::size_t left = watch().live.size();
    watch().live.clear();
    return left;
}

} // namespace millrace::simulation
