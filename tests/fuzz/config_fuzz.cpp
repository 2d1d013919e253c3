// Whatever the text, parse_config gives a Config or an error; a Config prints as text that parses back to it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "control/config/config.hpp"
#include "tests/fuzz/work.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    millrace::fuzz::Work work({.for_input = 400'000, .for_octet = 1'500}, size);
    using namespace millrace::control;
    auto config = parse_config({reinterpret_cast<const char*>(data), size}, "fuzz");
    if (!config) {
        if (to_string(config.error()).size() < 10) std::abort();
        return 0;
    }
    auto again = parse_config(to_yaml(*config), "again");
    if (!again || !(*again == *config)) std::abort();
    return 0;
}
