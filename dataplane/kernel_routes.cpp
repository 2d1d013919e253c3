#include "dataplane/kernel_routes.hpp"

#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>

namespace millrace::dataplane {

namespace {

std::uint32_t v4_key(const Address& address) {
    std::uint32_t word;
    std::memcpy(&word, address.v4_octets(), sizeof word);
    return __builtin_bswap32(word);
}

__uint128_t v6_key(const Address& address) {
    std::uint64_t words[2];
    std::memcpy(words, address.octets.data(), sizeof words);
    return __uint128_t(__builtin_bswap64(words[0])) << 64 | __builtin_bswap64(words[1]);
}

/// Ones behind the first `length` bits.
template <class Key>
Key rest(std::uint32_t length) {
    constexpr auto bits = std::uint32_t(8 * sizeof(Key));
    return length == 0 ? Key(~Key(0)) : Key((Key(1) << (bits - length)) - 1);
}

} // namespace

/// The prefixes in rising order, outer ones before those within; `open` are those around the key that we have
/// come to, with their last keys.
template <class Key>
KeyRanges<Key>::KeyRanges(std::vector<Prefix> prefixes) {
    for (Prefix& prefix : prefixes) prefix.first = Key(prefix.first & Key(~rest<Key>(prefix.length)));
    std::ranges::stable_sort(prefixes, [](const Prefix& a, const Prefix& b) {
        return std::tie(a.first, a.length, a.priority) < std::tie(b.first, b.length, b.priority);
    });
    std::vector<std::pair<Key, std::uint32_t>> open;
    auto close_before = [&](Key key) {
        while (!open.empty() && open.back().first < key) {
            auto behind = Key(open.back().first + 1);
            open.pop_back();
            begin(behind, open.empty() ? 0 : open.back().second);
        }
    };
    const Prefix* before = nullptr;
    for (const Prefix& prefix : prefixes) {
        bool again = before && before->first == prefix.first && before->length == prefix.length;
        before = &prefix;
        if (again) continue;
        close_before(prefix.first);
        begin(prefix.first, prefix.value);
        open.emplace_back(Key(prefix.first | rest<Key>(prefix.length)), prefix.value);
    }
    close_before(Key(~Key(0))); // those that end at the last key go on for ever
    starts_.shrink_to_fit();
    values_.shrink_to_fit();
}

/// From `start` on, which is not below any before, until something else begins.
template <class Key>
void KeyRanges<Key>::begin(Key start, std::uint32_t value) {
    if (starts_.back() == start) {
        starts_.pop_back();
        values_.pop_back();
    }
    if (!values_.empty() && values_.back() == value) return;
    starts_.push_back(start);
    values_.push_back(value);
}

template <class Key>
std::uint32_t KeyRanges<Key>::find(Key key) const {
    const Key* at = starts_.data();
    for (std::size_t count = starts_.size(); count > 1;) { // without a branch that could be mispredicted
        std::size_t half = count / 2;
        at += at[half] <= key ? half : 0;
        count -= half;
    }
    return values_[std::size_t(at - starts_.data())];
}

template class KeyRanges<std::uint32_t>;
template class KeyRanges<__uint128_t>;

void KernelRoutes::add(const Prefix& to, std::uint32_t priority, std::vector<KernelHop> hops) {
    auto [known, is_new] = draft_.ways.try_emplace(std::move(hops), std::uint32_t(ways_.size()));
    if (known->first.empty()) known->second = 0;
    if (is_new && !known->first.empty()) ways_.push_back(known->first);
    ++size_;
    if (to.address.is_v4()) {
        draft_.v4.push_back({v4_key(to.address), to.bits - 96, priority, known->second});
    } else {
        draft_.v6.push_back({v6_key(to.address), to.bits, priority, known->second});
    }
}

void KernelRoutes::seal() {
    v4_ = KeyRanges<std::uint32_t>(std::move(draft_.v4));
    v6_ = KeyRanges<V6>(std::move(draft_.v6));
    draft_ = {};
}

std::uint32_t KernelRoutes::way(const Address& to) const {
    return to.is_v4() ? v4_.find(v4_key(to)) : v6_.find(v6_key(to));
}

} // namespace millrace::dataplane
