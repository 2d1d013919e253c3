// Which EAL arguments the operator may not give, because millraced derives them from the rest
// of the configuration.
#pragma once

#include <string_view>

namespace millrace::control {

/// Why `argument` is refused, as half a sentence; a null pointer when it may be given. Knows the
/// abbreviations and bundles that EAL's getopt_long accepts: "--vd=...", "-l1", "-vl1".
const char* derived_eal_argument(std::string_view argument);

} // namespace millrace::control
