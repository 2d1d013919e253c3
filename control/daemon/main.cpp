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
#include "control/daemon/log.hpp"
#include "control/daemon/privileges.hpp"
#include "dataplane/eal_log.hpp"

namespace millrace::control {
namespace {

constexpr int beside_another = 3; // which goes on: no reason for a service manager to try again

/// As many sockets towards upstreams as this process may have.
void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/// All that starting took and running does not.
Daemon::Result drop_privileges(const Config& config, bool dumps_core) {
    auto kept = keep_only(capabilities_to_run(config, machine_has_iommu(), shares_nics(config)));
    if (!kept) return tl::unexpected(kept.error());
    if (!dumps_core) hide_memory();
    spdlog::info("privileges kept: {}", to_string(*kept));
    return {};
}

int serve(const Config& config, const Document& document, LocalRules local, bool takes_over,
          bool dumps_core) {
    raise_descriptor_limit();
    const std::string& socket = config.boot.control_socket;
    bool is_another = Predecessor::is_there(socket);
    if (is_another && !takes_over) {
        spdlog::critical("cannot open the control socket {}: another millraced is listening there; stop it, "
                         "or have this one --take-over",
                         socket);
        return beside_another;
    }
    Daemon daemon(config, document, std::move(local));
    Daemon::Result result = daemon.start(takes_over);
    if (result) result = drop_privileges(config, dumps_core);
    if (result) result = daemon.run();
    if (!result) spdlog::critical("{}", result.error());
    return result ? 0 : is_another && !daemon.has_taken_over() ? beside_another : 1;
}

int main(int argc, char** argv) {
    CLI::App app("millraced: a DNS resolver that answers from a DPDK port or a kernel socket");
    std::string path;
    bool check = false, takes_over = false, dumps_core = false;
    app.add_option("--config", path, "YAML configuration file")->required();
    app.add_flag("--check", check, "print the configuration in effect and exit; 2 if it has an error");
    app.add_flag("--take-over", takes_over,
                 "take over from the millraced at the same control socket, which serves meanwhile and then "
                 "ends, if there is one");
    app.add_flag("--core-dumps", dumps_core,
                 "let a crash leave a core; secrets and what clients asked are in it");
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
    renounce();
    (void)start_log(Config::LogFormat::text); // until the configuration is known
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
    if (!check) {
        if (auto log = start_log(config->boot.log_format); !log) {
            std::fprintf(stderr, "%s\n", log.error().c_str());
            return 1;
        }
        set_log_level(config->live.log_level);
        dataplane::send_eal_log_to(log_of_eal);
        return serve(*config, {path, *text, *text}, std::move(*local), takes_over, dumps_core);
    }
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
