#include "control/upstream/exchange.hpp"

namespace millrace::control {

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
    case ExchangeEvent::spared: return "not sent again: enough datagrams for one question";
    case ExchangeEvent::without_edns: return "goes on without EDNS";
    case ExchangeEvent::tried_tcp: return "silent: tried over TCP as well";
    case ExchangeEvent::case_doubted: return "denied in mixed letter case: asked over TCP in lower case";
    case ExchangeEvent::case_blamed: return "the letter case is the cause: `randomise-case: false` spares it";
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
