#include "control/upstream/exchange.hpp"

#include <algorithm>
#include <cassert>
#include <functional>
#include <limits>

#include <sys/resource.h>

#include "control/limits.hpp"
#include "control/message/query.hpp"
#include "control/message/reply.hpp"
#include "control/message/reply_match.hpp"

namespace millrace::control {

struct Exchanges::Exchange {
    std::uint32_t place = 0;
    std::uint32_t serial = 0; ///< counts the exchanges that this place has had
    bool is_open = false;
    bool over_tcp = false;
    bool is_driven = false;      ///< over TCP because of packets that anybody may have sent
    bool is_probe = false;       ///< of no Fetch
    bool is_unreachable = false; ///< the network failed inside open(); the next tick says so
    FetchId fetch;
    cache::Key key;
    unsigned upstream = 0;
    Socket socket = 0;
    std::vector<std::uint8_t> query; ///< as sent
    unsigned resends = 0;
    unsigned near_misses = 0;
    Time sent_at{};      ///< the first datagram
    Time resend_after{}; ///< doubles with each
    Time deadline{};
    Time timer{}; ///< its place in timers_
};

namespace {

bool is_own_bound(std::errc error) {
    return error == std::errc::too_many_files_open || error == std::errc::address_in_use ||
           error == std::errc::not_enough_memory || error == std::errc::no_buffer_space ||
           error == std::errc::no_space_on_device;
}

} // namespace

Exchanges::Exchanges(Network& network, Random& random, std::span<Upstreams> groups, ExchangeLimits limits)
    : network_(network), random_(random), groups_(groups), limits_(limits), recent_(random.bits()),
      admission_(groups, limits.exchanges), exchanges_(limits.exchanges) {
    for (std::uint32_t place = 0; place < limits.exchanges; ++place) exchanges_[place].place = place;
}

Exchanges::~Exchanges() {
    for (Exchange& exchange : exchanges_) {
        if (exchange.is_open) remove(exchange);
    }
}

bool Exchanges::open(FetchId fetch, const cache::Key& key, unsigned upstream, Time deadline, Time now,
                     Purpose purpose) {
    assert(key.group < groups_.size() && upstream < groups_[key.group].size());
    if (!groups_[key.group].may_be_asked(upstream)) {
        ++counters_.refused_open;
        return false;
    }
    return start(fetch, key, upstream, deadline, now, purpose);
}

bool Exchanges::start(FetchId fetch, const cache::Key& key, unsigned upstream, Time deadline, Time now,
                      Purpose purpose) {
    if (admission_.is_open(key, upstream) || find(fetch, upstream)) return false;
    auto end_collection = [this](std::uint32_t place) { displace(place); };
    if (!admission_.make_room(key, upstream, purpose, now, end_collection)) {
        ++counters_.refused_full;
        return false;
    }
    Exchange& exchange = exchanges_[admission_.next()];
    exchange.over_tcp = exchange.is_driven = exchange.is_unreachable = false;
    exchange.fetch = fetch;
    exchange.is_probe = fetch == probe_of(key.group);
    exchange.key = key;
    exchange.upstream = upstream;
    exchange.resends = exchange.near_misses = 0;
    exchange.sent_at = now;
    exchange.resend_after = group_of(exchange).resend_after(upstream);
    exchange.deadline = deadline;
    if (!send_first(exchange, now)) {
        ++counters_.refused_full;
        return false;
    }
    admission_.enter(exchange.key, upstream, purpose);
    exchange.is_open = true;
    by_owner_.emplace(Owner{fetch, upstream}, exchange.place);
    group_of(exchange).begin(upstream);
    ++counters_.sent;
    exchange.timer = exchange.is_unreachable ? now : std::min(now + exchange.resend_after, deadline);
    timers_.insert({exchange.timer, exchange.place});
    note(exchange, ExchangeEvent::sent, now);
    return true;
}

/// No Fetch has generation 0.
FetchId Exchanges::probe_of(unsigned group) {
    return {std::numeric_limits<std::uint32_t>::max() - group, 0};
}

void Exchanges::start_probes(Time now) {
    if (!is_probing_) return;
    for (unsigned i = 0; i < groups_.size(); ++i) {
        Upstreams& group = groups_[i];
        cache::Key key = group.probe();
        key.group = std::uint8_t(i);
        key.flavour = cache::checking_disabled; // no validator's verdict stands in the way
        while (auto upstream = group.probe_due(now)) {
            group.begin_probe(*upstream);
            Time deadline = now + group.probe_deadline();
            bool sent = start(probe_of(i), key, *upstream, deadline, now, Purpose::answer);
            if (!sent) group.judge_probe(*upstream, Upstreams::ProbeEnd::cancelled, now);
        }
    }
}

void Exchanges::close_probes(Time now) {
    for (unsigned group = 0; group < groups_.size(); ++group) {
        for (unsigned upstream = 0; upstream < groups_[group].size(); ++upstream) {
            close(probe_of(group), upstream, now);
        }
    }
}

void Exchanges::end_probing(Time now) {
    is_probing_ = false;
    close_probes(now);
}

/// Ends a collection for the sake of another question; its Fetch is told in the next tick.
void Exchanges::displace(std::uint32_t place) {
    ++counters_.displaced;
    displaced_.push_back({exchanges_[place].fetch, exchanges_[place].upstream});
    remove(exchanges_[place]);
}

void Exchanges::note(const Exchange& exchange, ExchangeEvent event, Time now) {
    listener_->on_exchange_event(exchange.fetch, exchange.upstream, event, now);
}

/// Opens a socket and sends the first datagram. False when a bound of ours refuses.
bool Exchanges::send_first(Exchange& exchange, Time now) {
    std::errc error = open_socket(exchange, now);
    if (is_own_bound(error)) return false;
    if (error == std::errc{}) error = network_.send(exchange.socket, exchange.query);
    exchange.is_unreachable = error != std::errc{};
    return true;
}

/// A socket on a port of its own, and an ID that was not used with this port just now.
std::errc Exchanges::open_socket(Exchange& exchange, Time now) {
    exchange.socket = 0;
    auto bound = network_.open_udp(group_of(exchange).endpoint(exchange.upstream), *this, exchange.place);
    if (!bound) return bound.error();
    std::uint16_t id = random_.id();
    for (unsigned draw = 1; !is_unused(exchange, bound->source_port, id, now); id = random_.id()) {
        if (++draw > limits_.id_draws) {
            network_.close(bound->socket);
            return std::errc::address_in_use;
        }
    }
    exchange.query = build_query(exchange.key, id, name_to_send(exchange));
    if (exchange.query.empty()) {
        network_.close(bound->socket);
        return std::errc::not_enough_memory;
    }
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

void Exchanges::close(FetchId fetch, unsigned upstream, Time now) {
    Exchange* exchange = find(fetch, upstream);
    if (!exchange) return;
    ++counters_.cancelled;
    if (exchange->is_probe) {
        group_of(*exchange).judge_probe(upstream, Upstreams::ProbeEnd::cancelled, now);
    } else if (!exchange->is_driven) {
        group_of(*exchange).judge_silence(upstream, now - exchange->sent_at, now);
    }
    remove(*exchange);
}

void Exchanges::collect(FetchId fetch, unsigned upstream, Time deadline) {
    Exchange* exchange = find(fetch, upstream);
    if (exchange) admission_.mark_collecting(exchange->place);
    if (!exchange || deadline >= exchange->deadline) return;
    exchange->deadline = deadline;
    set_timer(*exchange, std::min(exchange->timer, deadline));
}

Time Exchanges::next_timer() const {
    if (!displaced_.empty()) return Time{};
    Time next = timers_.empty() ? Time::max() : timers_.begin()->first;
    for (const Upstreams& group : groups_) {
        if (is_probing_) next = std::min(next, group.next_probe());
    }
    return next;
}

void Exchanges::tick(Time now) {
    for (const Owner& owner : std::exchange(displaced_, {})) {
        listener_->on_exchange_failed(owner.fetch, owner.upstream, ExchangeFailure::no_room);
    }
    // What the listener opens meanwhile is not due in this tick; what it closes is skipped by its serial.
    std::vector<std::pair<std::uint32_t, std::uint32_t>> due;
    for (const auto& [at, place] : timers_) {
        if (at > now || due.size() == limits::exchanges_per_tick) break;
        due.emplace_back(place, exchanges_[place].serial);
    }
    for (auto [place, serial] : due) {
        Exchange& exchange = exchanges_[place];
        if (exchange.serial != serial) continue;
        if (exchange.is_unreachable) {
            fail(exchange, ExchangeFailure::unreachable, now);
        } else if (now >= exchange.deadline) {
            fail(exchange, ExchangeFailure::timeout, now);
        } else {
            resend(exchange, now);
        }
    }
    start_probes(now);
}

/// The very same datagram on the same socket: whichever reply comes first fits.
void Exchanges::resend(Exchange& exchange, Time now) {
    if (exchange.over_tcp || exchange.resends == limits_.resends)
        return set_timer(exchange, exchange.deadline);
    ++exchange.resends;
    ++counters_.resent;
    note(exchange, ExchangeEvent::resent, now);
    exchange.resend_after *= 2;
    set_timer(exchange, std::min(now + exchange.resend_after, exchange.deadline));
    if (network_.send(exchange.socket, exchange.query) != std::errc{}) hint(exchange, now);
}

void Exchanges::on_message(Socket socket, std::uint64_t token, std::span<const std::uint8_t> message,
                           Time received) {
    Exchange& exchange = exchanges_[token];
    if (!exchange.is_open || exchange.socket != socket) {
        ++counters_.late;
        return;
    }
    switch (match_reply(exchange.query, message)) {
    case ReplyMatch::reply: return deliver(exchange, message, received);
    case ReplyMatch::truncated:
        if (exchange.over_tcp) return deliver_nothing(exchange, received);
        group_of(exchange).heard(exchange.upstream);
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
    Exchange& exchange = exchanges_[token];
    if (!exchange.is_open || exchange.socket != socket) return;
    if (exchange.over_tcp) return fail(exchange, ExchangeFailure::unreachable, when);
    hint(exchange, when);
}

/// The socket goes on: a reply may still come, and a true one if the error was forged.
void Exchanges::hint(Exchange& exchange, Time now) {
    ++counters_.icmp;
    note(exchange, ExchangeEvent::icmp, now);
    if (exchange.is_probe) return;
    group_of(exchange).suspect(exchange.upstream, now);
    listener_->on_exchange_hint(exchange.fetch, exchange.upstream, now);
}

/// The same question with the same deadline; no more resends.
void Exchanges::go_tcp(Exchange& exchange, Time now) {
    network_.close(exchange.socket);
    exchange.socket = 0;
    exchange.over_tcp = true;
    ++counters_.tcp;
    note(exchange, ExchangeEvent::over_tcp, now);
    auto socket = network_.open_tcp(group_of(exchange).endpoint(exchange.upstream), *this, exchange.place);
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
        ++counters_.malformed;
        return;
    }
    if (!answer) return deliver_nothing(exchange, received);
    bool is_good = group_of(exchange).judge_reply(exchange.upstream, answer->rcode);
    if (is_good && !exchange.over_tcp) measure(exchange, received); // how fast a failure comes is no measure
    answer->is_trusted = group_of(exchange).is_trusted(exchange.upstream);
    // Anybody can set the bit: of a server that nobody trusts it is not even weighed.
    answer->authentic = answer->authentic && answer->is_trusted;
    finish(exchange, std::move(*answer));
}

/// Its own reply, but of no use: a chain without end, an RRset without measure, truncated even over TCP (RFC
/// 2181 9). That is the zone's fault: no answer, and nothing against the upstream.
void Exchanges::deliver_nothing(Exchange& exchange, Time received) {
    ++counters_.malformed;
    group_of(exchange).heard(exchange.upstream);
    Answer nothing;
    nothing.upstream = exchange.upstream;
    nothing.received = received;
    finish(exchange, std::move(nothing));
}

void Exchanges::finish(Exchange& exchange, Answer&& answer) {
    FetchId fetch = exchange.fetch;
    bool is_probe = exchange.is_probe;
    Upstreams& group = group_of(exchange);
    remove(exchange);
    ++counters_.accepted;
    if (is_probe) return group.judge_probe(answer.upstream, Upstreams::ProbeEnd::heard, answer.received);
    listener_->on_answer(fetch, std::move(answer));
}

/// From the first datagram on: with resends an upper bound, which a path that loses packets deserves.
void Exchanges::measure(const Exchange& exchange, Time now) {
    group_of(exchange).measured(exchange.upstream, now - exchange.sent_at);
}

void Exchanges::fail(Exchange& exchange, ExchangeFailure failure, Time now) {
    counters_.timeouts += failure == ExchangeFailure::timeout;
    counters_.unreachable += failure == ExchangeFailure::unreachable;
    judge_failure(exchange, failure, now);
    Owner owner{exchange.fetch, exchange.upstream};
    bool is_probe = exchange.is_probe;
    remove(exchange);
    if (!is_probe) listener_->on_exchange_failed(owner.fetch, owner.upstream, failure);
}

/// What it says about the upstream. Nothing when anybody may have brought it about, and when it was over TCP:
/// a server that has none is alive.
void Exchanges::judge_failure(const Exchange& exchange, ExchangeFailure failure, Time now) {
    using ProbeEnd = Upstreams::ProbeEnd;
    Upstreams& group = group_of(exchange);
    bool is_silence = failure == ExchangeFailure::timeout || exchange.is_unreachable;
    bool tells = is_silence && !exchange.is_driven;
    Time waited = exchange.is_unreachable ? Time::max() : now - exchange.sent_at;
    if (exchange.is_probe) {
        group.judge_probe(exchange.upstream, tells ? ProbeEnd::silent : ProbeEnd::cancelled, now);
    } else if (tells) {
        group.judge_timeout(exchange.upstream, waited, now);
    }
}

void Exchanges::set_timer(Exchange& exchange, Time at) {
    timers_.erase({exchange.timer, exchange.place});
    exchange.timer = at;
    timers_.insert({at, exchange.place});
}

void Exchanges::remove(Exchange& exchange) {
    if (exchange.socket != 0) network_.close(exchange.socket);
    exchange.socket = 0;
    group_of(exchange).end(exchange.upstream);
    timers_.erase({exchange.timer, exchange.place});
    by_owner_.erase({exchange.fetch, exchange.upstream});
    exchange.is_open = false;
    ++exchange.serial;
    admission_.leave(exchange.place);
}

Exchanges::Exchange* Exchanges::find(FetchId fetch, unsigned upstream) {
    auto found = by_owner_.find({fetch, upstream});
    return found == by_owner_.end() ? nullptr : &exchanges_[found->second];
}

Upstreams& Exchanges::group_of(const Exchange& exchange) const {
    return groups_[exchange.key.group];
}

std::size_t Exchanges::HashOwner::operator()(const Owner& owner) const {
    return std::hash<std::uint64_t>()(owner.fetch.generation << 6 ^ std::uint64_t(owner.fetch.slot) << 40 ^
                                      owner.upstream);
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
    case ExchangeEvent::icmp: return "ICMP error: waits on";
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
