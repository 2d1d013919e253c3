// A logged message as dnstap's protobuf. Threads: pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cache/time.hpp"
#include "dataplane/query_log.hpp"

namespace millrace::control {

/// What is said besides the message.
struct DnstapFrame {
    std::string identity, version; ///< of who writes; empty: not said
    Time wall_offset{};            ///< CLOCK_REALTIME minus CLOCK_BOOTTIME
};

std::vector<std::uint8_t> to_dnstap(const dataplane::LoggedMessage& what,
                                    std::span<const std::uint8_t> message, const DnstapFrame& frame);

} // namespace millrace::control
