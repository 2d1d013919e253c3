#include "control/command/good_reply.hpp"

#include <nlohmann/json.hpp>

#include "control/config/warnings.hpp"

namespace millrace::control {

using nlohmann::json;

json good_reply(const std::string& file, const Config::Live& live, const std::vector<ReadList>& lists) {
    json rows = json::array();
    for (const ReadList& list : lists) {
        json row{{"file", list.file}, {"names", list.names}, {"skipped", list.skipped}};
        if (!list.first.empty()) row["first_skipped"] = list.first;
        rows.push_back(std::move(row));
    }
    return {{"file", file}, {"valid", true}, {"warnings", warnings_of(live)}, {"lists", std::move(rows)}};
}

} // namespace millrace::control
