// The names that readers ask for and the owner answers, each prepared as key, hash and query.
#pragma once

#include <random>
#include <vector>

#include "cache/table.hpp"
#include "tests/stress/options.hpp"
#include "tests/support/messages.hpp"

namespace millrace::stress {

struct Name {
    cache::Key key;
    cache::Hash hash;
    test::Bytes query; ///< with EDNS; ID 0
};

class Names {
  public:
    explicit Names(const cache::Hasher& hasher);

    const Name& operator[](std::size_t index) const { return names_[index]; }
    std::size_t size() const { return names_.size(); }
    static unsigned index_of(const cache::Key& key);
    static unsigned zone_of(unsigned index) { return index % zone_count; }

    /// Half of the time a hot one, an eighth of the time any.
    static unsigned pick(std::mt19937_64& chance);

  private:
    std::vector<Name> names_;
};

} // namespace millrace::stress
