// Who may ask. Read by every worker without a lock; control replaces the list whole.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "cache/grace.hpp"
#include "dataplane/address.hpp"

namespace millrace::dataplane {

class Access {
  public:
    explicit Access(std::vector<Prefix> allowed) : list_(new List(std::move(allowed))) {}
    ~Access() { delete list_.load(std::memory_order_relaxed); }
    Access(const Access&) = delete;
    Access& operator=(const Access&) = delete;

    /// A registered, online reader; control too.
    bool allows(const Address& client) const {
        // Acquire: without it the list's insides could be read from before they were written.
        const List* list = list_.load(std::memory_order_acquire);
        return std::ranges::any_of(list->prefixes, [&](const Prefix& p) { return p.contains(client); });
    }

    /// Control. Bursts that begin after the next grace period see the new list.
    void replace(std::vector<Prefix> allowed, cache::Grace& grace) {
        const List* before = list_.exchange(new List(std::move(allowed)), std::memory_order_acq_rel);
        grace.retire(std::unique_ptr<cache::Retired>(const_cast<List*>(before)));
    }

  private:
    struct List final : cache::Retired {
        explicit List(std::vector<Prefix> allowed) : prefixes(std::move(allowed)) {}
        std::size_t bytes() const override { return sizeof(List) + prefixes.capacity() * sizeof(Prefix); }
        std::vector<Prefix> prefixes;
    };
    std::atomic<const List*> list_;
};

} // namespace millrace::dataplane
