#include "dataplane/logged_port.hpp"

namespace millrace::dataplane {

void LoggedPort::receive(Burst& burst, Counters& counters) {
    port_.receive(burst, counters);
    if (burst.count == 0) return;
    sample_.look_at(burst);
    if (!log_) return;
    received_ = burst.now;
    asked_.fill(received_);
    for (unsigned i = 0; i < burst.count; ++i) {
        const Packet& packet = burst.packets[i];
        log_->add({packet.client, received_, {}, 0, LoggedKind::client_query, Transport::udp},
                  {packet.data, packet.size});
    }
}

void LoggedPort::save(const Packet& packet, ReturnPath& path) {
    port_.save(packet, path);
    path.asked = received_;
}

bool LoggedPort::compose(Burst& burst, const ReturnPath& path) {
    if (!port_.compose(burst, path)) return false;
    asked_[burst.count - 1] = path.asked;
    return true;
}

void LoggedPort::send(Burst& burst, Counters& counters) {
    if (log_) {
        Time now = clock_ ? clock_->now() : boot_time();
        for (unsigned i = 0; i < burst.count; ++i) {
            const Packet& packet = burst.packets[i];
            if (packet.reply == 0) continue;
            log_->add({packet.client, asked_[i], now, 0, LoggedKind::client_response, Transport::udp},
                      {packet.data, packet.reply});
        }
    }
    port_.send(burst, counters);
}

} // namespace millrace::dataplane
