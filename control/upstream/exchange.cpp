#include "control/upstream/exchange.hpp"

#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

#include <sys/resource.h>

#include "cache/capitals.hpp"
#include "cache/dns.hpp"
#include "cache/keyed_hash.hpp"
#include "control/limits.hpp"
#include "control/message/query.hpp"

namespace millrace::control {

bool Exchanges::is_own_bound(std::errc error) {
    return error == std::errc::too_many_files_open || error == std::errc::address_in_use ||
           error == std::errc::not_enough_memory || error == std::errc::no_buffer_space ||
           error == std::errc::no_space_on_device;
}

Exchanges::Exchanges(Network& network, Random& random, std::span<Upstreams> groups, ExchangeLimits limits)
    : network_(network), random_(random), groups_(groups), limits_(limits), recent_(random.bits()),
      admission_(groups, limits.exchanges), exchanges_(limits.exchanges), by_owner_(limits.exchanges),
      timers_(limits.exchanges), spellings_(limits.exchanges) {
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
    Exchange fresh;
    fresh.place = exchange.place;
    fresh.serial = exchange.serial;
    fresh.query = std::move(exchange.query); // for its memory
    fresh.query.clear();
    exchange = std::move(fresh);
    exchange.fetch = fetch;
    exchange.is_probe = fetch == probe_of(key.group);
    exchange.is_collecting = purpose == Purpose::collection;
    exchange.key = key;
    exchange.upstream = upstream;
    exchange.sent_at = now;
    exchange.deadline = deadline;
    admission_.enter(exchange.key, upstream, purpose);
    if (!send_first(exchange, now)) {
        admission_.leave(exchange.place);
        ++counters_.refused_full;
        return false;
    }
    exchange.is_open = true;
    by_owner_.add(hash_of(fetch, upstream), exchange.place);
    group_of(exchange).begin(upstream);
    ++counters_.sent;
    exchange.timer = exchange.is_unreachable ? now : due(exchange);
    timers_.set(exchange.place, exchange.timer);
    counters_.tcp += exchange.over_tcp;
    note(exchange, exchange.over_tcp ? ExchangeEvent::over_tcp : ExchangeEvent::sent, now);
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
        group.tick(now);
        while (auto one = group.unplanned()) group.plan_probe(*one, now, random_.bits());
        cache::Key key = group.probe();
        key.group = std::uint8_t(i);
        key.flavour = cache::checking_disabled; // no validator's verdict stands in the way
        for (unsigned begun = 0; begun < limits::probes_per_tick; ++begun) {
            auto upstream = group.probe_due(now);
            if (!upstream) break;
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

/// Opens a socket and sends the question: over TCP where the operator says so, or where the letter case
/// cannot be mixed, which takes away most of what a forger has to guess. False when a bound of ours refuses.
bool Exchanges::send_first(Exchange& exchange, Time now) {
    const Upstreams& group = group_of(exchange);
    bool has_opt = group.is_trusted(exchange.upstream) || !habits_of(exchange).lacks_edns(now);
    exchange.opt = has_opt ? Opt::sent : Opt::known;
    bool loses_case = group.randomises_case(exchange.upstream) && habits_of(exchange).loses_case(now);
    exchange.over_tcp = loses_case || is_tcp_only(exchange);
    if (exchange.over_tcp) write_query(exchange, random_.id(), true, exchange.query);
    std::errc error = exchange.over_tcp ? connect(exchange, now) : open_socket(exchange, now);
    if (is_own_bound(error)) return false;
    if (error == std::errc{}) error = send(exchange, exchange.socket, exchange.query);
    exchange.is_unreachable = error != std::errc{};
    if (exchange.over_tcp) return true;
    schedule_resends(exchange, now);
    schedule_try(exchange, now);
    return true;
}

std::errc Exchanges::send(const Exchange& exchange, Socket socket, std::span<const std::uint8_t> query) {
    if (log_) {
        bool is_tcp = exchange.over_tcp || socket == exchange.side;
        log_->add({group_of(exchange).endpoint(exchange.upstream),
                   boot_time(),
                   {},
                   0,
                   dataplane::LoggedKind::upstream_query,
                   is_tcp ? dataplane::Transport::tcp : dataplane::Transport::udp},
                  query);
    }
    return network_.send(socket, query);
}

void Exchanges::schedule_resends(Exchange& exchange, Time now) {
    exchange.resends = 0;
    exchange.resend_after = group_of(exchange).resend_after(exchange.upstream);
    exchange.resend_at = now + exchange.resend_after;
}

/// Half of the time is for datagrams, the rest for TCP beside them. Probes are about UDP; and what only
/// completes an answer is not worth a connection.
void Exchanges::schedule_try(Exchange& exchange, Time now) {
    constexpr Time least = 250ms; // of use to a connection
    if (exchange.is_probe || exchange.is_collecting) return;
    Time at = now + std::max((exchange.deadline - now) / 2, exchange.resend_after);
    if (at + least <= exchange.deadline) exchange.try_tcp_at = at;
}

/// Its letters are drawn at random, unless it is to be folded, or the operator says that the server does not
/// keep the case. Empty when memory is exhausted.
void Exchanges::write_query(const Exchange& exchange, std::uint16_t id, bool is_folded,
                            std::vector<std::uint8_t>& query) {
    query = build_query(exchange.key, id, exchange.key.name.bytes(), std::move(query));
    if (query.empty()) return;
    bool is_mixed = !is_folded && group_of(exchange).randomises_case(exchange.upstream);
    if (is_mixed)
        randomise_case(std::span(query).subspan(dns::header_octets, exchange.key.name.size), random_);
    if (exchange.opt != Opt::sent) query = without_opt(std::move(query));
}

/// A socket on a port of its own, and an ID that was not used with this port just now.
std::errc Exchanges::open_socket(Exchange& exchange, Time now) {
    exchange.socket = 0;
    auto bound = network_.open_udp(group_of(exchange).endpoint(exchange.upstream), *this, exchange.place,
                                   exchange.key.group);
    if (!bound) return bound.error();
    std::uint16_t id = random_.id();
    for (unsigned draw = 1; !is_unused(exchange, bound->source_port, id, now); id = random_.id()) {
        if (++draw > limits_.id_draws) {
            network_.close(bound->socket);
            return std::errc::address_in_use;
        }
    }
    write_query(exchange, id, false, exchange.query);
    if (exchange.query.empty()) {
        network_.close(bound->socket);
        return std::errc::not_enough_memory;
    }
    exchange.socket = bound->socket;
    note_spelling(exchange);
    return {};
}

/// Of name and type: by which route, and with which flags, it comes back is not known.
std::uint64_t Exchanges::spelling_of(const cache::Key& question, std::uint64_t capitals) {
    return cache::keyed_hash(question.name.bytes(), cache::keyed_mix(capitals, question.qtype));
}

/// Not without a capital, as clients write; and with few letters somebody else may hit upon the same.
void Exchanges::note_spelling(const Exchange& exchange) {
    constexpr int fewest = 12; // letters; one in 4,096
    spellings_.remove(exchange.place);
    auto name = std::span(exchange.query).subspan(dns::header_octets, exchange.key.name.size);
    std::uint64_t capitals = cache::capitals_of(name);
    if (capitals == 0 || std::ranges::count_if(name, is_letter) < fewest) return;
    spellings_.add(spelling_of(exchange.key, capitals), exchange.place);
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
    if (!exchange) return;
    admission_.mark_collecting(exchange->place);
    exchange->is_collecting = true;
    if (exchange->tcp.age) rank_tcp(*exchange, false);
    if (deadline >= exchange->deadline) return;
    exchange->deadline = deadline;
    set_timer(*exchange, std::min(exchange->timer, deadline));
}

Time Exchanges::next_timer() const {
    if (!displaced_.empty()) return Time{};
    Time next = timers_.next();
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
    while (timers_.next() <= now && due.size() < limits::exchanges_per_tick) {
        std::uint32_t place = timers_.first();
        timers_.set(place, Time::max()); // whoever is acted upon ends or gets another
        due.emplace_back(place, exchanges_[place].serial);
    }
    for (auto [place, serial] : due) {
        if (exchanges_[place].serial == serial) act(exchanges_[place], now);
    }
    start_probes(now);
}

/// Its time has come.
void Exchanges::act(Exchange& exchange, Time now) {
    if (exchange.is_unreachable) return fail(exchange, ExchangeFailure::unreachable, now);
    if (now >= exchange.deadline) {
        return exchange.denial ? on_side_end(exchange, now) : fail(exchange, ExchangeFailure::timeout, now);
    }
    if (now >= exchange.try_tcp_at) {
        exchange.try_tcp_at = Time::max();
        if (open_side(exchange)) note(exchange, ExchangeEvent::tried_tcp, now);
        return set_timer(exchange, due(exchange));
    }
    resend(exchange, now);
}

Time Exchanges::due(const Exchange& exchange) {
    return std::min({exchange.resend_at, exchange.try_tcp_at, exchange.deadline});
}

/// The very same datagram on the same socket: whichever reply comes first fits. But a server that is silent
/// to the first two, and never replied with an OPT, may drop whatever has one: its last goes without, on no
/// budget, because it is no repetition.
void Exchanges::resend(Exchange& exchange, Time now) {
    bool is_last = ++exchange.resends == limits_.resends;
    exchange.resend_after *= 2;
    exchange.resend_at = is_last ? Time::max() : now + exchange.resend_after;
    set_timer(exchange, due(exchange));
    bool drops_opt = is_last && exchange.opt == Opt::sent && may_drop_opt(exchange) &&
                     !habits_of(exchange).is_edns_proved();
    if (drops_opt) {
        exchange.opt = Opt::dropped;
        exchange.query = without_opt(std::move(exchange.query));
        ++counters_.without_edns;
        note(exchange, ExchangeEvent::without_edns, now);
    } else if (!exchange.is_probe && !listener_->may_resend(exchange.fetch)) {
        ++counters_.spared;
        return note(exchange, ExchangeEvent::spared, now);
    }
    ++counters_.resent;
    note(exchange, ExchangeEvent::resent, now);
    if (send(exchange, exchange.socket, exchange.query) != std::errc{}) hint(exchange, now);
}

void Exchanges::fail(Exchange& exchange, ExchangeFailure failure, Time now) {
    counters_.timeouts += failure == ExchangeFailure::timeout;
    counters_.unreachable += failure == ExchangeFailure::unreachable;
    bool is_helpless = exchange.was_case_wrong && failure != ExchangeFailure::no_room;
    if (is_helpless) name_in_log(exchange, "does not keep the letter case, and has no TCP to ask over");
    judge_failure(exchange, failure, now);
    Owner owner{exchange.fetch, exchange.upstream};
    bool is_probe = exchange.is_probe;
    remove(exchange);
    if (!is_probe) listener_->on_exchange_failed(owner.fetch, owner.upstream, failure);
}

/// What it says about the upstream. Nothing when anybody may have brought it about, and when it was over TCP:
/// a server that has none is alive. One that is asked over nothing else, and refuses, is as good as silent.
void Exchanges::judge_failure(const Exchange& exchange, ExchangeFailure failure, Time now) {
    using ProbeEnd = Upstreams::ProbeEnd;
    Upstreams& group = group_of(exchange);
    bool is_refusal = failure == ExchangeFailure::unreachable;
    bool is_silence = failure == ExchangeFailure::timeout || exchange.is_unreachable ||
                      (is_refusal && is_tcp_only(exchange));
    bool tells = is_silence && !exchange.is_driven;
    Time waited = is_refusal ? Time::max() : now - exchange.sent_at;
    if (exchange.is_probe) {
        group.judge_probe(exchange.upstream, tells ? ProbeEnd::silent : ProbeEnd::cancelled, now);
    } else if (tells) {
        group.judge_timeout(exchange.upstream, waited, now);
    }
}

void Exchanges::set_timer(Exchange& exchange, Time at) {
    exchange.timer = at;
    timers_.set(exchange.place, at);
}

void Exchanges::remove(Exchange& exchange) {
    close_side(exchange);
    close_main(exchange);
    exchange.denial.reset();
    spellings_.remove(exchange.place);
    group_of(exchange).end(exchange.upstream);
    timers_.set(exchange.place, Time::max());
    by_owner_.remove(exchange.place);
    exchange.is_open = false;
    ++exchange.serial;
    admission_.leave(exchange.place);
}

Exchanges::Exchange* Exchanges::find(FetchId fetch, unsigned upstream) {
    auto fits = [&](std::uint32_t place) {
        return exchanges_[place].fetch == fetch && exchanges_[place].upstream == upstream;
    };
    auto found = by_owner_.find(hash_of(fetch, upstream), fits);
    return found ? &exchanges_[*found] : nullptr;
}

Upstreams& Exchanges::group_of(const Exchange& exchange) const {
    return groups_[exchange.key.group];
}

/// Nobody chooses these: they are spread as they are.
std::uint64_t Exchanges::hash_of(FetchId fetch, unsigned upstream) {
    return (fetch.generation ^ std::uint64_t(fetch.slot) << 40) * limits::upstreams + upstream;
}

std::uint32_t exchange_capacity() {
    constexpr rlim_t reserve = 2048, most = 16384; // workers' sockets, TCP clients, files
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t rest = limit.rlim_cur > 2 * reserve ? limit.rlim_cur - reserve : limit.rlim_cur / 2;
    return std::uint32_t(std::min(rest, most));
}

} // namespace millrace::control
