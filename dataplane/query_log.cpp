#include "dataplane/query_log.hpp"

#include <cstring>

#include <rte_ring_elem.h>

#include "cache/dns.hpp"
#include "cache/wire.hpp"

namespace millrace::dataplane {

namespace {

constexpr std::size_t longest = 65535;

unsigned elements_of(std::size_t octets) {
    return unsigned((sizeof(LoggedMessage) + octets + limits::log_element - 1) / limits::log_element);
}

} // namespace

QueryLog::QueryLog(const cache::Replaceable<LogRules>& rules, std::uint64_t secret)
    : rules_(rules), secret_(secret | 1), ring_(make_ring("log", limits::log_element, limits::log_places)),
      copy_(elements_of(longest) * limits::log_element) {}

bool QueryLog::is_wanted(const LoggedMessage& what, std::span<const std::uint8_t> message) const {
    const LogRules& rules = rules_.get();
    if (!rules.kinds[std::size_t(what.kind)] || message.size() < dns::header_octets) return false;
    bool is_response = what.kind == LoggedKind::client_response || what.kind == LoggedKind::upstream_response;
    bool is_clients = what.kind == LoggedKind::client_query || what.kind == LoggedKind::client_response;
    unsigned rcode = message[3] & dns::rcode_mask;
    if (rules.rcodes && !(is_response && (rules.rcodes >> rcode & 1))) return false;
    if (is_clients && !rules.all_clients && !rules.clients.contains(what.peer.address)) return false;
    if (rules.part == LogRules::all) return true;
    std::uint64_t whose[2];
    static_assert(sizeof what.peer.address == sizeof whose);
    std::memcpy(whose, &what.peer.address, sizeof whose);
    std::uint64_t mixed = (whose[0] ^ secret_) * secret_;
    mixed = (mixed ^ mixed >> 29 ^ whose[1]) * secret_;
    mixed = (mixed ^ mixed >> 32 ^ std::uint64_t(what.peer.port) << 16 ^ cache::load_u16(message.data())) *
            secret_;
    return mixed >> 32 < rules.part;
}

void QueryLog::add(const LoggedMessage& what, std::span<const std::uint8_t> message) {
    if (!is_wanted(what, message)) return;
    LoggedMessage head = what;
    head.size = std::uint16_t(message.size());
    std::memcpy(copy_.data(), &head, sizeof head);
    std::memcpy(copy_.data() + sizeof head, message.data(), message.size());
    unsigned elements = elements_of(message.size());
    if (rte_ring_enqueue_bulk_elem(ring_.get(), copy_.data(), limits::log_element, elements, nullptr) == 0) {
        dropped_.store(dropped_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
}

bool QueryLog::take(LoggedMessage& what, std::vector<std::uint8_t>& message) {
    std::array<std::uint8_t, limits::log_element> first;
    if (rte_ring_dequeue_elem(ring_.get(), first.data(), limits::log_element) != 0) return false;
    std::memcpy(static_cast<void*>(&what), first.data(), sizeof what);
    constexpr std::size_t in_first = limits::log_element - sizeof what;
    unsigned more = elements_of(what.size) - 1;
    message.resize(in_first + more * limits::log_element);
    std::memcpy(message.data(), first.data() + sizeof what, in_first);
    // All of a message's elements were put in at once.
    if (more > 0) {
        rte_ring_dequeue_bulk_elem(ring_.get(), message.data() + in_first, limits::log_element, more,
                                   nullptr);
    }
    message.resize(what.size);
    return true;
}

} // namespace millrace::dataplane
