// What is measured, and the text that is made of it.
#include <numeric>
#include <set>
#include <sstream>

#include "control/daemon/snapshot.hpp"
#include "tests/control/daemon/appliance_fixture.hpp"

namespace millrace::control {
namespace {

using dataplane::Event;
using dataplane::Verdict;

std::uint64_t sum(const dataplane::Histogram& h) {
    return std::accumulate(h.counts.begin(), h.counts.end(), std::uint64_t(0));
}

struct MetricsOfWorker : Appliance {};

TEST_F(MetricsOfWorker, MissTakesAsLongAsItsClientWaits) {
    serve("192.0.2.1", 30ms, 60);
    ask(test::query("a.com"), 100ms);
    dataplane::Histogram misses = units[0]->counters.miss_time.read();
    EXPECT_EQ(sum(misses), 1u);
    EXPECT_GE(misses.sum_ns, 30'000'000u);
    EXPECT_LE(misses.sum_ns, 35'000'000u) << "a tick is a millisecond here";
    EXPECT_EQ(sum(units[0]->counters.hit_time.read()), 0u);
    EXPECT_EQ(sum(upstreams.counters(0).round_trips), 1u);
    EXPECT_EQ(upstreams.counters(0).round_trips.sum_ns, 30'000'000u);
}

TEST_F(MetricsOfWorker, EachHitIsCounted) {
    serve("192.0.2.1", 1ms, 60);
    ask(test::query("a.com"), 10ms);
    for (unsigned n = 0; n < 5; ++n) send(n, test::query("a.com")); // one burst
    turn();
    ask(test::query("a.com"));
    EXPECT_EQ(sum(units[0]->counters.hit_time.read()), 6u);
    EXPECT_EQ(count(Event::hit), 6u);
    EXPECT_EQ(sum(units[0]->counters.miss_time.read()), 1u);
}

TEST_F(MetricsOfWorker, WhoIsGivenUpGotNoAnswer) {
    silence();
    ask(test::query("a.com"), 10s);
    EXPECT_EQ(count(Event::wake_abandoned), 1u);
    EXPECT_EQ(sum(units[0]->counters.miss_time.read()), 0u);
}

Snapshot::Upstream upstream_at(const std::string& group, const std::string& address) {
    Snapshot::Upstream out;
    out.group = group;
    out.endpoint = *dataplane::parse_endpoint(address, 53);
    return out;
}

TEST(MetricsText, NoSeriesTwice) {
    Snapshot s;
    Snapshot::Worker worker;
    worker.name = "net_tap0";
    worker.hit_time.emplace();
    for (unsigned lcore : {1u, 2u}) {
        worker.lcore = lcore;
        s.workers.push_back(worker);
    }
    worker.lcore.reset();
    worker.name = "tcp";
    s.workers.push_back(worker);
    // As when a reload gives two groups each other's names between two pieces of a snapshot.
    for (const char* group : {"a", "b", "a"}) s.upstreams.push_back(upstream_at(group, "192.0.2.1:53"));
    s.ports.push_back({"net_tap0", {}, true, 0, 0, {{1, 100, 50}, {2, 100, 60}}});
    s.kernels.push_back({"dns0", "net_tap0", 1, 2, 3, 4});
    std::string text = metrics_text(s);
    std::istringstream lines(text);
    std::set<std::string> seen;
    for (std::string line; std::getline(lines, line);) {
        std::string series = line.substr(0, line.rfind(' '));
        bool is_type_or_help = line.starts_with("# ");
        if (is_type_or_help) series = line.substr(0, line.find(' ', 7));
        EXPECT_TRUE(seen.insert(series).second) << line;
    }
    EXPECT_NE(text.find("millrace_packet_buffers_free{port=\"net_tap0\",lcore=\"2\"} 60\n"), text.npos)
        << text;
    EXPECT_NE(text.find("millrace_hits_total{worker=\"net_tap0\",lcore=\"1\"} 0\n"), text.npos);
    EXPECT_NE(text.find("millrace_hits_total{worker=\"tcp\"} 0\n"), text.npos);
}

TEST(MetricsText, QueueHasWhatItsLcoreCounts) {
    Snapshot s;
    Snapshot::Worker worker;
    worker.name = "net_tap0";
    for (unsigned lcore : {7u, 3u}) {
        worker.lcore = lcore;
        auto set = [&](auto& counts, auto which, std::uint64_t n) { counts[std::size_t(which)] = n * lcore; };
        set(worker.verdicts, Verdict::answered, 100);
        set(worker.verdicts, Verdict::drop_short, 10);
        set(worker.verdicts, Verdict::drop_rate, 1);
        set(worker.events, Event::sent, 90);
        set(worker.events, Event::from_kernel, 9);
        set(worker.events, Event::send_failed, 5);
        set(worker.events, Event::buffer_exhausted, 2);
        s.workers.push_back(worker);
    }
    s.ports.push_back({"net_tap0", {}, true, 0, 0, {{3, 100, 50}, {7, 100, 60}}});
    std::string text = metrics_text(s);
    for (const char* line : {
             "info{port=\"net_tap0\",queue=\"0\",lcore=\"3\"} 1",
             "received_packets_total{port=\"net_tap0\",queue=\"0\"} 333",
             "sent_packets_total{port=\"net_tap0\",queue=\"0\"} 297",
             "dropped_packets_total{port=\"net_tap0\",queue=\"0\",kind=\"received\"} 33",
             "dropped_packets_total{port=\"net_tap0\",queue=\"0\",kind=\"send_failed\"} 15",
             "dropped_packets_total{port=\"net_tap0\",queue=\"0\",kind=\"buffer_exhausted\"} 6",
             "info{port=\"net_tap0\",queue=\"1\",lcore=\"7\"} 1",
             "received_packets_total{port=\"net_tap0\",queue=\"1\"} 777",
         }) {
        EXPECT_NE(text.find(std::string("\nmillrace_queue_") + line + "\n"), text.npos) << line;
    }
}

TEST(MetricsText, LimitsAreWhatTheyAddUpTo) {
    Snapshot s;
    s.fetches.limited = 10;
    s.fetches.limited_by = {1, 2, 3, 0};
    std::string text = metrics_text(s);
    EXPECT_NE(text.find("millrace_limited_total{limit=\"key\"} 4\n"), text.npos);
    EXPECT_NE(text.find("millrace_limited_total{limit=\"fetches_per_question\"} 3\n"), text.npos);
}

} // namespace
} // namespace millrace::control
