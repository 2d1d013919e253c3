#include "control/fetch/completions.hpp"

#include <iterator>
#include <limits>

#include "control/limits.hpp"

namespace millrace::control {

void Completions::note(cache::Generation root, const cache::Key& key, cache::Hash hash,
                       cache::Generation generation) {
    auto at = roots_.find(root);
    if (at == roots_.end()) return;
    bool is_noted = completed_.contains({hash, root});
    if (!is_noted && size_ >= limits::completions) return table_.withdraw(key, hash);
    completed_.insert_or_assign({hash, root}, Completed{key, generation});
    if (is_noted) return;
    at->second.names.push_back(hash);
    ++size_;
}

cache::Generation Completions::root_of(cache::Hash hash) const {
    auto after = completed_.upper_bound({hash, std::numeric_limits<cache::Generation>::max()});
    bool is_noted = after != completed_.begin() && std::prev(after)->first.first == hash;
    return is_noted ? std::prev(after)->first.second : 0;
}

std::vector<cache::Generation> Completions::roots_of(cache::Hash hash) const {
    std::vector<cache::Generation> roots;
    for (auto at = completed_.lower_bound({hash, 0}); at != completed_.end() && at->first.first == hash; ++at)
        roots.push_back(at->first.second);
    return roots;
}

void Completions::revoke(cache::Generation root) {
    if (auto at = roots_.find(root); at != roots_.end()) at->second.is_revoked = true;
}

void Completions::end(cache::Generation root) {
    auto at = roots_.find(root);
    if (at->second.names.empty()) {
        roots_.erase(at);
    } else {
        ended_.push_back(root);
    }
}

void Completions::tick() {
    for (unsigned step = 0; step < limits::completions_per_tick && !ended_.empty(); ++step) {
        auto at = roots_.find(ended_.front());
        auto& [root, its] = *at;
        take_away(its.names.back(), root, its.is_revoked);
        its.names.pop_back();
        --size_;
        if (!its.names.empty()) continue;
        roots_.erase(at);
        ended_.pop_front();
    }
}

void Completions::take_away(cache::Hash hash, cache::Generation root, bool is_revoked) {
    auto at = completed_.find({hash, root});
    const Completed& one = at->second;
    const cache::Entry* entry = is_revoked ? table_.find(one.key, hash) : nullptr;
    if (entry && entry->version.generation == one.generation) table_.withdraw(one.key, hash);
    completed_.erase(at);
}

} // namespace millrace::control
