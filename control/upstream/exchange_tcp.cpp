// Exchanges over TCP: where UDP leads there, and on the side, while it is waited for.
#include <spdlog/spdlog.h>

#include "control/message/query.hpp"
#include "control/message/reply.hpp"
#include "control/message/reply_match.hpp"
#include "control/upstream/exchange.hpp"

namespace millrace::control {

/// What then fails is not held against the upstream: a forger must not be able to put it aside, not even one
/// that has no TCP.
void Exchanges::drive_to_tcp(Exchange& exchange, Time now) {
    exchange.is_driven = true;
    go_tcp(exchange, now);
}

/// The same question with the same deadline; no more resends.
void Exchanges::go_tcp(Exchange& exchange, Time now) {
    close_side(exchange);
    close_main(exchange);
    exchange.over_tcp = true;
    exchange.resend_at = exchange.try_tcp_at = Time::max();
    ++counters_.tcp;
    note(exchange, ExchangeEvent::over_tcp, now);
    std::errc error = connect(exchange, now);
    if (error == std::errc{}) error = send(exchange, exchange.socket, exchange.query);
    if (is_own_bound(error)) return fail(exchange, ExchangeFailure::no_room, now);
    if (error != std::errc{}) return fail(exchange, ExchangeFailure::unreachable, now);
    set_timer(exchange, due(exchange));
}

/// When connections are short, another's is taken.
std::errc Exchanges::connect(Exchange& exchange, Time now) {
    const dataplane::Endpoint& endpoint = group_of(exchange).endpoint(exchange.upstream);
    auto socket = network_.open_tcp(endpoint, *this, exchange.place);
    bool is_short = !socket && socket.error() == std::errc::too_many_files_open;
    if (is_short && displace_tcp(exchange.is_collecting, now)) {
        socket = network_.open_tcp(endpoint, *this, exchange.place);
    }
    if (!socket) return socket.error();
    exchange.socket = *socket;
    if (!exchange.is_probe) rank_tcp(exchange, !exchange.is_collecting);
    return {};
}

/// The oldest that nobody waits for, then the oldest: who said "truncated" and then nothing is soon the
/// oldest, whoever answers is never. One on the side ends alone; else a Fetch is told in the next tick.
bool Exchanges::displace_tcp(bool for_collection, Time now) {
    if (tcp_.empty() || (for_collection && tcp_.begin()->is_waited_for)) return false;
    Exchange& oldest = exchanges_[tcp_.begin()->place];
    ++counters_.tcp_displaced;
    if (oldest.side != 0) {
        close_side(oldest);
        if (oldest.denial) set_timer(oldest, oldest.deadline = now);
        return true;
    }
    displaced_.push_back({oldest.fetch, oldest.upstream});
    remove(oldest);
    return true;
}

void Exchanges::rank_tcp(Exchange& exchange, bool is_waited_for) {
    std::uint64_t age = exchange.tcp.age ? exchange.tcp.age : ++tcp_begun_;
    leave_tcp(exchange);
    exchange.tcp = {is_waited_for, age, exchange.place};
    tcp_.insert(exchange.tcp);
}

void Exchanges::leave_tcp(Exchange& exchange) {
    if (exchange.tcp.age) tcp_.erase(exchange.tcp);
    exchange.tcp = {};
}

void Exchanges::close_main(Exchange& exchange) {
    if (exchange.socket == 0) return;
    network_.close(exchange.socket);
    exchange.socket = 0;
    if (exchange.over_tcp) leave_tcp(exchange);
}

// On the side.

/// Takes nobody's connection away, and leaves most of them to others. In lower case as long as that may be
/// what the server wants.
bool Exchanges::open_side(Exchange& exchange) {
    if (sides_ >= limits_.tcp_tries) {
        ++counters_.tcp_tries_refused;
        return false;
    }
    bool is_folded = !habits_of(exchange).is_case_proved();
    write_query(exchange, random_.id(), is_folded, exchange.side_query);
    auto socket = network_.open_tcp(group_of(exchange).endpoint(exchange.upstream), *this, exchange.place);
    if (!socket) {
        counters_.tcp_tries_refused += is_own_bound(socket.error());
        return false;
    }
    exchange.side = *socket;
    ++sides_;
    ++counters_.tcp_tries;
    rank_tcp(exchange, false);
    if (send(exchange, exchange.side, exchange.side_query) == std::errc{}) return true;
    close_side(exchange);
    return false;
}

void Exchanges::close_side(Exchange& exchange) {
    if (exchange.side == 0) return;
    network_.close(exchange.side);
    exchange.side = 0;
    leave_tcp(exchange);
    --sides_;
}

void Exchanges::on_side_reply(Exchange& exchange, std::span<const std::uint8_t> message, Time received) {
    auto match = match_reply(exchange.side_query, message);
    bool is_ours = match == ReplyMatch::reply || match == ReplyMatch::wrong_case;
    if (!is_ours) return on_side_end(exchange, received);
    unsigned max_rrset = group_of(exchange).max_rrset();
    auto answer = parse_reply(message, exchange.key, exchange.upstream, received, max_rrset);
    bool is_failure = !answer || answer->kind == Kind::failure;
    if (!answer || (exchange.denial && is_failure)) return on_side_end(exchange, received);
    Habits& habits = habits_of(exchange);
    bool may_be_case = is_mixed_case(exchange) && !habits.is_case_proved() && !is_failure;
    if (exchange.denial && !answer->is_bare_denial()) {
        habits.denied_mixed_case(received);
        blame_case(exchange, received);
    } else if (!exchange.denial && may_be_case && habits.left_mixed_case_unanswered(received)) {
        blame_case(exchange, received);
    }
    exchange.over_tcp = true; // close_side() ends it; how long it took is no measure
    accept(exchange, std::move(*answer));
}

/// It brought nothing: what was doubted stands.
void Exchanges::on_side_end(Exchange& exchange, Time now) {
    close_side(exchange);
    if (!exchange.denial) return;
    habits_of(exchange).could_not_check_case(now);
    accept(exchange, *std::exchange(exchange.denial, std::nullopt));
}

/// An NXDOMAIN for a name in mixed case, from a server that was not seen yet to know one: held back until the
/// name in lower case says the same. Over TCP, so that nobody can forge what is easier to guess.
bool Exchanges::doubt(Exchange& exchange, Answer& answer, Time now) {
    bool may_be_case = answer.is_bare_denial() && is_mixed_case(exchange) && !exchange.is_probe;
    if (!may_be_case || !habits_of(exchange).may_check_case(now)) return false;
    close_main(exchange);
    if (exchange.side == 0 && !open_side(exchange)) return false;
    Time patience = std::clamp<Time>(2 * group_of(exchange).resend_after(exchange.upstream), 500ms, 1s);
    exchange.denial = std::move(answer);
    exchange.is_driven = true;
    exchange.resend_at = exchange.try_tcp_at = Time::max();
    exchange.deadline = std::min(exchange.deadline, now + patience);
    set_timer(exchange, exchange.deadline);
    note(exchange, ExchangeEvent::case_doubted, now);
    return true;
}

void Exchanges::blame_case(Exchange& exchange, Time now) {
    note(exchange, ExchangeEvent::case_blamed, now);
    bool denies = habits_of(exchange).letter_case() == LetterCase::denied;
    name_in_log(exchange, denies ? "denies names in mixed letter case, and is asked in lower case over TCP"
                                 : "is silent to names in mixed letter case, or to all over UDP, and is "
                                   "asked in lower case over TCP");
}

/// Once of each server, as there are only so many.
void Exchanges::name_in_log(const Exchange& exchange, std::string_view what) {
    if (!habits_of(exchange).begin_naming()) return;
    spdlog::warn("{} {}. `randomise-case: false` spares it that", group_of(exchange).title(exchange.upstream),
                 what);
}

} // namespace millrace::control
