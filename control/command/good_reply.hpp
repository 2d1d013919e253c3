// What `config check` says of a file that is right.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "control/local/build.hpp"

namespace millrace::control {

nlohmann::json good_reply(const std::string& file, const Config::Live& live,
                          const std::vector<ReadList>& lists);

} // namespace millrace::control
