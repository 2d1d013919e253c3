// Who orders the addresses of an answer, best first, by measuring them. Control thread only.
#pragma once

#include <span>

#include "control/upstream/fetch_id.hpp"
#include "dataplane/address.hpp"

namespace millrace::control {

class Ranker {
  public:
    virtual ~Ranker() = default;

    /// Begins to rank for this Fetch; the result goes to FetchTable::on_ranked, later, from a tick: an order,
    /// or nothing where no address could be measured. False: no.
    virtual bool rank(FetchId fetch, std::span<const dataplane::Address> addresses) = 0;
    /// Nobody wants it any more. Unknown ones are ignored.
    virtual void cancel(FetchId fetch) = 0;
};

} // namespace millrace::control
