// Exchanges: what comes in, and what it is taken for.
#include <algorithm>

#include "cache/dns.hpp"
#include "cache/wire.hpp"
#include "control/message/query.hpp"
#include "control/message/reply.hpp"
#include "control/message/reply_match.hpp"
#include "control/upstream/exchange.hpp"

namespace millrace::control {

namespace {

/// What servers say that do not understand an OPT (RFC 6891 7), or its version.
bool is_edns_error(unsigned rcode) {
    return rcode == unsigned(dns::Rcode::formerr) || rcode == unsigned(dns::Rcode::notimp) ||
           rcode == unsigned(dns::Rcode::badvers);
}

} // namespace

void Exchanges::on_message(Socket socket, std::uint64_t token, std::span<const std::uint8_t> message,
                           Time received) {
    Exchange& exchange = exchanges_[token];
    bool is_of_it = exchange.is_open && (exchange.side == socket || exchange.socket == socket);
    if (log_ && is_of_it) {
        bool is_tcp = exchange.over_tcp || socket == exchange.side;
        log_->add({group_of(exchange).endpoint(exchange.upstream), exchange.sent_at, received, 0,
                   dataplane::LoggedKind::upstream_response,
                   is_tcp ? dataplane::Transport::tcp : dataplane::Transport::udp},
                  message);
    }
    if (exchange.is_open && exchange.side == socket) return on_side_reply(exchange, message, received);
    if (!exchange.is_open || exchange.socket != socket) {
        ++counters_.late;
        return;
    }
    switch (match_reply(exchange.query, message)) {
    case ReplyMatch::reply: return deliver(exchange, message, true, received);
    case ReplyMatch::truncated:
        if (exchange.over_tcp)
            return deliver_nothing(exchange, "truncated over TCP", counters_.malformed, received);
        group_of(exchange).heard(exchange.upstream, received);
        measure(exchange, received);
        if (exchange.is_probe) { // that is all it was to tell
            Answer heard;
            heard.upstream = exchange.upstream;
            heard.received = received;
            return finish(exchange, std::move(heard));
        }
        exchange.deadline = std::min(exchange.deadline, received + limits_.tcp_reply);
        return go_tcp(exchange, received);
    case ReplyMatch::wrong_case:
        exchange.was_case_wrong = true;
        // Over TCP nobody can have guessed it: the upstream does not keep the case.
        if (exchange.over_tcp) return deliver(exchange, message, false, received);
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
    case ReplyMatch::no_edns:
        if (may_drop_opt(exchange)) return ask_without_opt(exchange, received);
        [[fallthrough]];
    case ReplyMatch::no_reply:
        ++counters_.malformed;
        note(exchange, ExchangeEvent::malformed, received);
        return;
    }
    // Somebody guesses, and has found the port. Nobody can over TCP.
    if (!exchange.over_tcp) drive_to_tcp(exchange, received);
}

void Exchanges::on_network_error(Socket socket, std::uint64_t token, std::errc, Time when) {
    Exchange& exchange = exchanges_[token];
    if (exchange.is_open && exchange.side == socket) return on_side_end(exchange, when);
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

void Exchanges::deliver(Exchange& exchange, std::span<const std::uint8_t> reply, bool is_case_kept,
                        Time received) {
    unsigned max_rrset = group_of(exchange).max_rrset();
    auto answer = parse_reply(reply, exchange.key, exchange.upstream, received, max_rrset);
    if (!answer && (answer.error() == ReplyError::malformed || answer.error() == ReplyError::not_asked)) {
        note(exchange, ExchangeEvent::malformed, received);
        ++counters_.malformed;
        return;
    }
    if (!answer) {
        bool is_large = answer.error() == ReplyError::rrset_size;
        return deliver_nothing(exchange, to_string(answer.error()),
                               is_large ? counters_.large_rrsets : counters_.malformed, received);
    }
    if (is_edns_error(answer->rcode) && may_drop_opt(exchange)) return ask_without_opt(exchange, received);
    learn(exchange, *answer, is_case_kept, received);
    if (!doubt(exchange, *answer, received)) accept(exchange, std::move(*answer));
}

void Exchanges::accept(Exchange& exchange, Answer&& answer) {
    Upstreams& group = group_of(exchange);
    bool is_good = group.judge_reply(exchange.upstream, answer.rcode, answer.received);
    // How fast a failure comes is no measure, nor how long it takes to find out that there is no EDNS.
    bool is_delayed = exchange.opt == Opt::dropped || exchange.opt == Opt::refused;
    bool is_usual_way = !exchange.over_tcp || is_tcp_only(exchange);
    if (is_good && !is_delayed && is_usual_way) measure(exchange, answer.received);
    answer.is_trusted = group.is_trusted(exchange.upstream);
    // Anybody can set the bit: of a server that nobody trusts it is not even weighed.
    answer.authentic = answer.authentic && answer.is_trusted;
    finish(exchange, std::move(answer));
}

/// Its own reply, but of no use: a chain without end, an RRset without measure, truncated even over TCP (RFC
/// 2181 9). That is the zone's fault: no answer, which says `why`, and nothing against the upstream.
void Exchanges::deliver_nothing(Exchange& exchange, std::string_view why, std::uint64_t& counter,
                                Time received) {
    ++counter;
    group_of(exchange).heard(exchange.upstream, received);
    Answer nothing;
    nothing.upstream = exchange.upstream;
    nothing.received = received;
    nothing.unfit = why;
    nothing.info.emplace(dns::ede::other, std::string(why));
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

// EDNS and letter case.

/// Never of a server marked `trusted`: without OPT there are no signatures, so that is a way to downgrade.
bool Exchanges::may_drop_opt(const Exchange& exchange) const {
    bool has_left = exchange.opt == Opt::sent || exchange.opt == Opt::dropped;
    return has_left && !group_of(exchange).is_trusted(exchange.upstream);
}

/// The same question within the same deadline, on a fresh port and ID: who guessed the last gained nothing.
void Exchanges::ask_without_opt(Exchange& exchange, Time now) {
    exchange.opt = Opt::refused;
    ++counters_.without_edns;
    note(exchange, ExchangeEvent::without_edns, now);
    group_of(exchange).heard(exchange.upstream, now);
    if (exchange.over_tcp) {
        exchange.query = without_opt(std::move(exchange.query));
        cache::store_u16(exchange.query.data(), random_.id());
        return go_tcp(exchange, now);
    }
    close_main(exchange);
    std::errc error = open_socket(exchange, now);
    if (error == std::errc{}) error = send(exchange, exchange.socket, exchange.query);
    if (is_own_bound(error)) return fail(exchange, ExchangeFailure::no_room, now);
    if (error != std::errc{}) return fail(exchange, ExchangeFailure::unreachable, now);
    schedule_resends(exchange, now);
    set_timer(exchange, due(exchange));
}

bool Exchanges::is_mixed_case(const Exchange& exchange) {
    auto name = exchange.key.name.bytes();
    return !std::ranges::equal(std::span(exchange.query).subspan(dns::header_octets, name.size()), name);
}

/// What an accepted reply shows of its server's habits.
void Exchanges::learn(const Exchange& exchange, const Answer& answer, bool is_case_kept, Time now) {
    Habits& habits = habits_of(exchange);
    bool is_failure = answer.kind == Kind::failure;
    if (answer.has_opt && !is_edns_error(answer.rcode)) {
        habits.heard_opt();
    } else if (!is_failure && (exchange.opt == Opt::refused || exchange.opt == Opt::dropped)) {
        habits.missed_edns(exchange.opt == Opt::refused, now);
    }
    if (is_failure || answer.is_bare_denial() || !is_mixed_case(exchange)) return;
    habits.knew_mixed_case(is_case_kept ? LetterCase::kept : LetterCase::changed, now);
}

} // namespace millrace::control
