#include "dataplane/logged_port.hpp"

#include <bit>
#include <utility>

namespace millrace::dataplane {

void LoggedPort::receive(Burst& burst, Counters& counters) {
    port_.receive(burst, counters);
    if (burst.count == 0) return;
    sample_.look_at(burst);
    if (!log_) return;
    received_ = burst.now;
    asked_.fill(received_);
    is_composed_ = false;
    chosen_ = log_->choose(burst);
    for (std::uint32_t rest = chosen_; rest != 0; rest &= rest - 1) {
        const Packet& packet = burst.packets[unsigned(std::countr_zero(rest))];
        log_->add_chosen({packet.client, received_, {}, 0, LoggedKind::client_query, Transport::udp},
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
    is_composed_ = true;
    return true;
}

void LoggedPort::send(Burst& burst, Counters& counters) {
    if (log_) {
        std::uint32_t received = std::exchange(chosen_, 0); // once: what is composed next may come to nothing
        std::uint32_t rest = is_composed_ ? log_->choose(burst) : received;
        Time now = rest == 0 ? Time{} : clock_ ? clock_->now() : boot_time();
        for (; rest != 0; rest &= rest - 1) {
            auto i = unsigned(std::countr_zero(rest));
            const Packet& packet = burst.packets[i];
            if (packet.reply == 0) continue;
            log_->add_chosen({packet.client, asked_[i], now, 0, LoggedKind::client_response, Transport::udp},
                             {packet.data, packet.reply});
        }
    }
    port_.send(burst, counters);
}

} // namespace millrace::dataplane
