#include "dataplane/ring.hpp"

#include <cstddef>
#include <cstdlib>
#include <new>

#include <rte_ring.h>
#include <rte_ring_elem.h>

namespace millrace::dataplane {

void FreeRing::operator()(rte_ring* ring) const {
    std::free(ring);
}

Ring make_ring(const char* name, unsigned element_octets, unsigned places) {
    ssize_t octets = rte_ring_get_memsize_elem(element_octets, places);
    auto rounded =
        (std::size_t(octets) + RTE_CACHE_LINE_SIZE - 1) / RTE_CACHE_LINE_SIZE * RTE_CACHE_LINE_SIZE;
    Ring ring(static_cast<rte_ring*>(std::aligned_alloc(RTE_CACHE_LINE_SIZE, rounded)));
    if (!ring || rte_ring_init(ring.get(), name, places, RING_F_SP_ENQ | RING_F_SC_DEQ) != 0) {
        throw std::bad_alloc();
    }
    return ring;
}

/// rte_ring_empty() reads the producer's tail as a plain volatile, which is a data race in C++.
bool is_empty(const rte_ring* ring) {
    return __atomic_load_n(&ring->prod.tail, __ATOMIC_RELAXED) == ring->cons.tail;
}

} // namespace millrace::dataplane
