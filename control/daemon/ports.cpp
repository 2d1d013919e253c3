#include "control/daemon/ports.hpp"

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace millrace::control {

using nlohmann::json;

namespace {

constexpr Time look_interval = 1s, log_interval = 10s;

json show_one(const dataplane::EthdevView& view) {
    json one = {{"name", view.name},
                {"driver", view.driver},
                {"mac", view.mac},
                {"link", view.is_up ? "up" : "down"},
                {"mtu", view.mtu},
                {"queues", view.queues},
                {"receive_ring", view.receive_ring},
                {"send_ring", view.send_ring},
                {"offloads", view.offloads},
                {"received", view.received},
                {"received_octets", view.received_octets},
                {"sent", view.sent},
                {"sent_octets", view.sent_octets},
                {"missed", view.missed},
                {"no_buffer", view.no_buffer},
                {"receive_errors", view.receive_errors},
                {"send_errors", view.send_errors}};
    if (view.mbit > 0) one["mbit"] = view.mbit;
    if (view.numa_node >= 0) one["numa_node"] = view.numa_node;
    for (const auto& [name, value] : view.more) one["driver_counts"][name] = value;
    return one;
}

} // namespace

void Ports::open(const dataplane::Eal& eal, const std::vector<Config::Port>& ports) {
    eal_ = &eal;
    for (const Config::Port& port : ports) ports_.push_back({port.device, eal.has_link(ports_.size()), {}});
}

json Ports::show() const {
    json all = json::object();
    for (std::size_t i = 0; i < ports_.size(); ++i) all[ports_[i].device] = show_one(eal_->view(i));
    return {{"ports", std::move(all)}};
}

void Ports::tick(Time now) {
    if (now < due_) return;
    due_ = now + look_interval;
    for (std::size_t i = 0; i < ports_.size(); ++i) {
        Port& port = ports_[i];
        bool is_up = eal_->has_link(i);
        if (is_up == port.was_up || now < port.quiet_until) continue;
        port.was_up = is_up;
        port.quiet_until = now + log_interval;
        is_up ? spdlog::info("port {}: the link is up", port.device)
              : spdlog::warn("port {}: the link is down; nothing comes in until it is back", port.device);
    }
}

} // namespace millrace::control
