// Who may ask. Immutable; read by every worker.
#pragma once

#include <algorithm>
#include <vector>

#include "dataplane/address.hpp"

namespace millrace::dataplane {

class Access {
  public:
    explicit Access(std::vector<Prefix> allowed) : allowed_(std::move(allowed)) {}

    bool allows(const Address& client) const {
        return std::ranges::any_of(allowed_, [&](const Prefix& p) { return p.contains(client); });
    }

  private:
    std::vector<Prefix> allowed_;
};

} // namespace millrace::dataplane
