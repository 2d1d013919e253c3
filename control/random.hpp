// Where message IDs and 0x20 bits come from (RFC 5452 9.2); source ports are the Network's. An interface, so
// that tests can force every draw. Control thread only.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace millrace::control {

class Random {
  public:
    virtual ~Random() = default;

    virtual std::uint16_t id() = 0; ///< 0 to 65535
    virtual std::uint64_t bits() = 0;
};

/// The kernel-seeded generator of glibc. Predictable to nobody.
class SystemRandom final : public Random {
  public:
    std::uint16_t id() override { return std::uint16_t(arc4random()); }
    std::uint64_t bits() override {
        std::uint64_t drawn;
        arc4random_buf(&drawn, sizeof drawn);
        return drawn;
    }
};

} // namespace millrace::control
