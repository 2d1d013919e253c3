// Answers that were completed, under other names, from what a Fetch had published while it was still at work.
// When a validator finds that bogus, they go with it.
//
// Each is noted with the generation of that Fetch, however many names lie between; what is made of two
// answers (DNS64) with both. When the Fetch has ended
// its notes go, and after a revocation what they stand for, a bounded number per tick: thousands of names may
// lead to one. What there is no room to note is not kept in the table. Control thread only.
#pragma once

#include <deque>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cache/table.hpp"

namespace millrace::control {

class Completions {
  public:
    explicit Completions(cache::Table& table) : table_(table) {}

    /// A Fetch is at work: until its end, its answer may be revoked.
    void begin(cache::Generation root) { roots_.try_emplace(root); }
    /// `generation`: what the answer was published under. Of a root that has ended nothing is noted.
    void note(cache::Generation root, const cache::Key& key, cache::Hash hash, cache::Generation generation);
    /// On whose answer that of the key depends, of several the newest; 0: on nobody's.
    cache::Generation root_of(cache::Hash hash) const;
    std::vector<cache::Generation> roots_of(cache::Hash hash) const; ///< all of them, the oldest first
    bool depends(cache::Hash hash, cache::Generation root) const { return completed_.contains({hash, root}); }

    void revoke(cache::Generation root);
    void end(cache::Generation root); ///< the last that is heard of it

    void tick();
    bool is_due() const { return !ended_.empty(); }
    std::size_t size() const { return size_; }

  private:
    using Note = std::pair<cache::Hash, cache::Generation>; ///< of the name, and of the root
    struct Completed {
        cache::Key key;
        cache::Generation generation;
    };
    struct Root {
        std::vector<cache::Hash> names; ///< some may have been answered anew since
        bool is_revoked = false;
    };
    void take_away(cache::Hash hash, cache::Generation root, bool is_revoked);

    cache::Table& table_;
    std::map<Note, Completed> completed_;
    std::unordered_map<cache::Generation, Root> roots_; ///< those at work, and those that still have names
    std::deque<cache::Generation> ended_;
    std::size_t size_ = 0; ///< names of all roots
};

} // namespace millrace::control
