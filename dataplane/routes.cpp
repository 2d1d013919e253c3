#include "dataplane/routes.hpp"

#include <algorithm>
#include <bit>

#include "dataplane/labels.hpp"

namespace millrace::dataplane {

Routes::Routes(std::span<const Route> routes) : buckets_(std::bit_ceil(2 * routes.size() + 1)) {
    for (const Route& route : routes) {
        auto name = route.suffix.bytes();
        std::uint64_t hash = hash_of(name);
        Bucket& bucket = buckets_[place_of(hash, name)];
        if (bucket.suffix != none) continue;
        Labels labels(name);
        bucket = {std::uint32_t(hash >> 32), std::uint32_t(suffixes_.size())};
        suffixes_.push_back({std::uint32_t(names_.size()), std::uint8_t(name.size()), route.group});
        names_.insert(names_.end(), name.begin(), name.end());
        most_labels_ = std::max(most_labels_, labels.count);
        if (labels.count == 0) root_ = route.group;
    }
}

/// The bucket that has the name, or the empty one where it would be.
std::size_t Routes::place_of(std::uint64_t hash, std::span<const std::uint8_t> name) const {
    std::size_t mask = buckets_.size() - 1, at = hash & mask;
    for (; buckets_[at].suffix != none; at = (at + 1) & mask) {
        if (buckets_[at].tag != hash >> 32) continue;
        const Suffix& suffix = suffixes_[buckets_[at].suffix];
        if (std::ranges::equal(std::span(names_).subspan(suffix.name, suffix.size), name)) break;
    }
    return at;
}

std::uint8_t Routes::find(std::span<const std::uint8_t> name) const {
    Labels labels(name);
    std::uint8_t group = root_;
    std::uint64_t hash = 0;
    unsigned last = labels.count - std::min(labels.count, most_labels_);
    for (unsigned i = labels.count; i-- > last;) {
        hash = extended(hash, name.data() + labels.starts[i]);
        const Bucket& bucket = buckets_[place_of(hash, name.subspan(labels.starts[i]))];
        if (bucket.suffix != none) group = suffixes_[bucket.suffix].group;
    }
    return group;
}

} // namespace millrace::dataplane
