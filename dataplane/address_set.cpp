#include "dataplane/address_set.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace millrace::dataplane {

namespace {

/// ::ffff:0:0/96 is IPv4's, and what lies before and behind it IPv6's (RFC 4291 2.5.5.2).
constexpr Address last_before_v4{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff}};
constexpr Address first_behind_v4{{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}};

} // namespace

Address filled(Address address, unsigned bits, bool ones) {
    for (unsigned at = 0; at < address.octets.size(); ++at) {
        unsigned kept = unsigned(std::clamp(int(bits) - int(at) * 8, 0, 8));
        auto rest = std::uint8_t(0xff >> kept);
        address.octets[at] = std::uint8_t(ones ? address.octets[at] | rest : address.octets[at] & ~rest);
    }
    return address;
}

/// Basic algorithm: prefixes nest or are disjoint, and so are what is left of those of IPv6 that have IPv4 in
/// their middle, so in rising order each one either lies within the range before it or begins a new one.
AddressSet::AddressSet(const std::vector<Prefix>& prefixes) {
    std::vector<Range> all;
    for (const Prefix& p : prefixes) {
        Address first = filled(p.address, p.bits, false), last = filled(p.address, p.bits, true);
        bool around_v4 = !p.address.is_v4() && first <= last_before_v4 && last > last_before_v4;
        all.push_back({first, around_v4 ? last_before_v4 : last});
        if (around_v4 && last >= first_behind_v4) all.push_back({first_behind_v4, last});
    }
    std::ranges::sort(all, [](const Range& a, const Range& b) {
        return a.first != b.first ? a.first < b.first : a.last > b.last;
    });
    for (const Range& range : all) {
        if (ranges_.empty() || ranges_.back().last < range.first) ranges_.push_back(range);
    }
}

bool AddressSet::contains(const Address& address) const {
    auto above = std::ranges::upper_bound(ranges_, address, {}, &Range::first);
    return above != ranges_.begin() && address <= std::prev(above)->last;
}

} // namespace millrace::dataplane
