// A Reload of a file that the test writes, over the control plane without a kernel. The test is the worker,
// too, and says when it has passed a grace period.
#pragma once

#include <utility> // asio 1.22 with GCC 12 needs it first

#include <asio.hpp>
#include <fstream>
#include <optional>

#include "control/daemon/reload.hpp"
#include "tests/control/fetch/fixture.hpp"
#include "tests/control/rank/fake_probes.hpp"
#include "tests/support/temporary_folder.hpp"

namespace millrace::control {

inline const std::string servers =
    "upstreams: [{group: g, servers: [198.51.100.1, 198.51.100.2, 198.51.100.3]}]\n";

class ReloadTest : public FetchTest {
  protected:
    ReloadTest() {
        worker.online();
        serve(0, {"1.1.1.1"}, 1ms);
        ask(a);
        run(3s);
        last = fetches.last_generation();
    }
    ~ReloadTest() override { worker.offline(); }

    /// The file is read, checked and put in place; the acknowledgement may still be missing.
    void begin(const std::string& text) {
        std::ofstream(path) << text;
        wait_for_helper();
        io.restart();
        auto working = asio::make_work_guard(io);
        reload.begin([this](auto outcome) { result = std::move(outcome); });
        if (!result) io.run_one(); // the helper's message
    }
    void acknowledge() {
        while (!result) flushes.tick(), worker.quiescent();
    }
    /// Until it has freed what was replaced last time.
    void wait_for_helper() {
        io.restart();
        auto working = asio::make_work_guard(io);
        while (reload.is_busy()) io.run_one();
    }

    test::TemporaryFolder folder;
    std::string path = folder / "millrace.yaml";
    cache::Grace::Reader& worker = *grace.add_reader();
    cache::Generation last = 0; ///< before the reload
    asio::io_context io;
    cache::Replaceable<dataplane::Rules> rules{std::make_unique<const dataplane::Rules>(
        std::make_shared<const dataplane::Access>(dataplane::ClientPolicy{}),
        dataplane::LocalNames::Builder().build(), std::make_shared<const dataplane::Routes>())};
    Workers workers{table, grace, rules};
    TcpServer tcp{io, table, fetches, rules, {}};
    FakeProbes probes;
    Prober prober{probes, {}};
    KeepWarm warm{table, fetches};
    ServerNames names{exchanges, groups, [](const dataplane::Endpoint& at) { return at.port == 5388; }};
    std::unique_ptr<dataplane::Eal> eal; // none
    Ports ports{grace};
    PortNetwork by_port{network, random, 4};
    UpstreamWays ways{by_port, grace};
    Dnstap dnstap{*parse_config(servers, "t")};
    Top top;
    CacheStore store{{io, table, grace, fetches, flushes, rules}, {}};
    Reload reload{{path, servers, servers},
                  *parse_config(servers, "t"),
                  {},
                  {io,  grace,  table, publisher, groups, exchanges, fetches, flushes, rules,  workers,
                   tcp, prober, warm,  names,     eal,    ports,     ways,    store,   dnstap, top}};
    std::optional<tl::expected<Reload::Changes, std::string>> result;
};

} // namespace millrace::control
