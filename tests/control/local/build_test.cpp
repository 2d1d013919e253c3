// From configuration and files to LocalNames: special-use zones, records and plain lists.
#include "control/local/build.hpp"

#include <set>
#include <sstream>

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include "tests/control/local/local_fixture.hpp"

namespace millrace::control {
namespace {

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

TEST_F(LocalBuildTest, ListsAsTheyArePublished) {
    std::string comment(20'000, 'x');
    auto result =
        read("\xef\xbb\xbf# Title: a hosts file, by way of Windows\r\n"
             "127.0.0.1 localhost\r\n127.0.0.1 localhost.localdomain\r\n127.0.0.1 local\r\n"
             "255.255.255.255 broadcasthost\r\n::1 localhost\r\n::1 ip6-localhost\r\n"
             "fe80::1%lo0 localhost\r\nff00::0 ip6-localnet\r\nff02::1 ip6-allnodes\r\n"
             "0.0.0.0 0.0.0.0\r\n0.0.0.0 hosts.example # why\r\n::\ttab.example\r\n"
             "fe80::1%lo0 zone.example\n||adblock.example^\n||*.adstar.example^ # why\n*.star.example\n"
             ".dot.example\nEnds.Example.\nb\xc3\xbc"
             "cher.example\nFa\xc3\x9f.example\n"
             "0.0.0.0 例え.テスト\n! " +
             comment + "\n# " + comment + "\nlong.example # " + comment +
             "\n \t\n\n_under.example\nlast.example\r");
    EXPECT_EQ(result.skipped, 0u) << (result.first.empty() ? "" : result.first[0].why);
    for (const char* name :
         {"hosts.example", "tab.example", "zone.example", "adblock.example", "adstar.example", "star.example",
          "dot.example", "ends.example", "xn--bcher-kva.example", "xn--fa-hia.example",
          "xn--r8jz45g.xn--zckzah", "long.example", "_under.example", "last.example"}) {
        EXPECT_EQ(says(name), "NXDOMAIN") << name;
        EXPECT_EQ(says("x." + std::string(name)), "NXDOMAIN") << name;
    }
    EXPECT_EQ(result.names, 14u);
    for (const char* name : {"localhost.localdomain", "example", "0.0.0.0", "why"}) {
        EXPECT_EQ(says(name), "-") << name;
    }
    read("\xef\xbb\xbf"
         "first.example\n\xef\xbb\xbf"
         "second.example\n");
    EXPECT_EQ(says("first.example"), "NXDOMAIN") << "behind the mark";
}

TEST_F(LocalBuildTest, ALineThatIsNoNameIsSkippedAndNamedAndDeniesNothing) {
    std::string rows[] = {"a.example##.banner",
                          "a.example#@#.banner",
                          "a.example#why",
                          "||a.example^$third-party",
                          "||a.example",
                          "@@||a.example^",
                          "|a.example^",
                          "a.example b.example",
                          "<html>",
                          "a..example",
                          "*",
                          ".",
                          "*.",
                          "||^",
                          "||",
                          "ads.*",
                          "*ads.example",
                          "1.2.3.4",
                          "::1",
                          "fe80::1%lo0",
                          "||1.2.3.4^",
                          "http://a.example/",
                          std::string(64, 'a') + ".example",
                          std::string(20'000, 'a'),
                          "0.0.0.0 a..example",
                          "\xff.example",
                          "\xc3",
                          std::string("a.example\0b", 11),
                          std::string("\xc3\xbc\0.example", 11),
                          std::string(300, '\xcc') + ".example"};
    for (const std::string& row : rows) {
        auto result = read("good.example\n" + row + "\nlast.example\n");
        EXPECT_EQ(result.skipped, 1u) << row;
        ASSERT_EQ(result.first.size(), 1u) << row;
        EXPECT_EQ(result.first[0].line, 2) << row;
        EXPECT_EQ(result.names, 2u) << row;
        EXPECT_EQ(names->size(), 2u) << row;
    }
    EXPECT_EQ(read("0.0.0.0 good.example b@d.example fine.example\n").skipped, 1u);
    EXPECT_EQ(says("good.example"), "NXDOMAIN");
    EXPECT_EQ(says("fine.example"), "NXDOMAIN") << "beside one that is none";
}

TEST_F(LocalBuildTest, WhatIsSkippedIsLoggedEscapedAndBounded) {
    std::ostringstream log;
    auto before = spdlog::default_logger();
    spdlog::set_default_logger(
        std::make_shared<spdlog::logger>("t", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)));
    std::string text = "good.example\n";
    for (int i = 0; i < 30; ++i) text += "\x1b[2J\\" + std::string(9000, '*') + "\n";
    list(text);
    build();
    spdlog::set_default_logger(before);
    EXPECT_NE(log.str().find("list0: 1 names, 30 lines skipped, of which the first 10:"), std::string::npos)
        << log.str();
    EXPECT_NE(log.str().find("list0:2: no name: "), std::string::npos) << log.str();
    EXPECT_NE(log.str().find("list0:11: no name: "), std::string::npos);
    EXPECT_EQ(log.str().find("list0:12:"), std::string::npos);
    EXPECT_EQ(log.str().find('\x1b'), std::string::npos);
    EXPECT_LT(log.str().size(), 4000u);
}

TEST_F(LocalBuildTest, AFileThatCannotBeReadIsRefused) {
    live.block = {{"/nowhere/list"}};
    EXPECT_NE(error().find("/nowhere/list: expected a readable file"), std::string::npos) << error();
    live.block = {{"/tmp"}};
    EXPECT_NE(error().find("a regular file"), std::string::npos) << error();
}

/// The earlier list counts, for the names below too, whichever of the two lets pass.
TEST_F(LocalBuildTest, ListsThatPassAndListsThatDeny) {
    std::string head = "@ SOA a. b. 1 2 3 4 5\n";
    std::string passes = head + "good.com CNAME rpz-passthru.\n*.good.com CNAME rpz-passthru.\n";
    std::string denies =
        head + "good.com CNAME .\n*.good.com CNAME .\nx.good.com CNAME .\n*.x.good.com CNAME .\n";
    using Format = Config::BlockList::Format;
    for (bool plain : {false, true}) {
        for (bool passing_first : {false, true}) {
            live.block.clear();
            if (passing_first) list(passes, Format::rpz);
            list(plain ? "good.com\nx.good.com\n" : denies, plain ? Format::names : Format::rpz);
            if (!passing_first) list(passes, Format::rpz);
            build();
            for (const char* name : {"good.com", "x.good.com", "y.x.good.com", "y.good.com"}) {
                EXPECT_EQ(says(name), passing_first ? "forward" : "NXDOMAIN") << name << plain;
            }
        }
    }
}

TEST_F(LocalBuildTest, WhichListsSayTheSame) {
    list("a.com\nb.com\n");
    build();
    auto digest = lists[0].digest;
    EXPECT_EQ(lists[0].names, 2u);
    read("# other words\nb.com\n\n0.0.0.0 a.com\n");
    build();
    EXPECT_EQ(lists[0].digest, digest);
    read("a.com\nc.com\n");
    build();
    EXPECT_EQ(lists[0].names, 2u);
    EXPECT_NE(lists[0].digest, digest);
    std::set<std::uint64_t> digests;
    for (const char* target : {".", "*.", "rpz-passthru.", "other.com."}) {
        live.block.clear();
        list("@ SOA a. b. 1 2 3 4 5\na.com CNAME " + std::string(target), Config::BlockList::Format::rpz);
        build();
        digests.insert(lists[0].digest);
    }
    EXPECT_EQ(digests.size(), 4u);
}

} // namespace
} // namespace millrace::control
