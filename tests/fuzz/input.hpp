// What a fuzz target draws its choices from: the input's octets, front to back, then zeros.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

namespace millrace::fuzz {

class Input {
  public:
    Input(const std::uint8_t* data, std::size_t size) : octets_(data, size) {}

    bool empty() const { return octets_.empty(); }
    unsigned u8() {
        if (octets_.empty()) return 0;
        unsigned octet = octets_.front();
        octets_ = octets_.subspan(1);
        return octet;
    }
    unsigned u16() {
        unsigned high = u8();
        return high << 8 | u8();
    }
    bool flag() { return u8() & 1; }
    /// Up to `count` octets, in a heap block of their own size: ASan sees a read past the end.
    std::vector<std::uint8_t> take(std::size_t count) {
        auto part = octets_.first(std::min(count, octets_.size()));
        octets_ = octets_.subspan(part.size());
        return {part.begin(), part.end()};
    }
    std::vector<std::uint8_t> rest() { return take(octets_.size()); }

  private:
    std::span<const std::uint8_t> octets_;
};

inline void require(bool holds) {
    if (!holds) std::abort();
}

} // namespace millrace::fuzz
