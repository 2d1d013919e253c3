// A Port without a network: queries are put in, replies are taken out. Single thread.
#pragma once

#include <cstring>
#include <deque>
#include <vector>

#include "dataplane/port.hpp"

namespace millrace::support {

struct Datagram {
    dataplane::Endpoint client; ///< source of a query, destination of a reply
    std::vector<std::uint8_t> message;
};

class MemoryPort final : public dataplane::Port {
  public:
    std::deque<Datagram> queries, replies;

    void receive(dataplane::Burst& burst, dataplane::Counters&) override {
        while (burst.count < dataplane::limits::burst && !queries.empty()) {
            dataplane::Packet& packet = next(burst, queries.front().client);
            const auto& message = queries.front().message;
            std::memcpy(packet.data, message.data(), message.size());
            packet.size = std::uint16_t(message.size());
            queries.pop_front();
        }
    }
    void save(const dataplane::Packet& packet, dataplane::ReturnPath& path) override {
        static_assert(sizeof packet.client <= sizeof path.octets);
        std::memcpy(path.octets.data(), &packet.client, sizeof packet.client);
    }
    bool compose(dataplane::Burst& burst, const dataplane::ReturnPath& path) override {
        dataplane::Endpoint client;
        std::memcpy(static_cast<void*>(&client), path.octets.data(), sizeof client);
        next(burst, client);
        return true;
    }
    void send(dataplane::Burst& burst, dataplane::Counters&) override {
        for (unsigned i = 0; i < burst.count; ++i) {
            const dataplane::Packet& packet = burst.packets[i];
            if (packet.reply > 0)
                replies.push_back({packet.client, {packet.data, packet.data + packet.reply}});
        }
        burst.count = 0;
    }

  private:
    dataplane::Packet& next(dataplane::Burst& burst, const dataplane::Endpoint& client) {
        auto& buffer = buffers_[burst.count];
        dataplane::Packet& packet = burst.packets[burst.count++];
        packet = {buffer.data(), 0, std::uint16_t(buffer.size()), 0, client, nullptr};
        return packet;
    }
    std::array<std::array<std::uint8_t, dataplane::limits::payload_room>, dataplane::limits::burst> buffers_;
};

} // namespace millrace::support
