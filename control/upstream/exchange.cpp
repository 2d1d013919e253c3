#include "control/upstream/exchange.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <functional>

#include <sys/resource.h>

#include "control/limits.hpp"
#include "control/message/query.hpp"
#include "control/message/reply.hpp"
#include "control/message/reply_match.hpp"

namespace millrace::control {

struct Exchanges::Exchange {
    std::uint32_t slot = 0;
    std::uint32_t serial = 0; ///< counts the exchanges that this slot has had
    bool is_open = false;
    bool over_tcp = false;
    bool is_driven = false;      ///< over TCP because of packets that anybody may have sent
    bool is_trial = false;       ///< of the upstream's half-open breaker
    bool is_unreachable = false; ///< the network failed inside open(); the next tick says so
    FetchId fetch;
    cache::Key key;
    unsigned upstream = 0;
    Socket socket = 0;
    std::vector<std::uint8_t> query; ///< as sent
    unsigned resends = 0;
    unsigned near_misses = 0;
    std::uint64_t collection = 0; ///< its age among those that collect; 0: it does not
    Time sent_at{};               ///< the first datagram
    Time resend_after{};          ///< doubles with each
    Time deadline{};
    Time timer{}; ///< its place in timers_
};

namespace {

constexpr unsigned collection_spare = 4; // a collection leaves this part of the slots to others
constexpr Time patience = 1s; // silence of this length is the upstream's doing, whatever it was given

bool is_own_bound(std::errc error) {
    return error == std::errc::too_many_files_open || error == std::errc::address_in_use ||
           error == std::errc::not_enough_memory || error == std::errc::no_buffer_space ||
           error == std::errc::no_space_on_device;
}

} // namespace

Exchanges::Exchanges(Network& network, Random& random, std::span<Upstreams> groups, ExchangeLimits limits)
    : network_(network), random_(random), groups_(groups), limits_(limits), recent_(random.bits()),
      slots_(limits.exchanges) {
    for (std::uint32_t slot = limits.exchanges; slot-- > 0;) {
        slots_[slot].slot = slot;
        free_.push_back(slot);
    }
}

Exchanges::~Exchanges() {
    for (Exchange& exchange : slots_) {
        if (exchange.is_open) remove(exchange);
    }
}

bool Exchanges::open(FetchId fetch, const cache::Key& key, unsigned upstream, Time deadline, Time now,
                     Purpose purpose) {
    assert(key.group < groups_.size() && upstream < groups_[key.group].size());
    if (asked_.contains({&key, upstream}) || find(fetch, upstream)) return false;
    if (!groups_[key.group].may_be_asked(upstream, now)) return ++counters_.refused_open, false;
    if (!make_room(key, upstream, purpose, now)) return ++counters_.refused_full, false;
    Exchange& exchange = slots_[free_.back()];
    exchange.over_tcp = exchange.is_driven = exchange.is_unreachable = false;
    exchange.fetch = fetch;
    exchange.key = key;
    exchange.upstream = upstream;
    exchange.resends = exchange.near_misses = 0;
    exchange.collection = 0;
    exchange.sent_at = now;
    exchange.resend_after = group_of(exchange).resend_after(upstream);
    exchange.deadline = deadline;
    if (!ask(exchange, now)) return ++counters_.refused_full, false;
    free_.pop_back();
    exchange.is_open = true;
    by_fetch_.emplace(Place{fetch, upstream}, exchange.slot);
    asked_.insert({&exchange.key, upstream});
    exchange.is_trial = group_of(exchange).begin(upstream, now);
    ++counters_.sent;
    exchange.timer = exchange.is_unreachable ? now : std::min(now + exchange.resend_after, deadline);
    timers_.insert({exchange.timer, exchange.slot});
    if (purpose == Purpose::collection) mark_collecting(exchange);
    note(exchange, ExchangeEvent::sent, now);
    return true;
}

/// Whether one more may be asked. What a client waits for takes the place of the upstream's oldest
/// collection; when it is the slots that are short, of some upstream's.
bool Exchanges::make_room(const cache::Key& key, unsigned upstream, Purpose purpose, Time now) {
    using Share = Upstreams::Share;
    Upstreams& group = groups_[key.group];
    if (purpose == Purpose::collection) {
        return free_.size() > limits_.exchanges / collection_spare && group.has_room(upstream, Share::most) &&
               group.is_in_rate(upstream, now, Share::most);
    }
    if (!group.is_in_rate(upstream, now, Share::all)) return false;
    if (!group.has_room(upstream)) {
        auto oldest = collections_.lower_bound({key.group, upstream, 0, 0});
        bool found = oldest != collections_.end() && std::get<0>(*oldest) == key.group &&
                     std::get<1>(*oldest) == upstream;
        if (!found) return false;
        displace(std::get<3>(*oldest));
        if (!group.has_room(upstream)) return false; // the cap was lowered while more were in flight
    }
    if (free_.empty() && !collections_.empty()) displace(std::get<3>(*collections_.begin()));
    return !free_.empty();
}

/// Ends a collection for the sake of another question; its Fetch is told in the next tick.
void Exchanges::displace(std::uint32_t slot) {
    ++counters_.displaced;
    displaced_.push_back({slots_[slot].fetch, slots_[slot].upstream});
    remove(slots_[slot]);
}

void Exchanges::mark_collecting(Exchange& exchange) {
    if (exchange.collection) return;
    exchange.collection = ++collection_count_;
    collections_.insert({exchange.key.group, exchange.upstream, exchange.collection, exchange.slot});
}

void Exchanges::note(const Exchange& exchange, ExchangeEvent event, Time now) {
    listener_->on_exchange_event(exchange.fetch, exchange.upstream, event, now);
}

/// Opens a socket and sends the first datagram. False when a bound of ours refuses.
bool Exchanges::ask(Exchange& exchange, Time now) {
    std::errc error = open_socket(exchange, now);
    if (is_own_bound(error)) return false;
    if (error == std::errc{}) error = network_.send(exchange.socket, exchange.query);
    exchange.is_unreachable = error != std::errc{};
    return true;
}

/// A socket on a port of its own, and an ID that was not used with this port just now.
std::errc Exchanges::open_socket(Exchange& exchange, Time now) {
    exchange.socket = 0;
    auto bound = network_.open_udp(group_of(exchange).endpoint(exchange.upstream), *this, exchange.slot);
    if (!bound) return bound.error();
    std::uint16_t id = random_.id();
    for (unsigned draw = 1; !is_unused(exchange, bound->source_port, id, now); id = random_.id()) {
        if (++draw > limits_.id_draws) return network_.close(bound->socket), std::errc::address_in_use;
    }
    exchange.query = build_query(exchange.key, id, name_to_send(exchange));
    if (exchange.query.empty()) return network_.close(bound->socket), std::errc::not_enough_memory;
    exchange.socket = bound->socket;
    return {};
}

/// The folded name where the server is known not to keep the case, else its letters drawn at random.
std::vector<std::uint8_t> Exchanges::name_to_send(const Exchange& exchange) {
    auto folded = exchange.key.name.bytes();
    if (group_of(exchange).randomises_case(exchange.upstream)) return randomise_case(folded, random_);
    return {folded.begin(), folded.end()};
}

bool Exchanges::is_unused(const Exchange& exchange, std::uint16_t port, std::uint16_t id, Time now) {
    cache::Key question = exchange.key;
    question.flavour = cache::plain; // what the client wants of the answer does not show in the question
    return recent_.use(question.bytes(), group_of(exchange).endpoint(exchange.upstream), port, id, now);
}

void Exchanges::close(FetchId fetch, unsigned upstream) {
    Exchange* exchange = find(fetch, upstream);
    if (!exchange) return;
    ++counters_.cancelled;
    remove(*exchange);
}

void Exchanges::collect(FetchId fetch, unsigned upstream, Time deadline) {
    Exchange* exchange = find(fetch, upstream);
    if (exchange) mark_collecting(*exchange);
    if (!exchange || deadline >= exchange->deadline) return;
    exchange->deadline = deadline;
    set_timer(*exchange, std::min(exchange->timer, deadline));
}

Time Exchanges::next_timer() const {
    if (!displaced_.empty()) return Time{};
    return timers_.empty() ? Time::max() : timers_.begin()->first;
}

void Exchanges::tick(Time now) {
    for (const Place& place : std::exchange(displaced_, {})) {
        listener_->on_exchange_failed(place.fetch, place.upstream, ExchangeFailure::no_room);
    }
    // What the listener opens meanwhile is not due in this tick; what it closes is skipped by its serial.
    std::vector<std::pair<std::uint32_t, std::uint32_t>> due;
    for (const auto& [at, slot] : timers_) {
        if (at > now || due.size() == limits::exchanges_per_tick) break;
        due.emplace_back(slot, slots_[slot].serial);
    }
    for (auto [slot, serial] : due) {
        Exchange& exchange = slots_[slot];
        if (exchange.serial != serial) continue;
        if (exchange.is_unreachable) {
            fail(exchange, ExchangeFailure::unreachable, now);
        } else if (now >= exchange.deadline) {
            fail(exchange, ExchangeFailure::timeout, now);
        } else {
            resend(exchange, now);
        }
    }
}

/// The very same datagram on the same socket: whichever reply comes first fits.
void Exchanges::resend(Exchange& exchange, Time now) {
    if (exchange.over_tcp || exchange.resends == limits_.resends)
        return set_timer(exchange, exchange.deadline);
    if (network_.send(exchange.socket, exchange.query) != std::errc{}) {
        return fail(exchange, ExchangeFailure::unreachable, now);
    }
    ++exchange.resends;
    ++counters_.resent;
    note(exchange, ExchangeEvent::resent, now);
    exchange.resend_after *= 2;
    set_timer(exchange, std::min(now + exchange.resend_after, exchange.deadline));
}

void Exchanges::on_message(Socket socket, std::uint64_t token, std::span<const std::uint8_t> message,
                           Time received) {
    Exchange& exchange = slots_[token];
    if (!exchange.is_open || exchange.socket != socket) return void(++counters_.late);
    switch (match_reply(exchange.query, message)) {
    case ReplyMatch::reply: return deliver(exchange, message, received);
    case ReplyMatch::truncated:
        if (exchange.over_tcp) return deliver_nothing(exchange, received);
        measure(exchange, received);
        return go_tcp(exchange, received);
    case ReplyMatch::wrong_case:
        // Over TCP nobody can have guessed it: the upstream does not keep the case.
        if (exchange.over_tcp) return deliver(exchange, message, received);
        ++counters_.mismatched;
        note(exchange, ExchangeEvent::wrong_case, received);
        return drive_to_tcp(exchange, received);
    case ReplyMatch::wrong_id:
        ++counters_.mismatched;
        note(exchange, ExchangeEvent::wrong_id, received);
        break;
    case ReplyMatch::other:
        ++counters_.late;
        note(exchange, ExchangeEvent::other_question, received);
        break;
    case ReplyMatch::no_reply:
        ++counters_.malformed;
        note(exchange, ExchangeEvent::malformed, received);
        return;
    }
    if (!exchange.over_tcp && ++exchange.near_misses >= limits_.near_misses) {
        drive_to_tcp(exchange, received);
    }
}

/// What then fails is not held against the upstream: a forger must not be able to put it aside, not even one
/// that has no TCP.
void Exchanges::drive_to_tcp(Exchange& exchange, Time now) {
    exchange.is_driven = true;
    go_tcp(exchange, now);
}

void Exchanges::on_network_error(Socket socket, std::uint64_t token, std::errc, Time when) {
    Exchange& exchange = slots_[token];
    if (exchange.is_open && exchange.socket == socket) fail(exchange, ExchangeFailure::unreachable, when);
}

/// The same question with the same deadline; no more resends.
void Exchanges::go_tcp(Exchange& exchange, Time now) {
    network_.close(exchange.socket);
    exchange.socket = 0;
    exchange.over_tcp = true;
    ++counters_.tcp;
    note(exchange, ExchangeEvent::over_tcp, now);
    auto socket = network_.open_tcp(group_of(exchange).endpoint(exchange.upstream), *this, exchange.slot);
    if (!socket) {
        return fail(exchange,
                    is_own_bound(socket.error()) ? ExchangeFailure::no_room : ExchangeFailure::unreachable,
                    now);
    }
    exchange.socket = *socket;
    set_timer(exchange, exchange.deadline);
    if (network_.send(exchange.socket, exchange.query) != std::errc{}) {
        fail(exchange, ExchangeFailure::unreachable, now);
    }
}

void Exchanges::deliver(Exchange& exchange, std::span<const std::uint8_t> reply, Time received) {
    auto answer = parse_reply(reply, exchange.key, exchange.upstream, received);
    if (!answer && (answer.error() == ReplyError::malformed || answer.error() == ReplyError::not_asked)) {
        note(exchange, ExchangeEvent::malformed, received);
        return void(++counters_.malformed);
    }
    if (!answer) return deliver_nothing(exchange, received);
    judge(exchange, *answer, received);
    answer->is_trusted = group_of(exchange).is_trusted(exchange.upstream);
    finish(exchange, std::move(*answer));
}

/// Its own reply, but of no use: a chain without end, an RRset without measure, truncated even over TCP (RFC
/// 2181 9). That is the zone's fault: no answer, and nothing against the upstream.
void Exchanges::deliver_nothing(Exchange& exchange, Time received) {
    ++counters_.malformed;
    Answer nothing;
    nothing.upstream = exchange.upstream;
    nothing.received = received;
    finish(exchange, std::move(nothing));
}

void Exchanges::finish(Exchange& exchange, Answer&& answer) {
    FetchId fetch = exchange.fetch;
    remove(exchange);
    ++counters_.accepted;
    listener_->on_answer(fetch, std::move(answer));
}

/// Only SERVFAIL and REFUSED say that the upstream itself is in trouble. How fast it says so is no
/// measure of it.
void Exchanges::judge(const Exchange& exchange, const Answer& answer, Time now) {
    if (answer.rcode == LDNS_RCODE_SERVFAIL || answer.rcode == LDNS_RCODE_REFUSED) {
        return group_of(exchange).failed(exchange.upstream, now, exchange.is_trial);
    }
    group_of(exchange).replied(exchange.upstream);
    if (!exchange.over_tcp) measure(exchange, now);
}

/// From the first datagram on: with resends an upper bound, which a path that loses packets deserves.
void Exchanges::measure(const Exchange& exchange, Time now) {
    group_of(exchange).measured(exchange.upstream, now - exchange.sent_at);
}

void Exchanges::fail(Exchange& exchange, ExchangeFailure failure, Time now) {
    if (failure == ExchangeFailure::timeout) {
        ++counters_.timeouts;
        // Our own impatience (a collection's limit) says nothing about an upstream whose round trip
        // is not known.
        bool is_telling =
            group_of(exchange).is_measured(exchange.upstream) || now - exchange.sent_at >= patience;
        if (is_telling && !exchange.is_driven)
            group_of(exchange).timed_out(exchange.upstream, now, exchange.is_trial);
    } else if (failure == ExchangeFailure::unreachable) {
        ++counters_.unreachable;
        if (!exchange.is_driven) group_of(exchange).failed(exchange.upstream, now, exchange.is_trial);
    }
    FetchId fetch = exchange.fetch;
    unsigned upstream = exchange.upstream;
    remove(exchange);
    listener_->on_exchange_failed(fetch, upstream, failure);
}

void Exchanges::set_timer(Exchange& exchange, Time at) {
    timers_.erase({exchange.timer, exchange.slot});
    exchange.timer = at;
    timers_.insert({at, exchange.slot});
}

void Exchanges::remove(Exchange& exchange) {
    if (exchange.socket != 0) network_.close(exchange.socket);
    exchange.socket = 0;
    group_of(exchange).end(exchange.upstream, exchange.is_trial);
    timers_.erase({exchange.timer, exchange.slot});
    asked_.erase({&exchange.key, exchange.upstream});
    if (exchange.collection) {
        collections_.erase({exchange.key.group, exchange.upstream, exchange.collection, exchange.slot});
    }
    by_fetch_.erase({exchange.fetch, exchange.upstream});
    exchange.is_open = false;
    ++exchange.serial;
    free_.push_back(exchange.slot);
}

Exchanges::Exchange* Exchanges::find(FetchId fetch, unsigned upstream) {
    auto found = by_fetch_.find({fetch, upstream});
    return found == by_fetch_.end() ? nullptr : &slots_[found->second];
}

Upstreams& Exchanges::group_of(const Exchange& exchange) const {
    return groups_[exchange.key.group];
}

bool Exchanges::is_asking(const dataplane::Address& address, const cache::Key& question) const {
    static const std::array shared{*dataplane::parse_address("127.0.0.1"), *dataplane::parse_address("::1")};
    if (std::ranges::find(shared, address) != shared.end()) return false;
    const Upstreams& group = groups_[question.group];
    for (unsigned upstream = 0; upstream < group.size(); ++upstream) {
        if (group.endpoint(upstream).address != address) continue;
        cache::Key key = question;
        for (std::uint8_t flavour : cache::flavours) {
            key.flavour = flavour;
            if (asked_.contains({&key, upstream})) return true;
        }
    }
    return false;
}

std::size_t Exchanges::HashPlace::operator()(const Place& place) const {
    return std::hash<std::uint64_t>()(place.fetch.generation << 6 ^ std::uint64_t(place.fetch.slot) << 40 ^
                                      place.upstream);
}

std::size_t Exchanges::HashAsked::operator()(const Asked& asked) const {
    auto bytes = asked.key->bytes();
    std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return std::hash<std::string_view>()(text) + asked.upstream;
}

std::uint32_t exchange_capacity() {
    constexpr rlim_t reserve = 2048, most = 16384; // workers' sockets, TCP clients, files
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t rest = limit.rlim_cur > 2 * reserve ? limit.rlim_cur - reserve : limit.rlim_cur / 2;
    return std::uint32_t(std::min(rest, most));
}

std::string_view to_string(ExchangeEvent event) {
    switch (event) {
    case ExchangeEvent::sent: return "sent";
    case ExchangeEvent::resent: return "sent again";
    case ExchangeEvent::over_tcp: return "sent over TCP";
    case ExchangeEvent::wrong_id: return "thrown away: wrong ID";
    case ExchangeEvent::wrong_case: return "thrown away: wrong letter case";
    case ExchangeEvent::other_question: return "thrown away: another question";
    case ExchangeEvent::malformed: return "thrown away: malformed";
    }
    return "unknown";
}

std::string_view to_string(ExchangeFailure failure) {
    switch (failure) {
    case ExchangeFailure::timeout: return "timeout";
    case ExchangeFailure::unreachable: return "unreachable";
    case ExchangeFailure::no_room: return "no_room";
    }
    return "unknown";
}

} // namespace millrace::control
