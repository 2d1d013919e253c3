// Which EAL arguments the operator may give. Pure: asked when the configuration is read, and once more when
// EAL's arguments are put together.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::dataplane {

/// One argument as getopt_long sees it; a configured one may hold several, separated by blanks.
std::vector<std::string> split_eal_arguments(const std::vector<std::string>& configured);

/// Why the operator may not give `argument`, as half a sentence; a null pointer when it may be given. What is
/// the value of the argument before it may be given. Knows the bundles ("-vl1") and abbreviations ("--vd=x")
/// that getopt_long accepts.
const char* refusal_of(std::string_view argument);

/// Whether one of `names` ("-m", "--no-huge") is among the arguments, none of which is refused.
bool gives(const std::vector<std::string>& arguments, std::initializer_list<std::string_view> names);

} // namespace millrace::dataplane
