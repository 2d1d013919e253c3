// Messages of any length through a ring, by value: each takes as many elements as it needs, put in at once.
// One producer, one consumer; neither allocates, locks or waits after construction.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include <rte_ring_elem.h>

#include "dataplane/limits.hpp"
#include "dataplane/ring.hpp"

namespace millrace::dataplane {

/// Head: what is known of a message, plain bytes; its member `size` is the number of the octets that follow.
template <class Head>
class MessageRing {
    static constexpr std::size_t element = limits::log_element;
    static_assert(std::is_trivially_copyable_v<Head> && sizeof(Head) <= element);

  public:
    /// `places` are a power of two, of limits::log_element octets each; `longest` message in octets.
    /// Throws std::bad_alloc when there is no memory for them.
    MessageRing(std::size_t places, std::size_t longest)
        : ring_(make_ring("messages", element, unsigned(places))), longest_(longest),
          copy_(elements_of(longest) * element) {}

    /// The producer. `message` is cut where it is too long. False: the ring is full.
    bool put(const Head& what, std::span<const std::uint8_t> message) {
        message = message.first(std::min(message.size(), longest_));
        Head head = what;
        head.size = std::uint16_t(message.size());
        std::memcpy(copy_.data(), &head, sizeof head);
        if (!message.empty()) std::memcpy(copy_.data() + sizeof head, message.data(), message.size());
        return rte_ring_enqueue_bulk_elem(ring_.get(), copy_.data(), element, elements_of(message.size()),
                                          nullptr) != 0;
    }

    /// The consumer. `place(octets)` says where so many octets have room: the message's `size`, and what
    /// fills its last element. False: there is none at the moment.
    template <class Place>
    bool take(Head& what, const Place& place) {
        std::array<std::uint8_t, element> first;
        if (rte_ring_dequeue_elem(ring_.get(), first.data(), element) != 0) return false;
        std::memcpy(static_cast<void*>(&what), first.data(), sizeof what);
        constexpr std::size_t in_first = element - sizeof what;
        unsigned more = elements_of(what.size) - 1;
        std::uint8_t* to = place(in_first + more * element);
        std::memcpy(to, first.data() + sizeof what, in_first);
        // All of a message's elements were put in at once.
        if (more > 0) rte_ring_dequeue_bulk_elem(ring_.get(), to + in_first, element, more, nullptr);
        return true;
    }
    /// The octets that take() may ask a place for, at most.
    static constexpr std::size_t room_of(std::size_t longest) {
        return elements_of(longest) * element - sizeof(Head);
    }
    bool is_empty() const { return dataplane::is_empty(ring_.get()); } ///< the consumer

  private:
    static constexpr unsigned elements_of(std::size_t octets) {
        return unsigned((sizeof(Head) + octets + element - 1) / element);
    }

    Ring ring_;
    std::size_t longest_;
    std::vector<std::uint8_t> copy_; ///< the producer's: head and octets, as they go into the ring
};

} // namespace millrace::dataplane
