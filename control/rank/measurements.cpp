#include "control/rank/measurements.hpp"

#include <algorithm>
#include <functional>

namespace millrace::control {

using dataplane::Address;

Time Measurement::cost() const {
    return srtt + std::chrono::duration_cast<Time>(loss * limits::failure_cost);
}

void Measurements::note_answer(const Address& address, std::uint16_t port, Time rtt, Time now) {
    Measurement& m = note(address, port, now);
    rtt = std::max<Time>(rtt, 1us); // 0 stands for none
    m.srtt = m.has_answered() ? (3 * m.srtt + rtt) / 4 : rtt;
    m.srtt = std::max<Time>(m.srtt, 1us);
    m.loss /= 2;
    m.failures = 0;
}

void Measurements::note_failure(const Address& address, std::uint16_t port, Time now) {
    Measurement& m = note(address, port, now);
    m.loss = (m.loss + 1) / 2;
    ++m.failures;
}

const Measurement* Measurements::find(const Address& address) const {
    auto at = known_.find(address);
    return at == known_.end() ? nullptr : &at->second.measurement;
}

const Measurement* Measurements::use(const Address& address) {
    auto at = known_.find(address);
    if (at == known_.end()) return nullptr;
    used_.splice(used_.begin(), used_, at->second.place);
    return &at->second.measurement;
}

void Measurements::clear() {
    known_.clear();
    used_.clear();
}

Measurement& Measurements::note(const Address& address, std::uint16_t port, Time now) {
    if (!use(address)) {
        if (known_.size() == most_) {
            known_.erase(used_.back());
            used_.pop_back();
        }
        used_.push_front(address);
        known_[address].place = used_.begin();
    }
    Measurement& m = known_[address].measurement;
    ++m.probes;
    m.last_port = port;
    m.measured = now;
    return m;
}

std::vector<Address> order_of(std::span<const Address> addresses, Measurements& measurements, bool is_cut) {
    struct Alive {
        Time cost;
        Address address;
    };
    std::vector<Alive> alive;
    std::vector<Address> dead, unknown, order;
    std::vector<bool> places; // of those that are not dead: whether one that was measured goes there
    for (const Address& address : addresses) {
        const Measurement* m = measurements.use(address);
        if (m && m->is_dead()) {
            dead.push_back(address);
            continue;
        }
        if (m) alive.push_back({m->cost(), address});
        if (!m) unknown.push_back(address);
        places.push_back(m != nullptr);
    }
    if (places.empty() || (alive.empty() && dead.empty())) return {};
    std::ranges::stable_sort(alive, {}, &Alive::cost);
    if (is_cut) std::sort(places.begin(), places.end(), std::greater<>());
    auto measured = alive.begin();
    auto other = unknown.begin();
    for (bool is_measured : places) order.push_back(is_measured ? (measured++)->address : *other++);
    order.insert(order.end(), dead.begin(), dead.end());
    return order;
}

} // namespace millrace::control
