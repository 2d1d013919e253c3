// Addresses of any of some prefixes, of both families. Immutable once made; any thread.
#pragma once

#include <cstddef>
#include <vector>

#include "dataplane/address.hpp"

namespace millrace::dataplane {

/// The address with all bits from `bits` on set to ones, or to zeros.
Address filled(Address address, unsigned bits, bool ones);

class AddressSet {
  public:
    AddressSet() = default;
    explicit AddressSet(const std::vector<Prefix>& prefixes);

    bool contains(const Address& address) const;
    std::size_t bytes() const { return ranges_.capacity() * sizeof(Range); } ///< beside the object

  private:
    /// The prefixes as disjoint ranges in rising order: one binary search. (rte_lpm and rte_fib allocate from
    /// EAL's heap, which a daemon on kernel sockets alone does not have.)
    struct Range {
        Address first, last;
    };
    std::vector<Range> ranges_;
};

} // namespace millrace::dataplane
