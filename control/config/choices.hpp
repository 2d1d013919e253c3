// The words of the configuration that stand for an enumeration, for reading and for printing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>

#include "control/config/config.hpp"

namespace millrace::control {

template <class Enum>
struct Choice {
    const char* name;
    Enum value;
};
inline constexpr Choice<Config::Strategy> strategies[] = {{"two-stage", Config::Strategy::two_stage},
                                                          {"race", Config::Strategy::race},
                                                          {"sequential", Config::Strategy::sequential},
                                                          {"parallel", Config::Strategy::parallel}};
inline constexpr Choice<Config::MergePolicy> policies[] = {{"union", Config::MergePolicy::unite},
                                                           {"quorum", Config::MergePolicy::quorum},
                                                           {"order", Config::MergePolicy::order},
                                                           {"off", Config::MergePolicy::off}};
inline constexpr Choice<Config::BlockList::Format> list_formats[] = {
    {"names", Config::BlockList::Format::names}, {"rpz", Config::BlockList::Format::rpz}};
inline constexpr Choice<Config::BlockList::Denial> denials[] = {
    {"nxdomain", Config::BlockList::Denial::nxdomain}, {"nodata", Config::BlockList::Denial::nodata}};
inline constexpr Choice<Config::BlockList::Reason> list_reasons[] = {
    {"blocked", Config::BlockList::Reason::blocked},
    {"censored", Config::BlockList::Reason::censored},
    {"filtered", Config::BlockList::Reason::filtered}};
inline constexpr Choice<Config::StaleAnswer> stale_answers[] = {
    {"client-timeout", Config::StaleAnswer::client_timeout}, {"at-once", Config::StaleAnswer::at_once}};
inline constexpr Choice<Config::LogFormat> log_formats[] = {{"text", Config::LogFormat::text},
                                                            {"json", Config::LogFormat::json},
                                                            {"journal", Config::LogFormat::journal}};
inline constexpr Choice<Config::LogLevel> log_levels[] = {{"error", Config::LogLevel::error},
                                                          {"warning", Config::LogLevel::warning},
                                                          {"info", Config::LogLevel::info}};
inline constexpr Choice<dataplane::Idle> idles[] = {
    {"poll", dataplane::Idle::poll}, {"pause", dataplane::Idle::pause}, {"sleep", dataplane::Idle::sleep}};
inline constexpr Choice<dataplane::LoggedKind> logged_messages[] = {
    {"client-query", dataplane::LoggedKind::client_query},
    {"client-response", dataplane::LoggedKind::client_response},
    {"upstream-query", dataplane::LoggedKind::upstream_query},
    {"upstream-response", dataplane::LoggedKind::upstream_response}};
inline constexpr Choice<unsigned> rcodes[] = {
    {"NOERROR", 0},  {"FORMERR", 1}, {"SERVFAIL", 2}, {"NXDOMAIN", 3}, {"NOTIMP", 4},  {"REFUSED", 5},
    {"YXDOMAIN", 6}, {"YXRRSET", 7}, {"NXRRSET", 8},  {"NOTAUTH", 9},  {"NOTZONE", 10}};
inline constexpr Choice<Config::DnstapTarget::Kind> dnstap_targets[] = {
    {"unix", Config::DnstapTarget::Kind::unix_socket},
    {"tcp", Config::DnstapTarget::Kind::tcp},
    {"file", Config::DnstapTarget::Kind::file}};
inline constexpr const char *to_sender = "sender", *to_routed = "routed"; // of ports[].next-hop
inline std::string next_hop_text(const Config::Port& port) {
    if (port.is_routed) return to_routed;
    return port.next_hop ? to_string(*port.next_hop) : to_sender;
}
inline constexpr Choice<bool> switches[] = {{"true", true}, {"false", false}};

template <class Enum, std::size_t N>
const char* name_of(Enum value, const Choice<Enum> (&choices)[N]) {
    return std::find_if(std::begin(choices), std::end(choices), [&](auto& c) { return c.value == value; })
        ->name;
}

} // namespace millrace::control
