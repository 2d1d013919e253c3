// dns_load: asks a DNS server as fast as it can, or at a given rate, over a DPDK device or a kernel socket;
// checks every answer and prints what came of it as JSON. Pin it with taskset: a device is polled on the
// first CPU allowed.
#include <cstdio>
#include <fstream>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <sys/prctl.h>

#include "bench/load/generator.hpp"
#include "cache/dns.hpp"

namespace millrace::bench {
namespace {

struct Where {
    std::string device, connect, client = "198.18.0.1", server = "198.18.0.53", commands;
};

struct Load {
    std::string zone = "load.example", wildcard;
    Plan plan;
};

const std::map<std::string, Pattern> patterns = {{"uniform", Pattern::uniform},
                                                 {"zipf", Pattern::zipf},
                                                 {"each", Pattern::each},
                                                 {"unique", Pattern::unique},
                                                 {"absent", Pattern::absent}};

void describe(CLI::App& app, Where& where) {
    auto* device = app.add_option("--vdev", where.device, "DPDK device string");
    app.add_option("--connect", where.connect, "address:port, over a kernel socket instead")
        ->excludes(device);
    app.add_option("--client", where.client, "our address on the device")->capture_default_str();
    app.add_option("--server", where.server, "the server's address on the device")->capture_default_str();
    app.add_option("--commands", where.commands,
                   "a FIFO: every line has the options of a load, and the link stays between them");
}

void describe(CLI::App& app, Load& o) {
    app.add_option("--zone", o.zone)->capture_default_str();
    app.add_option("--pattern", o.plan.choice.pattern,
                   "uniform, zipf: over n0 to n<N-1>; each: these once, lost ones "
                   "again; unique: m names; absent: x names")
        ->transform(CLI::CheckedTransformer(patterns));
    app.add_option("--names", o.plan.choice.names)->capture_default_str()->check(CLI::Range(1, 1 << 29));
    app.add_option("--unique-share", o.plan.choice.unique_share, "of the questions, for m names")
        ->check(CLI::Range(0.0, 1.0));
    app.add_option("--first", o.plan.choice.first, "number of the first m name");
    app.add_option("--wildcard", o.wildcard, "the address of all m names; without it, each has its own");
    app.add_option("--bogus-every", o.plan.bogus_every,
                   "for each name whose number this divides SERVFAIL is right too; 0: none");
    app.add_option("--seed", o.plan.choice.seed)->capture_default_str();
    app.add_option("--seconds", o.plan.seconds)->capture_default_str();
    app.add_option("--warm-up", o.plan.warm_up, "seconds before these")->capture_default_str();
    app.add_option("--rate", o.plan.rate, "questions a second; 0: full speed")->capture_default_str();
    app.add_option("--strays", o.plan.strays, "ARP requests and TCP SYN besides, a second; devices only")
        ->capture_default_str();
    app.add_option("--window", o.plan.window, "questions in flight")
        ->capture_default_str()
        ->check(CLI::Range(1U, Generator::most_slots));
    app.add_option("--patience", o.plan.patience, "seconds after which a question is lost")
        ->capture_default_str();
    app.add_flag("--echo", o.plan.echo, "an echo answers: check ID and question only");
    app.add_flag("--polite", o.plan.polite, "sleep when there is nothing to do");
}

LinkResult open(const Where& o) {
    if (!o.connect.empty()) {
        auto server = dataplane::parse_endpoint(o.connect, dns::port);
        if (!server) return tl::unexpected("--connect takes address:port, not " + o.connect);
        return open_socket(*server);
    }
    if (o.device.empty()) return tl::unexpected(std::string("--vdev or --connect is needed"));
    auto client = dataplane::parse_address(o.client), server = dataplane::parse_address(o.server);
    if (!client || !server || !client->is_v4() || !server->is_v4())
        return tl::unexpected(std::string("--client and --server take IPv4 addresses"));
    return open_ethdev(o.device, {{*client, 40000}, {*server, dns::port}});
}

/// What CLI11 cannot check.
tl::expected<void, std::string> complete(Load& o) {
    auto zone = cache::parse_name(o.zone);
    if (!zone || zone->size > most_zone_octets)
        return tl::unexpected("--zone takes a name of at most " + std::to_string(most_zone_octets) +
                              " octets");
    o.plan.zone = *zone;
    if (o.wildcard.empty()) return {};
    auto address = dataplane::parse_address(o.wildcard);
    if (!address || !address->is_v4()) return tl::unexpected(std::string("--wildcard takes an IPv4 address"));
    std::copy_n(address->v4_octets(), 4, o.plan.wildcard.emplace().begin());
    return {};
}

/// Shares are of all that were asked: null where so many have had no right answer.
nlohmann::json describe(const Outcome& o, double tsc_hz) {
    auto asked = double(o.answered + o.wrong + o.failed + o.lost);
    auto milliseconds = [&](double share) {
        double of_answered = o.answered > 0 ? share * asked / double(o.answered) : 1;
        return of_answered < 1 ? nlohmann::json(o.latency.percentile(of_answered) / tsc_hz * 1e3) : nullptr;
    };
    return {{"answered", o.answered},
            {"wrong", o.wrong},
            {"failed", o.failed},
            {"lost", o.lost},
            {"latency_ms",
             {{"p50", milliseconds(0.5)},
              {"p99", milliseconds(0.99)},
              {"longest", double(o.longest) / tsc_hz * 1e3}}}};
}

void print(const Report& report, std::uint64_t strangers) {
    auto microseconds = [&](double share) { return report.latency.percentile(share) / report.tsc_hz * 1e6; };
    std::uint64_t wrong = 0;
    for (const auto& [what, count] : report.wrong) wrong += count;
    nlohmann::json out = {
        {"sent", report.sent},
        {"answered", report.answered},
        {"wrong", wrong},
        {"wrong_by", report.wrong},
        {"lost", report.lost},
        {"late", report.late},
        {"strangers", strangers},
        {"seconds", report.seconds},
        {"answers_per_second", double(report.answered_in_time) / report.seconds},
        {"tsc_cycles", report.cycles},
        {"tsc_hz", report.tsc_hz},
        {"latency_us",
         {{"p50", microseconds(0.5)}, {"p99", microseconds(0.99)}, {"p99.9", microseconds(0.999)}}},
    };
    for (const auto& [kind, outcome] : report.by_kind)
        out["by_kind"][std::string(1, char(kind))] = describe(outcome, report.tsc_hz);
    if (!report.example.empty()) out["first_wrong"] = report.example;
    std::printf("%s\n", out.dump().c_str());
    std::fflush(stdout);
}

void run(Link& link, const Load& load) {
    Link::Messages stale; // late answers to an earlier load
    while (link.receive(stale) > 0) continue;
    Report report = Generator(link, load.plan).run();
    print(report, link.strangers());
}

[[noreturn]] void fail(const std::string& sentence) {
    std::fprintf(stderr, "dns_load: %s\n", sentence.c_str());
    std::exit(1);
}

/// One load for each line, until our end.
[[noreturn]] void obey(Link& link, const Where& where, const Load& defaults) {
    std::fstream lines(where.commands); // for writing too, so that it never comes to an end
    for (std::string line; std::getline(lines, line);) {
        CLI::App app;
        Load load = defaults;
        describe(app, load);
        try {
            app.parse(line);
        } catch (const CLI::ParseError& error) {
            fail(line + ": " + error.what());
        }
        if (auto done = complete(load); !done) fail(done.error());
        run(link, load);
    }
    fail("cannot read " + where.commands);
}

int main(int argc, char** argv) {
    CLI::App app("dns_load: asks a DNS server over a DPDK device or a kernel socket and checks every answer");
    Where where;
    Load load;
    describe(app, where);
    describe(app, load);
    CLI11_PARSE(app, argc, argv);
    load.plan.announce = [](const char* what) {
        std::puts(what);
        std::fflush(stdout);
    };
    auto link = complete(load).and_then([&] { return open(where); });
    if (!link) fail(link.error());
    prctl(PR_SET_TIMERSLACK, 1); // naps as short as asked for
    if (!where.commands.empty()) obey(**link, where, load);
    run(**link, load);
    return 0;
}

} // namespace
} // namespace millrace::bench

int main(int argc, char** argv) {
    return millrace::bench::main(argc, argv);
}
