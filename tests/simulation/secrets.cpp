// The secrets of keyed hashes, which are drawn at start, are the same in every run, as is whatever else hangs
// on them: whose bucket is whose, who gives way of those that hold as much.
#include <cstddef>
#include <cstdint>

// Called instead of arc4random_buf by everything that is linked statically.
// NOLINTBEGIN: the linker chooses its name
extern "C" void __wrap_arc4random_buf(void* memory, std::size_t size) {
    std::uint64_t state = 0x9e3779b97f4a7c15u;
    for (auto* octet = static_cast<std::uint8_t*>(memory); size > 0; --size, ++octet) {
        state = state * 0x5851f42d4c957f2du + 0x14057b7ef767814fu;
        *octet = std::uint8_t(state >> 56);
    }
}
// NOLINTEND
