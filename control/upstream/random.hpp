// Where message IDs and 0x20 bits come from (RFC 5452 9.2); source ports are the Network's. An interface, so
// that tests can force every draw. Control thread only.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <utility>

#include <unistd.h>

namespace millrace::control {

class Random {
  public:
    virtual ~Random() = default;

    virtual std::uint16_t id() = 0; ///< 0 to 65535
    virtual std::uint64_t bits() = 0;
};

/// The kernel's generator, 32 draws at a time. Predictable to nobody.
class SystemRandom final : public Random {
  public:
    std::uint16_t id() override { return std::uint16_t(bits()); }
    std::uint64_t bits() override {
        if (next_ == drawn_.size()) refill();
        return std::exchange(drawn_[next_++], 0);
    }

  private:
    void refill() {
        if (getentropy(drawn_.data(), sizeof drawn_) != 0) std::abort(); // no kernel without it
        next_ = 0;
    }

    std::array<std::uint64_t, 32> drawn_{}; // 256 octets: what getentropy() gives at once
    std::size_t next_ = drawn_.size();
};

/// Of ASCII.
bool is_letter(std::uint8_t octet);

/// Draws the case of each letter of `name` (wire format) anew (draft-vixie-dnsext-dns0x20).
void randomise_case(std::span<std::uint8_t> name, Random& random);

} // namespace millrace::control
