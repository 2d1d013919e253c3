// millracectl: asks the daemon over its control socket, and prints a table or the JSON object.
//
// Exit code: 0 done, 1 the daemon reports an error or is not healthy, 2 wrong command line or no daemon.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "control/command/client.hpp"
#include "control/command/command_line.hpp"
#include "control/command/good_reply.hpp"
#include "control/command/tables.hpp"
#include "control/command/watch.hpp"
#include "control/local/build.hpp"

namespace {

using namespace millrace::control;
using nlohmann::json;

constexpr int refused = 1, unusable = 2;
constexpr auto replace = json::error_handler_t::replace;

/// One side of the terminal that is written to; 0: it is none, and nothing is to be made to fit.
std::size_t measure(const char* variable, unsigned short winsize::*side, std::size_t usual) {
    if (!isatty(STDOUT_FILENO)) return 0;
    const char* given = std::getenv(variable);
    if (given && std::atoi(given) > 0) return std::size_t(std::atoi(given));
    winsize size{};
    bool is_known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.*side > 0;
    return is_known ? size.*side : usual;
}

std::size_t terminal_width() {
    return measure("COLUMNS", &winsize::ws_col, 80);
}

/// What fits into the terminal's height, the last line of it saying how much does not.
std::string cut_to_height(const std::string& text) {
    std::size_t rows = measure("LINES", &winsize::ws_row, 24);
    auto lines = std::size_t(std::ranges::count(text, '\n'));
    if (lines < rows || rows < 3) return text;
    std::size_t shown = rows - 2, end = 0; // the cursor stands below the last
    for (std::size_t i = 0; i < shown; ++i) end = text.find('\n', end) + 1;
    return text.substr(0, end) + fmt::format("... {} lines more\n", lines - shown);
}

void print_error(const json& reply) {
    const json& error = reply["error"];
    std::string sentence =
        error.is_string() ? printable(error.get<std::string>()) : error.dump(-1, ' ', true);
    std::fprintf(stderr, "millracectl: %s\n", sentence.c_str());
    if (!reply.contains("by_hand")) return;
    std::fprintf(stderr, "Write by hand:\n");
    for (const json& line : reply["by_hand"]) {
        std::fprintf(stderr, "  %s\n", line.is_string() ? printable(line.get<std::string>()).c_str() : "?");
    }
}

void print_text(const json& text) {
    std::string all = text.is_string() ? text.get<std::string>() : "";
    for (std::size_t at = 0; at < all.size();) {
        std::size_t end = std::min(all.find('\n', at), all.size());
        std::printf("%s\n", printable(all.substr(at, end - at)).c_str());
        at = end + 1;
    }
}

/// `fits`: as much of a table as fits on the screen.
int print(const CommandLine& line, const json& reply, bool fits = false) {
    bool failed = reply.contains("error");
    if (line.json) {
        std::printf("%s\n", reply.dump(-1, ' ', true, replace).c_str());
    } else if (failed) {
        print_error(reply);
    } else if (!line.text_member.empty() && reply.contains(line.text_member)) {
        print_text(reply[line.text_member]);
    } else {
        std::string table = to_table(reply, terminal_width());
        std::fputs((fits ? cut_to_height(table) : table).c_str(), stdout);
    }
    std::fflush(stdout);
    return failed || !reply.value("healthy", true) ? refused : 0;
}

tl::expected<json, std::string> ask(const CommandLine& line) {
    return request(line.socket, json(line.words).dump(-1, ' ', true, replace));
}

int no_daemon(const std::string& why) {
    std::fprintf(stderr, "millracectl: %s\n", why.c_str());
    return unusable;
}

int ask_once(const CommandLine& line) {
    auto reply = ask(line);
    return reply ? print(line, *reply) : no_daemon(reply.error());
}

int ask_on(const CommandLine& line) {
    Rates rates;
    bool is_in_place = !line.json && isatty(STDOUT_FILENO), is_first = true;
    return watch(line.watch, [&]() -> std::optional<int> {
        auto reply = ask(line);
        if (!reply) return no_daemon(reply.error());
        if (reply->contains("error")) return print(line, *reply);
        if (is_in_place)
            std::fputs("\x1b[H\x1b[2J", stdout);
        else if (!is_first && !line.json)
            std::fputs("\n", stdout);
        is_first = false;
        if (line.is_rates) *reply = {{line.words.back(), rates.of(*reply, std::chrono::steady_clock::now())}};
        print(line, *reply, is_in_place);
        if (std::ferror(stdout)) return 0; // the reader has gone
        return std::nullopt;
    });
}

/// With the eyes and the rights of who asks, not of the daemon: whatever is no configuration stays unread.
int check_file(const CommandLine& line) {
    spdlog::set_default_logger(spdlog::stderr_logger_st("millracectl"));
    auto config = load_config(line.file);
    tl::expected<LocalRules, ConfigError> local;
    if (config) local = build_local_names(config->live);
    if (!config || !local)
        return print(line, {{"error", to_string(config ? local.error() : config.error())}});
    return print(line, good_reply(line.file, config->live, local->lists));
}

} // namespace

int main(int argc, char** argv) {
    CLI::App app("Asks a running millraced.", "millracectl");
    CommandLine line;
    add_commands(app, line);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : unusable;
    }
    if (!line.completion.empty()) {
        std::fputs(completion_script(app, line.completion).c_str(), stdout);
        return 0;
    }
    if (line.words.empty()) return no_daemon("a command is missing; --help lists them");
    if (!line.file.empty()) return check_file(line);
    return line.watch > 0 ? ask_on(line) : ask_once(line);
}
