#include "tests/simulation/ranking.hpp"

#include <algorithm>

namespace millrace::simulation {

bool SimulatedRanker::rank(control::FetchId fetch, std::span<const dataplane::Address> addresses) {
    const Chance& chance = scene_.chance;
    if (!scene_.has(Danger::ranking) || chance.is(100, Topic::ranking, fetch.generation)) return false;
    Order order{fetch, {addresses.begin(), addresses.end()}};
    auto turn = std::ptrdiff_t(chance.below(order.addresses.size(), Topic::ranking, 1, fetch.generation));
    std::rotate(order.addresses.begin(), order.addresses.begin() + turn, order.addresses.end());
    if (chance.is(200, Topic::ranking, 2, fetch.generation)) order.addresses.pop_back(); // one did not answer
    bool is_late = chance.is(200, Topic::ranking, 3, fetch.generation);
    Time delay = chance.between(1ms, is_late ? Time(3s) : Time(300ms), Topic::ranking, 4, fetch.generation);
    orders_.emplace(scene_.now + delay, std::move(order));
    return true;
}

void SimulatedRanker::cancel(control::FetchId fetch) {
    if (scene_.chance.is(500, Topic::ranking, 5, fetch.generation)) return; // it is on its way already
    std::erase_if(orders_, [&](const auto& entry) { return entry.second.fetch == fetch; });
}

bool SimulatedRanker::take(Order& order) {
    if (next() > scene_.now) return false;
    order = std::move(orders_.begin()->second);
    orders_.erase(orders_.begin());
    return true;
}

} // namespace millrace::simulation
