#include "dataplane/query_log.hpp"

#include <algorithm>

#include "cache/dns.hpp"
#include "cache/keyed_hash.hpp"
#include "cache/wire.hpp"

namespace millrace::dataplane {

namespace {

constexpr std::size_t longest_message = 65535;

} // namespace

void LogRing::put(const LoggedMessage& what, std::span<const std::uint8_t> message) {
    if (ring_.put(what, message)) return;
    dropped_.store(dropped_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

bool LogRing::take(LoggedMessage& what, std::vector<std::uint8_t>& message) {
    auto place = [&](std::size_t octets) {
        message.resize(octets);
        return message.data();
    };
    if (!ring_.take(what, place)) return false;
    message.resize(what.size);
    return true;
}

QueryLog::QueryLog(const cache::Replaceable<LogRules>& rules)
    : rules_(rules), ring_(limits::log_places, longest_message) {}

bool QueryLog::is_wanted(const LoggedMessage& what, std::span<const std::uint8_t> message) const {
    const LogRules& rules = rules_.get();
    if (!rules.kinds[std::size_t(what.kind)] || message.size() < dns::header_octets) return false;
    bool is_response = what.kind == LoggedKind::client_response || what.kind == LoggedKind::upstream_response;
    bool is_clients = what.kind == LoggedKind::client_query || what.kind == LoggedKind::client_response;
    unsigned rcode = message[3] & dns::rcode_mask;
    if (rules.rcodes && !(is_response && (rules.rcodes >> rcode & 1))) return false;
    return !is_clients || rules.all_clients || rules.clients.contains(what.peer.address);
}

bool QueryLog::is_of_part(const LogRules& rules, const Endpoint& peer,
                          std::span<const std::uint8_t> message) {
    if (rules.part == LogRules::all) return true;
    std::uint64_t exchange = std::uint64_t(peer.port) << 16 | cache::load_u16(message.data());
    return cache::keyed_hash(peer.address.octets, exchange) >> 32 < rules.part;
}

std::uint32_t QueryLog::choose(const Burst& burst) const {
    static_assert(limits::burst <= 32);
    const LogRules& rules = rules_.get();
    bool is_any = rules.kinds[std::size_t(LoggedKind::client_query)] ||
                  rules.kinds[std::size_t(LoggedKind::client_response)];
    if (!is_any) return 0;
    std::uint32_t chosen = 0;
    for (unsigned i = 0; i < burst.count; ++i) {
        const Packet& packet = burst.packets[i];
        std::span<const std::uint8_t> message(packet.data, std::max(packet.size, packet.reply));
        bool is_chosen = message.size() >= dns::header_octets && is_of_part(rules, packet.client, message);
        chosen |= std::uint32_t(is_chosen) << i;
    }
    return chosen;
}

QuerySample::QuerySample()
    : state_(cache::keyed_mix(0, 1)), ring_(limits::sample_places, limits::sampled_octets) {}

void QuerySample::look_at(const Burst& burst) {
    std::uint32_t stride = stride_.load(std::memory_order_relaxed);
    if (stride == 0) return;
    for (; skip_ < burst.count; skip_ += 1 + (state_ >> 32) % (2 * std::uint64_t(stride) - 1)) {
        const Packet& packet = burst.packets[skip_];
        ring_.put({packet.client, burst.now, {}, 0, LoggedKind::client_query, Transport::udp, stride},
                  {packet.data, packet.size});
        state_ = cache::keyed_mix(state_, burst.count);
    }
    skip_ -= burst.count;
}

} // namespace millrace::dataplane
