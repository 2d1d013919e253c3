#pragma once

#include <algorithm>
#include <vector>

namespace millrace::bench {

/// The value below which `share` of them lie. There is at least one.
template <class Value>
Value quantile(std::vector<Value> values, double share) {
    auto at = values.begin() + std::ptrdiff_t(double(values.size() - 1) * share + 0.5);
    std::ranges::nth_element(values, at);
    return *at;
}

} // namespace millrace::bench
