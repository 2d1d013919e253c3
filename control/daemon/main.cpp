// millraced: reads the configuration, and either prints it or runs the daemon. Errors while starting are
// fatal and say what to do.
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include "control/config/warnings.hpp"
#include "control/daemon/daemon.hpp"
#include "control/daemon/log_sink.hpp"

namespace millrace::control {
namespace {

/// As many sockets towards upstreams as this process may have.
void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int serve(const Config& config, const Document& document, LocalRules local) {
    raise_descriptor_limit();
    Daemon daemon(config, document, std::move(local));
    Daemon::Result result = daemon.start();
    if (result) result = daemon.run();
    if (!result) spdlog::critical("{}", result.error());
    return result ? 0 : 1;
}

int main(int argc, char** argv) {
    CLI::App app("millraced: a DNS resolver that answers from a DPDK port or a kernel socket");
    std::string path;
    bool check = false;
    app.add_option("--config", path, "YAML configuration file")->required();
    app.add_flag("--check", check, "print the configuration in effect and exit; 2 if it has an error");
    app.footer("The control socket is what `control: socket` says, else /run/millrace/control.sock, or for a "
               "user who "
               "may not write there, $XDG_RUNTIME_DIR/millrace/control.sock.");
    app.set_version_flag("--version", MILLRACE_VERSION);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    }
    std::signal(SIGPIPE, SIG_IGN); // a reader of the log that has gone is no reason to end
    spdlog::set_default_logger(
        std::make_shared<spdlog::logger>("millraced", std::make_shared<LogSink>(STDERR_FILENO)));
    auto text = read_config_file(path);
    auto config = text.and_then([&](const std::string& content) { return parse_config(content, path); });
    if (!config) {
        std::fprintf(stderr, "%s\n", to_string(config.error()).c_str());
        return 2;
    }
    auto local = build_local_names(config->live);
    if (!local) {
        std::fprintf(stderr, "%s\n", to_string(local.error()).c_str());
        return 2;
    }
    if (!check) return serve(*config, {path, *text, *text}, std::move(*local));
    for (const std::string& warning : warnings_of(config->live)) {
        std::fprintf(stderr, "%s: warning: %s\n", path.c_str(), warning.c_str());
    }
    std::fputs(to_yaml(*config).c_str(), stdout);
    return 0;
}

} // namespace
} // namespace millrace::control

int main(int argc, char** argv) {
    return millrace::control::main(argc, argv);
}
