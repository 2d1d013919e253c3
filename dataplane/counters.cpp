#include "dataplane/counters.hpp"

namespace millrace::dataplane {

namespace {

constexpr std::array<std::string_view, verdicts> verdict_names = {
    "answered",      "missed",           "refused",     "to_kernel",        "drop_frame",
    "drop_protocol", "drop_destination", "drop_source", "drop_fragment",    "drop_checksum",
    "drop_short",    "drop_response",    "drop_rate",   "drop_kernel_rate", "drop_kernel_full",
    "to_control",    "drop_reply_full",  "drop_unasked"};
constexpr std::array<std::string_view, events> event_names = {
    "hit",           "stale_hit",      "refresh_asked", "refresh_dropped", "local",
    "blocked",       "rate_queries",   "rate_errors",   "rate_responses",  "dry_queries",
    "dry_errors",    "dry_responses",  "slipped",       "rate_table_full", "servfail_full",
    "wake_answered", "wake_abandoned", "sent",          "send_failed",     "buffer_exhausted",
    "from_kernel",   "unrouted",       "from_control"};

} // namespace

std::string_view to_string(Verdict verdict) {
    return verdict_names[std::size_t(verdict)];
}
std::string_view to_string(Event event) {
    return event_names[std::size_t(event)];
}

} // namespace millrace::dataplane
