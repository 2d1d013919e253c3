// An rte_ring in memory of our own, which needs no EAL. One producer, one consumer; elements are copied.
#pragma once

#include <memory>

struct rte_ring;

namespace millrace::dataplane {

struct FreeRing {
    void operator()(rte_ring* ring) const;
};
using Ring = std::unique_ptr<rte_ring, FreeRing>;

/// `places` is a power of two, one of which stays empty; an element's octets
/// are a multiple of 4. Throws std::bad_alloc.
Ring make_ring(const char* name, unsigned element_octets, unsigned places);

/// For the consumer.
bool is_empty(const rte_ring* ring);

} // namespace millrace::dataplane
