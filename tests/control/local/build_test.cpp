// From configuration and files to LocalNames: special-use zones, records, plain lists and policy zones.
#include "control/local/build.hpp"
#include "control/message/entry_text.hpp"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "control/message/reply.hpp"
#include "dataplane/answer.hpp"
#include "tests/support/replies.hpp"

namespace millrace::control {
namespace {

using dataplane::LocalNames;
using Action = LocalNames::Action;

class LocalBuildTest : public testing::Test {
  protected:
    LocalBuildTest() { std::filesystem::create_directory(folder); }
    ~LocalBuildTest() override { std::filesystem::remove_all(folder); }

    Config::BlockList& list(const std::string& text,
                            Config::BlockList::Format format = Config::BlockList::Format::names) {
        std::string path = folder / ("list" + std::to_string(live.block.size()));
        std::ofstream(path) << text;
        live.block.push_back({path, format});
        return live.block.back();
    }
    void build() {
        auto made = build_local_names(live);
        ASSERT_TRUE(made) << to_string(made.error());
        names = std::move(*made);
    }
    std::string error() {
        auto made = build_local_names(live);
        return made ? "" : to_string(made.error());
    }
    /// "-", "forward", "alias TARGET", or the rcode and the answer's records.
    std::string says(const std::string& name, ldns_rr_type type = LDNS_RR_TYPE_A) {
        cache::Key key = support::make_key(name, std::uint16_t(type));
        auto match = names->find(key.name.bytes());
        if (!match) return "-";
        if (names->action(*match) == Action::forward) return "forward";
        if (names->action(*match) == Action::alias)
            return "alias " + cache::to_string(names->target(*match).bytes());
        const cache::Entry* entry = names->answer(*match, key.qtype);
        std::string text = entry->rcode == 3 ? "NXDOMAIN" : entry->answers == 0 ? "NODATA" : "";
        if (entry->answers > 0) {
            for (const std::string& line : record_lines(key, *entry, entry->born)) text += line + ";";
        }
        return text;
    }
    int info(const std::string& name) { return names->info(*names->find(cache::parse_name(name)->bytes())); }

    std::filesystem::path folder = "/tmp/millrace-local-" + std::to_string(getpid());
    Config::Live live;
    LocalNamesPtr names;
};

TEST_F(LocalBuildTest, SpecialUseZones) {
    build();
    struct {
        const char* name;
        ldns_rr_type type;
        const char* expected;
    } rows[] = {
        {"localhost", LDNS_RR_TYPE_A, "localhost.\t10800\tIN\tA\t127.0.0.1;"},
        {"x.localhost", LDNS_RR_TYPE_AAAA, "x.localhost.\t10800\tIN\tAAAA\t::1;"},
        {"localhost", LDNS_RR_TYPE_MX, "NODATA"},
        {"invalid", LDNS_RR_TYPE_A, "NXDOMAIN"},
        {"a.invalid", LDNS_RR_TYPE_A, "NXDOMAIN"},
        {"a.b.test", LDNS_RR_TYPE_A, "NXDOMAIN"},
        {"printer.local", LDNS_RR_TYPE_A, "NXDOMAIN"},
        {"abc.onion", LDNS_RR_TYPE_A, "NXDOMAIN"},
        {"home.arpa", LDNS_RR_TYPE_A, "NODATA"},
        {"tv.home.arpa", LDNS_RR_TYPE_A, "NXDOMAIN"},
        {"_dns.resolver.arpa", LDNS_RR_TYPE_SVCB, "NODATA"},
        {"1.0.0.127.in-addr.arpa", LDNS_RR_TYPE_PTR, "1.0.0.127.in-addr.arpa.\t10800\tIN\tPTR\tlocalhost.;"},
        {"2.0.0.127.in-addr.arpa", LDNS_RR_TYPE_PTR, "NXDOMAIN"},
        {"1.2.3.10.in-addr.arpa", LDNS_RR_TYPE_PTR, "NXDOMAIN"},
        {"15.172.in-addr.arpa", LDNS_RR_TYPE_PTR, "-"},
        {"1.1.16.172.in-addr.arpa", LDNS_RR_TYPE_PTR, "NXDOMAIN"},
        {"1.1.31.172.in-addr.arpa", LDNS_RR_TYPE_PTR, "NXDOMAIN"},
        {"1.1.32.172.in-addr.arpa", LDNS_RR_TYPE_PTR, "-"},
        {"1.1.64.100.in-addr.arpa", LDNS_RR_TYPE_PTR, "NXDOMAIN"},
        {"1.1.128.100.in-addr.arpa", LDNS_RR_TYPE_PTR, "-"},
        {"168.192.in-addr.arpa", LDNS_RR_TYPE_NS, "168.192.in-addr.arpa.\t10800\tIN\tNS\tlocalhost.;"},
        {"d.f.ip6.arpa", LDNS_RR_TYPE_SOA,
         "d.f.ip6.arpa.\t10800\tIN\tSOA\tlocalhost. nobody.invalid. 1 3600 1200 604800 10800;"},
        {"1.2.d.f.ip6.arpa", LDNS_RR_TYPE_PTR, "NXDOMAIN"},
        {"example", LDNS_RR_TYPE_A, "-"}, // forwarded as any other, RFC 6761 6.5
        {"com", LDNS_RR_TYPE_A, "-"},
        {"localhost.com", LDNS_RR_TYPE_A, "-"},
    };
    for (const auto& row : rows) EXPECT_EQ(says(row.name, row.type), row.expected) << row.name;
}

TEST_F(LocalBuildTest, OperatorsNamesComeFirst) {
    live.local.forward = {"10.in-addr.arpa", "good.ads.com"};
    live.local.records = {"router.lan. 300 IN A 192.168.1.1", "router.lan. 300 IN A 192.168.1.2",
                          "router.lan. TXT \"x\"", "*.wild.lan. A 10.0.0.1", "www.lan. CNAME router.lan."};
    list("ads.com\n");
    build();
    EXPECT_EQ(says("1.1.1.10.in-addr.arpa", LDNS_RR_TYPE_PTR), "forward");
    EXPECT_EQ(says("x.good.ads.com"), "forward");
    EXPECT_EQ(says("bad.ads.com"), "NXDOMAIN");
    EXPECT_EQ(says("router.lan"),
              "router.lan.\t300\tIN\tA\t192.168.1.1;router.lan.\t300\tIN\tA\t192.168.1.2;");
    EXPECT_EQ(says("router.lan", LDNS_RR_TYPE_TXT), "router.lan.\t3600\tIN\tTXT\t\"x\";");
    EXPECT_EQ(says("router.lan", LDNS_RR_TYPE_MX), "NODATA");
    EXPECT_EQ(says("x.router.lan"), "-");
    EXPECT_EQ(says("x.y.wild.lan"), "x.y.wild.lan.\t3600\tIN\tA\t10.0.0.1;");
    EXPECT_EQ(says("wild.lan"), "-");
    EXPECT_EQ(says("www.lan"), "alias router.lan.");
}

TEST_F(LocalBuildTest, WithoutSpecialNames) {
    live.local.special_names = false;
    build();
    EXPECT_EQ(says("localhost"), "-");
    EXPECT_EQ(names->size(), 0u);
}

TEST_F(LocalBuildTest, RecordsThatDoNotGoTogether) {
    live.local.records = {"a.lan. CNAME b.lan.", "a.lan. A 192.0.2.1"};
    EXPECT_NE(error().find("local.records"), std::string::npos) << error();
}

TEST_F(LocalBuildTest, PlainListsAndHostsFiles) {
    list("# comment\n! another\n\n  Ads.com  # why\r\ntracker.net\n0.0.0.0 a.org b.org\n127.0.0.1 localhost\n"
         "::1 ip6-loopback\n0.0.0.0 0.0.0.0\nlast.example");
    auto& second = list("tracker.net\nx.tracker.net\nother.net\n");
    second.answer = Config::BlockList::Denial::nodata;
    second.reason = Config::BlockList::Reason::filtered;
    build();
    for (const char* name :
         {"ads.com", "x.ads.com", "a.org", "b.org", "c.b.org", "last.example", "x.tracker.net"}) {
        EXPECT_EQ(says(name), "NXDOMAIN") << name;
    }
    EXPECT_EQ(info("ads.com"), 15);
    EXPECT_EQ(says("other.net"), "NODATA");
    EXPECT_EQ(info("other.net"), 17);
    EXPECT_EQ(says("com"), "-");
    EXPECT_EQ(says("ip6-loopback"), "-");
}

TEST_F(LocalBuildTest, ListsThatMakeNoSenseAreRefusedWhole) {
    struct {
        const char* text;
        int line;
    } rows[] = {{"good.com\n<html>\n", 2}, {"a.com b.com\n", 1}, {"a.com\n\n\xc3\xa4.com\n", 3},
                {"0.0.0.0 a..com\n", 1},   {"a.com\n.\n", 2},    {"a.com\n*.com\n", 2}};
    for (const auto& row : rows) {
        live.block.clear();
        list(row.text);
        EXPECT_NE(error().find("list0:" + std::to_string(row.line) + ":"), std::string::npos)
            << row.text << error();
    }
    live.block.clear();
    list("a.com\n" + std::string(5000, 'a') + "\n");
    EXPECT_NE(error().find("list0:2:"), std::string::npos) << "a line longer than any name";
    live.block = {{"/nowhere/list"}};
    EXPECT_NE(error().find("/nowhere/list: expected a readable file"), std::string::npos) << error();
    live.block = {{"/tmp"}};
    EXPECT_NE(error().find("a regular file"), std::string::npos) << error();
}

constexpr const char* zone = R"($TTL 60
$ORIGIN policy.
@ SOA localhost. root 1 2 3 4 5
  NS localhost.
gone.com CNAME .
*.gone.com CNAME .
empty.com CNAME *.
pass.gone.com CNAME rpz-passthru.
garden.com CNAME walled.garden.
data.com A 192.0.2.1
  A 192.0.2.2
  TXT "text"
*.data.com 30 AAAA 2001:db8::1
dropped.com CNAME rpz-drop.
tcp.com CNAME rpz-tcp-only.
wild.com CNAME *.garden.
32.1.2.0.192.rpz-ip CNAME .
ns.com.rpz-nsdname CNAME .
)";

TEST_F(LocalBuildTest, PolicyZones) {
    list(zone, Config::BlockList::Format::rpz);
    build();
    struct {
        const char* name;
        const char* expected;
    } rows[] = {{"gone.com", "NXDOMAIN"},
                {"x.gone.com", "NXDOMAIN"},
                {"pass.gone.com", "forward"},
                {"x.pass.gone.com", "NXDOMAIN"},
                {"empty.com", "NODATA"},
                {"x.empty.com", "-"},
                {"garden.com", "alias walled.garden."},
                {"data.com", "data.com.\t60\tIN\tA\t192.0.2.1;data.com.\t60\tIN\tA\t192.0.2.2;"},
                {"x.data.com", "NODATA"},
                {"dropped.com", "-"},
                {"tcp.com", "-"},
                {"wild.com", "-"},
                {"policy", "-"},
                {"gone.com.policy", "-"}};
    for (const auto& row : rows) EXPECT_EQ(says(row.name), row.expected) << row.name;
    EXPECT_EQ(says("data.com", LDNS_RR_TYPE_TXT), "data.com.\t60\tIN\tTXT\t\"text\";");
    EXPECT_EQ(says("y.x.data.com", LDNS_RR_TYPE_AAAA), "y.x.data.com.\t30\tIN\tAAAA\t2001:db8::1;");
}

TEST_F(LocalBuildTest, PolicyZonesThatMakeNoSense) {
    std::string label(60, 'a'), name = label + "." + label + "." + label;
    std::string long_origin = "$ORIGIN " + name + ".\n@ SOA a. b. 1 2 3 4 5\n" + name + " CNAME .\n";
    for (const char* text : {"a.com CNAME .\n", "@ SOA a. b. 1 2 3 4 5\nx.other. CNAME .\n",
                             "@ SOA a. b. 1 2 3 4 5\nx A 1.2.3\n", "@ SOA a. b. 1 2 3\n",
                             "@ SOA a. b. 1 2 3 4 5\nx CNAME \\# 0\n", "@ SOA a. b. 1 2 3 4 5\nx A \\# 0\n",
                             long_origin.c_str()}) {
        live.block.clear();
        list(text, Config::BlockList::Format::rpz);
        EXPECT_NE(error().find("list0:"), std::string::npos) << text << error();
    }
}

} // namespace
} // namespace millrace::control
