#include "control/daemon/top_verb.hpp"

#include <charconv>
#include <cmath>

#include <nlohmann/json.hpp>

#include "control/limits.hpp"

namespace millrace::control {

using nlohmann::json;

namespace {

constexpr std::size_t usual_rows = 10;

double rounded(double rate) {
    return std::round(rate * 10) / 10;
}

json table_of(const std::vector<Top::Row>& rows, const char* what, double all) {
    json out = json::array();
    for (const Top::Row& row : rows) {
        double share = all > 0 ? row.rate / all : 0;
        out.push_back({{what, row.name},
                       {"per_second", rounded(row.rate)},
                       {"at_most_too_high", rounded(row.error)},
                       {"percent", rounded(share * 100)}});
    }
    return out;
}

} // namespace

json top_of(const Top& top, std::size_t rows) {
    Top::View view = top.view(boot_time(), rows);
    return {{"seconds", rounded(view.seconds)},
            {"per_second", rounded(view.rate)},
            {"one_in", view.stride},
            {"names", table_of(view.names, "name", view.rate)},
            {"zones", table_of(view.zones, "zone", view.rate)},
            {"clients", table_of(view.clients, "client", view.rate)},
            {"upstreams", table_of(view.upstreams, "upstream", view.asked)}};
}

void add_top_verb(CommandServer& server, const Top& top) {
    server.on(
        "top",
        [&top](const std::vector<std::string>& args, const Responder& responder) {
            std::size_t rows = usual_rows;
            const std::string text = args.empty() ? "" : args[0];
            bool is_number =
                args.empty() || std::from_chars(text.data(), text.data() + text.size(), rows).ptr ==
                                    text.data() + text.size();
            if (args.size() > 1 || !is_number || rows < 1 || rows > limits::top_places) {
                return responder.fail("usage: top [ROWS], 1 to " + std::to_string(limits::top_places));
            }
            responder.respond(top_of(top, rows));
        },
        Effect::look);
}

} // namespace millrace::control
