#include "control/upstream/random.hpp"

namespace millrace::control {

bool is_letter(std::uint8_t c) {
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

void randomise_case(std::span<std::uint8_t> name, Random& random) {
    std::uint64_t bits = 0;
    unsigned left = 0;
    // A label's length is at most 63, below every letter, so lengths need not be told from letters.
    for (std::uint8_t& c : name) {
        if (!is_letter(c)) continue;
        if (left == 0) bits = random.bits(), left = 64;
        c = std::uint8_t((c & ~0x20) | (bits & 1 ? 0x20 : 0));
        bits >>= 1;
        --left;
    }
}

} // namespace millrace::control
