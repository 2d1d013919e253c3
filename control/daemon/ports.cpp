#include "control/daemon/ports.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "control/config/choices.hpp"

namespace millrace::control {

using nlohmann::json;

namespace {

constexpr Time look_interval = 1s, log_interval = 10s;

using dataplane::EthdevView;
using dataplane::Idle;

json losses_of(const EthdevView& view) {
    return {{"missed", view.missed},
            {"no_buffer", view.no_buffer},
            {"receive_errors", view.receive_errors},
            {"send_errors", view.send_errors}};
}

/// What it is, and its link.
json face_of(const EthdevView& view) {
    json one = {{"name", view.name}, {"driver", view.driver},
                {"mac", view.mac},   {"link", view.is_up ? "up" : "down"},
                {"mtu", view.mtu},   {"queues", view.queues}};
    if (view.mbit > 0) one["mbit"] = view.mbit;
    return one;
}

json show_one(const EthdevView& view, Idle idle) {
    json one = {{"receive_ring", view.receive_ring},
                {"send_ring", view.send_ring},
                {"offloads", view.offloads},
                {"received", view.received},
                {"received_octets", view.received_octets},
                {"sent", view.sent},
                {"sent_octets", view.sent_octets}};
    one.update(face_of(view));
    one.update(losses_of(view));
    if (idle == Idle::sleep) {
        dataplane::Rest rest = dataplane::rest_of(view.receive_ring);
        one["sleep"] = {{"longest_us", rest.longest_nap.count()},
                        {"lossless_packets_per_ms", rest.packets_per_ms}};
    }
    if (view.xdp) {
        one["xdp"] = {{"program", view.xdp->program},
                      {"zero_copy", view.xdp->zero_copy},
                      {"need_wakeup", true}, // see to_string(XdpMode)
                      {"busy_polling", view.xdp->busy_polls}};
    }
    if (view.numa_node >= 0) one["numa_node"] = view.numa_node;
    for (const auto& [name, value] : view.more) one["driver_counts"][name] = value;
    return one;
}

/// What `routed` goes by.
void show_routes(json& one, const dataplane::NextHops& next_hops, std::size_t interface) {
    const auto& summary = next_hops.summary(interface);
    one["routes"] = next_hops.routes();
    one["neighbours"] = summary.neighbours;
    one["gateways"] = summary.gateways;
    one["gateways_unresolved"] = summary.unresolved;
}

/// Why replies go back to their senders that should not; empty: for no reason that lasts.
std::string trouble_of(const dataplane::NextHops& next_hops, std::size_t interface, const std::string& name) {
    const auto& summary = next_hops.summary(interface);
    if (!next_hops.fault().empty()) return next_hops.fault();
    if (!summary.is_there)
        return fmt::format("there is no interface {}: replies go back to their senders until it is there",
                           name);
    if (!summary.first_unresolved) return "";
    return fmt::format(
        "the kernel does not know the MAC address of next hop {}{}: replies take another next hop "
        "of their route, or go back to their senders",
        to_string(*summary.first_unresolved),
        summary.unresolved > 1 ? fmt::format(" and of {} others", summary.unresolved - 1) : "");
}

/// What the driver gave, which may be less than was asked for.
void log_start(const std::string& device, const EthdevView& view, Idle idle) {
    spdlog::info("port {}: {}, {} queue(s), rings of {} to receive and {} to send, offloads: {}{}", device,
                 view.driver, view.queues, view.receive_ring, view.send_ring,
                 view.offloads.empty() ? "none" : fmt::format("{}", fmt::join(view.offloads, " ")),
                 view.xdp ? "; " + to_string(*view.xdp) : "");
    if (idle != Idle::sleep) return;
    dataplane::Rest rest = dataplane::rest_of(view.receive_ring);
    spdlog::info(
        "port {}: sleeps for {} us at most, and its rings hold what comes meanwhile, up to {} packets "
        "per ms and queue",
        device, rest.longest_nap.count(), rest.packets_per_ms);
}

} // namespace

void Ports::open(dataplane::Eal& eal, const std::vector<Config::Port>& ports) {
    eal_ = &eal;
    for (const Config::Port& port : ports) {
        std::size_t index = ports_.size();
        log_start(port.device, eal.view(index), port.idle);
        bool is_up = eal.look_at_link(index);
        ports_.push_back({port.device, port.idle, next_hop_text(port),
                          routing_interface(port.device, port.kernel), is_up, is_up});
        devices_.add(eal.device(index), port.device);
    }
}

/// Of one that is away only what does not ask its driver.
json Ports::show() const {
    json all = json::object();
    for (std::size_t i = 0; i < ports_.size(); ++i) {
        Devices::View device = devices_.view(i);
        json& one = all[ports_[i].device];
        one = device.is_serving ? show_one(eal_->view(i), ports_[i].idle)
                                : json{{"name", dataplane::ethdev_name(ports_[i].device)}, {"link", "down"}};
        one["state"] = device.is_serving ? "serving" : device.is_removed ? "removed" : "resetting";
        one["resets"] = device.resets;
        one["removals"] = device.removals;
        one["next_hop"] = ports_[i].next_hop;
        if (auto* next_hops = eal_->next_hops(i)) show_routes(one, *next_hops, eal_->interface_of(i));
    }
    return {{"ports", std::move(all)}};
}

/// Nothing but the name of one that is away: its driver is not to be asked.
EthdevView Ports::view_of(std::size_t index) const {
    if (devices_.view(index).is_serving) return eal_->view(index);
    EthdevView away;
    away.name = dataplane::ethdev_name(ports_[index].device);
    return away;
}

json Ports::summary() const {
    json rows = json::array();
    for (std::size_t i = 0; i < ports_.size(); ++i) {
        EthdevView view = view_of(i);
        rows.push_back(face_of(view));
        rows.back().update(losses_of(view));
    }
    return rows;
}

json Ports::losses() const {
    EthdevView all;
    for (std::size_t i = 0; i < ports_.size(); ++i) all.add(view_of(i));
    return losses_of(all);
}

void Ports::tick(Time now) {
    devices_.tick(now);
    if (now < due_ || devices_.is_giving_up()) return; // what is behind a port is another process's
    due_ = now + look_interval;
    for (std::size_t i = 0; i < ports_.size(); ++i) {
        devices_.view(i).is_serving ? look_at_link(i, now) : eal_->set_no_link(i);
        look_at_routes(i, now);
    }
}

void Ports::look_at_link(std::size_t index, Time now) {
    Port& port = ports_[index];
    bool is_up = port.is_up = eal_->look_at_link(index);
    if (is_up == port.was_up || now < port.quiet_until) return;
    port.was_up = is_up;
    port.quiet_until = now + log_interval;
    is_up ? spdlog::info("port {}: the link is up", port.device)
          : spdlog::warn("port {}: the link is down; nothing comes in until it is back", port.device);
}

/// A gateway that is new is unknown for a moment: what is seen twice lasts.
void Ports::look_at_routes(std::size_t index, Time now) {
    auto* next_hops = eal_->next_hops(index);
    if (!next_hops) return;
    Port& port = ports_[index];
    std::string trouble = trouble_of(*next_hops, eal_->interface_of(index), port.interface);
    bool lasts = trouble == port.trouble;
    port.trouble = std::move(trouble);
    if (!lasts || port.trouble == port.logged_trouble || now < port.routes_quiet_until) return;
    port.logged_trouble = port.trouble;
    port.routes_quiet_until = now + log_interval;
    port.trouble.empty() ? spdlog::info("port {}: the next hops of all routes are known", port.device)
                         : spdlog::warn("port {}: {}", port.device, port.trouble);
}

} // namespace millrace::control
