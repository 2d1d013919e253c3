// The client's side of a net_ring port in the same process: queries in, answers out, every answer checked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <rte_mbuf.h>

#include "cache/table.hpp"
#include "dataplane/ethdev.hpp"
#include "tests/dataplane/frames.hpp"

namespace millrace::bench {

/// Names with a number each, and the address that the answer for it must have.
struct NumberedName {
    static constexpr unsigned digits = 7;
    static std::string name(std::uint32_t number); ///< "n0000042.bench.example"
    static std::array<std::uint8_t, 4> address(std::uint32_t number) {
        return {10, std::uint8_t(number >> 16), std::uint8_t(number >> 8), std::uint8_t(number)};
    }
    static cache::EntryPtr entry(std::uint32_t number, cache::Generation generation, Time born, Time ttl);
};

/// In which order numbers below `count` are asked for.
class Order {
  public:
    enum class Kind : std::uint8_t { uniform, zipf };
    Order(Kind kind, std::uint32_t count);
    std::uint32_t next() { return drawn_[at_++ & (drawn_.size() - 1)]; }

  private:
    std::vector<std::uint32_t> drawn_; ///< a power of two of them
    std::size_t at_ = 0;
};

/// Starts EAL for rings: without huge pages, NICs and files. Lcore 0 is the calling thread, on the last CPU;
/// with `two` it is on the first, and lcore 1 on the last. False: it has said why.
bool start_eal(bool two = false, unsigned megabytes = 512);

/// Used by one thread. Needs EAL.
class RingWire {
  public:
    static constexpr unsigned burst = dataplane::limits::burst;

    explicit RingWire(const std::string& name, unsigned places = 256);

    /// Puts one query for each number on the wire. False: no room, none was sent.
    bool send(const std::uint32_t* numbers, unsigned count);
    /// Takes what the port sent, up to a burst, and counts what is not the answer to its own question.
    /// `echoes`: what came back need not be an answer.
    unsigned receive(bool echoes = false);

    std::uint16_t id;
    std::optional<dataplane::Ethdev> ethdev;
    std::uint64_t wrong = 0;

  private:
    bool is_right(const rte_mbuf& mbuf) const;

    rte_ring *to_port_, *from_port_;
    tests::Bytes query_; ///< of number 0
};

} // namespace millrace::bench
