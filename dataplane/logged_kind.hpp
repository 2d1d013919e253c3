// Which message a logged one is.
#pragma once

#include <cstddef>
#include <cstdint>

namespace millrace::dataplane {

enum class LoggedKind : std::uint8_t { client_query, client_response, upstream_query, upstream_response };
inline constexpr std::size_t logged_kinds = 4;

} // namespace millrace::dataplane
