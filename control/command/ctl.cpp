// millracectl: asks the daemon over its control socket, and prints a table or the JSON object.
//
// Exit code: 0 done, 1 the daemon reports an error or is not healthy, 2 wrong command line or no daemon.
#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "control/command/client.hpp"
#include "control/command/tables.hpp"
#include "control/config/control_socket.hpp"

namespace {

using namespace millrace::control;

constexpr int refused = 1, unusable = 2;

struct Options {
    std::string socket = control_socket_to_ask();
    bool json = false;
    bool all = false;
    bool zone = false;
    std::string name, type, group;
    std::string request; ///< what the chosen subcommand makes of them
};

const CLI::Validator one_word(
    [](std::string& text) {
        bool fits = !text.empty() && text.size() <= 1024 && // 255 octets, each at most four characters
                    text.find_first_of(" \t\r\n") == text.npos;
        return fits ? std::string() : std::string("expected a word; a space within a name is written \\032");
    },
    "", "word");

void add_cache(CLI::App& app, Options& options) {
    CLI::App* cache = app.add_subcommand("cache", "look into the cache, keep what is in it, or forget it");
    cache->require_subcommand(1);

    CLI::App* lookup = cache->add_subcommand("lookup", "show the cached answer for a name and type");
    lookup->add_option("NAME", options.name, "domain name")->required()->check(one_word);
    lookup->add_option("TYPE", options.type, "record type, such as A or AAAA")->required()->check(one_word);
    lookup->final_callback([&] { options.request = "cache lookup " + options.name + " " + options.type; });

    cache->add_subcommand("dump", "write what is cached to the file of `cache: file`")->final_callback([&] {
        options.request = "cache dump";
    });
    cache->add_subcommand("load", "take from that file what is not cached")->final_callback([&] {
        options.request = "cache load";
    });

    CLI::App* flush = cache->add_subcommand("flush", "forget a name, all types of it, or everything");
    CLI::Option_group* what = flush->add_option_group("what");
    what->add_option("NAME", options.name, "domain name")->check(one_word);
    what->add_flag("--all", options.all, "everything");
    what->add_option("--group", options.group, "what a group of upstreams said, and was made of that")
        ->check(one_word);
    what->require_option(1);
    flush->add_flag("--zone", options.zone, "the name and all below it")
        ->excludes("--all")
        ->excludes("--group");
    flush->final_callback([&] {
        std::string what = options.all             ? "--all"
                           : options.group.empty() ? (options.zone ? "--zone " : "") + options.name
                                                   : "--group " + options.group;
        options.request = "cache flush " + what;
    });
}

void add_trace(CLI::App& app, Options& options) {
    CLI::App* trace = app.add_subcommand("trace", "ask the upstreams afresh and show what happens when");
    trace->add_option("NAME", options.name, "domain name")->required()->check(one_word);
    trace->add_option("TYPE", options.type, "record type, such as A or AAAA")->required()->check(one_word);
    trace->final_callback([&] { options.request = "trace " + options.name + " " + options.type; });
}

void add_rank(CLI::App& app, Options& options) {
    CLI::App* rank = app.add_subcommand("rank", "show what probes found of the addresses of a cached name");
    rank->add_option("NAME", options.name, "domain name")->required()->check(one_word);
    rank->final_callback([&] { options.request = "rank " + options.name; });
}

void add_upstream(CLI::App& app, Options& options) {
    CLI::App* upstream = app.add_subcommand("upstream", "the servers that are asked: how well they are");
    upstream->require_subcommand(1);
    upstream->add_subcommand("list", "show each one's speed, losses and state, since when and why")
        ->final_callback([&] { options.request = "upstream list"; });
    for (auto [verb, help] : {std::pair("up", "ask it whatever its probes say"),
                              std::pair("down", "ask it nothing, whoever else is silent"),
                              std::pair("auto", "leave it to its breaker again, as at first")}) {
        CLI::App* word = upstream->add_subcommand(verb, help);
        word->add_option("NAME", options.name,
                         "its address, or its name with all addresses that it has or gets, as `upstream "
                         "list` shows them")
            ->required()
            ->check(one_word);
        word->final_callback([&options, verb = verb] {
            options.request = "upstream " + std::string(verb) + " " + options.name;
        });
    }
}

void add_config(CLI::App& app, Options& options) {
    CLI::App* config = app.add_subcommand("config", "the daemon's configuration file");
    config->require_subcommand(1);
    config->add_subcommand("reload", "read it again, and put into effect what needs no restart")
        ->final_callback([&] { options.request = "config reload"; });
}

void add_commands(CLI::App& app, Options& options) {
    app.add_option("--socket", options.socket, "control socket of the daemon")->capture_default_str();
    app.footer(
        "Unless --socket names it, the control socket is $XDG_RUNTIME_DIR/millrace/control.sock for a user "
        "who may not write to /run/millrace and has one there, else /run/millrace/control.sock.");
    app.add_flag("--json", options.json, "print the JSON object");
    app.fallthrough(); // these two may also follow the command
    app.require_subcommand(1);
    for (auto [verb, help] :
         {std::pair("status", "what the daemon is and does"), std::pair("stats", "its counters"),
          std::pair("inflight", "questions that upstreams are being asked"),
          std::pair("ports", "the DPDK ports: device, link, queues, the driver's counters"),
          std::pair("health", "whether clients should be sent here; if not, ends with 1"),
          std::pair("drain", "call it unhealthy, so that clients are sent elsewhere; serve them still"),
          std::pair("resume", "call it healthy again, when it is"), std::pair("quit", "end the daemon")}) {
        app.add_subcommand(verb, help)->final_callback([&options, verb = verb] { options.request = verb; });
    }
    add_trace(app, options);
    add_rank(app, options);
    add_cache(app, options);
    add_upstream(app, options);
    add_config(app, options);
}

int run(const Options& options) {
    auto reply = request(options.socket, options.request);
    if (!reply) {
        std::fprintf(stderr, "millracectl: %s\n", reply.error().c_str());
        return unusable;
    }
    bool failed = reply->contains("error");
    if (options.json) {
        std::printf("%s\n", reply->dump(-1, ' ', true).c_str());
    } else if (failed) {
        const auto& error = (*reply)["error"];
        std::string sentence = error.is_string() ? printable(error.get<std::string>()) : error.dump();
        std::fprintf(stderr, "millracectl: %s\n", sentence.c_str());
    } else {
        std::fputs(to_table(*reply).c_str(), stdout);
    }
    return failed || !reply->value("healthy", true) ? refused : 0;
}

} // namespace

int main(int argc, char** argv) {
    CLI::App app("Asks a running millraced.", "millracectl");
    Options options;
    add_commands(app, options);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : unusable;
    }
    return run(options);
}
