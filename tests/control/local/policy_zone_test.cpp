// Response policy zones: what their records do, and what becomes of those that are none.
#include "control/local/block_list.hpp"

#include <cstdio>
#include <memory>

#include <gtest/gtest.h>

#include "tests/control/local/local_fixture.hpp"

namespace millrace::control {
namespace {

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
                {"x.pass.gone.com", "-"}, // the zone has pass.gone.com, and no wildcard below it
                {"x.y.gone.com", "NXDOMAIN"},
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

/// RFC 4592 2.2.2 and 3.3.1, with b.gone.com as an empty non-terminal.
TEST_F(LocalBuildTest, NamesOfAZoneEndItsWildcards) {
    std::string head = "@ SOA a. b. 1 2 3 4 5\n";
    list(head +
             "*.gone.com CNAME .\na.b.gone.com CNAME .\nd.e.f.gone.com CNAME *.\n*.d.e.f.gone.com CNAME .\n",
         Config::BlockList::Format::rpz);
    struct {
        const char* name;
        const char* alone;
        const char* with_others; ///< lists behind it
    } rows[] = {{"gone.com", "-", "-"},
                {"x.gone.com", "NXDOMAIN", "NXDOMAIN"},
                {"y.x.gone.com", "NXDOMAIN", "NXDOMAIN"},
                {"b.gone.com", "-", "NODATA"},
                {"c.b.gone.com", "-", "NODATA"},
                {"a.b.gone.com", "NXDOMAIN", "NXDOMAIN"},
                {"x.a.b.gone.com", "-", "NODATA"},
                {"f.gone.com", "-", "forward"},
                {"e.f.gone.com", "-", "NODATA"},
                {"x.e.f.gone.com", "-", "NODATA"},
                {"d.e.f.gone.com", "NODATA", "NODATA"},
                {"x.d.e.f.gone.com", "NXDOMAIN", "NXDOMAIN"}};
    build();
    for (const auto& row : rows) EXPECT_EQ(says(row.name), row.alone) << row.name;
    list(head + "f.gone.com CNAME rpz-passthru.\n", Config::BlockList::Format::rpz);
    list(head + "*.gone.com CNAME *.\n", Config::BlockList::Format::rpz);
    build();
    for (const auto& row : rows) EXPECT_EQ(says(row.name), row.with_others) << row.name;
}

TEST_F(LocalBuildTest, RecordsOfAZoneThatAreSkippedAreNamed) {
    auto result = read("@ SOA a. b. 1 2 3 4 5 ; a comment\n\nx.other. CNAME .\ny CNAME .\nz CNAME rpz-drop.\n"
                       "32.1.2.0.192.rpz-ip CNAME .\n",
                       Config::BlockList::Format::rpz);
    EXPECT_EQ(result.names, 1u);
    EXPECT_EQ(result.skipped, 3u);
    ASSERT_EQ(result.first.size(), 3u);
    EXPECT_EQ(result.first[0].line, 3);
    EXPECT_EQ(result.first[0].why, "outside the zone: \"x.other.\"");
    EXPECT_EQ(result.first[1].line, 5);
    EXPECT_EQ(result.first[1].why, "not done here: \"z.rpz.\"");
    EXPECT_EQ(result.first[2].line, 6);
    EXPECT_EQ(says("y"), "NXDOMAIN");
}

/// A record that is none is skipped and named with its own line; the others stand.
TEST_F(LocalBuildTest, ARecordThatIsNoneIsSkippedAndNamesItsOwnLine) {
    std::string head = "\xef\xbb\xbf$TTL 60\r\n; (\r\n@ SOA a. b. (\r\n 1 2 ; (\r\n 3 4 5 )\r\n\r\n";
    std::string many;
    for (int i = 0; i < 300; ++i) many += "m A 192.0.2." + std::to_string(i % 250) + "\n";
    std::string label(62, 'a'), longest = label + "." + label + "." + label + "." + label;
    struct {
        std::string text;
        int line;
        const char* why; ///< how it begins
    } rows[] = {{"x A 1.2.3\nok CNAME .\n", 7, "no record (Syntax error"},
                {"ok CNAME .\n\n\nx A 1.2.3\n\n\n", 10, "no record ("},
                {"ok CNAME .\nok2 TXT \"(\" \";\" \"\\\"(\"\nx A 1.2.3", 9, "no record ("},
                {"ok CNAME .\nok2 A (\n192.0.2.1\n)\nx A (\n1.2.3\n)\nok3 CNAME .\n", 11, "no record ("},
                {"ok CNAME . ; )\nx A ( 192.0.2.1\n", 8, "no record ("},
                {"x CNAME \\# 0\nok CNAME .\n", 7, "no record (rdata or names that are none)"},
                {"x A \\# 0\nok CNAME .\n", 7, "no record ("},
                {"x NOTYPE .\nok CNAME .\n", 7, "no record ("},
                {"x NOTYPE\nok CNAME .\n", 7, "no record (a class or type that is none)"},
                {"x OPT\nok CNAME .\n", 7, "no record ("},
                {"x CH A 192.0.2.1\nok CNAME .\n", 7, "no record (a class or type that is none)"},
                {"x.." + std::string("y CNAME .\nok CNAME .\n"), 7, "no record ("},
                {longest + " CNAME .\nok CNAME .\n", 7, "no record ("},
                {"ok CNAME .\nx TXT " + std::string(20'000, 'a') + "\n", 8, "no record ("},
                {"ok CNAME .\nx TXT (\n" + std::string(9'000, ' ') + "\n" + std::string(9'000, ' ') + ")\n",
                 8, "no record (Syntax error, could not parse the RR, up to line 10): \"x TXT (\""},
                {"ok CNAME .\n" + many + "ok2 CNAME .\n", 8, "too many records of one type: \"m.rpz.\""}};
    for (const auto& row : rows) {
        auto result = read(head + row.text, Config::BlockList::Format::rpz);
        EXPECT_EQ(result.skipped, 1u) << row.text;
        ASSERT_EQ(result.first.size(), 1u);
        EXPECT_EQ(result.first[0].line, row.line) << row.text << result.first[0].why;
        EXPECT_TRUE(result.first[0].why.starts_with(row.why)) << row.text << result.first[0].why;
        EXPECT_EQ(says("ok"), "NXDOMAIN") << row.text;
        EXPECT_EQ(says("m"), "-");
    }
    auto result = read(head + "a TXT \"(\" \";\"\r\nb CNAME .\r\n", Config::BlockList::Format::rpz);
    EXPECT_EQ(result.skipped, 0u);
    EXPECT_EQ(result.names, 2u);
}

/// What a parenthesis that is not closed joined is read once more, each line for itself.
TEST_F(LocalBuildTest, AParenthesisThatStaysOpenTakesNoOthers) {
    std::string soa = "@ SOA a. b. 1 2 3 4 5\n", many;
    for (int i = 0; i < 2000; ++i) many += "n" + std::to_string(i) + " CNAME . ; a name\n";
    auto result =
        read(soa + "a CNAME .\nx TXT ( \"a\"\n  \"b\"\n\n  A 192.0.2.1\ny CNAME *.\n  TXT \"of y\"\n" + many,
             Config::BlockList::Format::rpz);
    EXPECT_EQ(result.names, 2002u);
    ASSERT_EQ(result.skipped, 3u);
    EXPECT_EQ(result.first[0].line, 3);
    EXPECT_TRUE(result.first[0].why.starts_with("no record (a parenthesis that stays open, up to line "));
    EXPECT_TRUE(result.first[0].why.ends_with("): \"x TXT ( \\\"a\\\"\"")) << result.first[0].why;
    EXPECT_EQ(result.first[1].line, 4);
    EXPECT_EQ(result.first[2].line, 6) << "what has no owner of its own is x's, and not a's";
    for (const char* name : {"a", "n0", "n1", "n500", "n1999"}) EXPECT_EQ(says(name), "NXDOMAIN") << name;
    EXPECT_EQ(says("x"), "-");
    EXPECT_EQ(says("y"), "NODATA");

    result = read(soa + "x TXT (\na CNAME .\ny TXT ( \"c\"\n \"d\" )\nb CNAME .\n",
                  Config::BlockList::Format::rpz);
    EXPECT_EQ(result.skipped, 3u) << "an entry of several lines among those";
    EXPECT_EQ(result.first[0].why, "no record (a parenthesis that stays open, up to line 6): \"x TXT (\"");
    EXPECT_EQ(result.first[1].line, 4);
    EXPECT_EQ(says("a"), "NXDOMAIN");
    EXPECT_EQ(says("b"), "NXDOMAIN");

    std::string cut(20'000, 'a');
    result =
        read(soa + "x TXT (\na CNAME .\nz CNAME " + cut + "\nb CNAME .\n", Config::BlockList::Format::rpz);
    EXPECT_EQ(result.skipped, 2u);
    EXPECT_EQ(result.first[1].line, 4);
    EXPECT_EQ(result.names, 2u);
}

TEST_F(LocalBuildTest, AParenthesisThatStaysOpenOnEachLine) {
    std::string text = "@ SOA a. b. 1 2 3 4 5\n";
    for (int i = 0; i < 100'000; ++i) text += "x A (\n";
    auto result = read(text + "ok CNAME .\n", Config::BlockList::Format::rpz);
    EXPECT_EQ(result.skipped, 100'000u);
    EXPECT_EQ(result.names, 1u);
}

TEST_F(LocalBuildTest, OfManyRecordsThatAreNoneTheFirstAreNamed) {
    std::string text = "@ SOA a. b. 1 2 3 4 5\n";
    for (int i = 0; i < 1000; ++i) text += "x A 1.2.3\n";
    auto result = read(text + "ok CNAME .\n", Config::BlockList::Format::rpz);
    EXPECT_EQ(result.skipped, 1000u);
    EXPECT_EQ(result.first.size(), limits::named_lines);
    EXPECT_EQ(result.names, 1u);
}

/// What has no owner of its own is that of the record before it, not of an earlier one that was understood.
TEST_F(LocalBuildTest, TheOwnerOfARecordThatIsNone) {
    auto result = read(
        "@ SOA a. b. 1 2 3 4 5\n  NS localhost.\na CNAME *.\nx..y CNAME .\n   ; a comment\n  A 192.0.2.1\n"
        "b A 1.2.3\n  A 192.0.2.2\n",
        Config::BlockList::Format::rpz);
    EXPECT_EQ(says("a"), "NODATA");
    EXPECT_EQ(says("a", LDNS_RR_TYPE_A), "NODATA");
    EXPECT_EQ(says("b"), "b.\t3600\tIN\tA\t192.0.2.2;");
    ASSERT_EQ(result.skipped, 3u);
    EXPECT_EQ(result.first[0].line, 4);
    EXPECT_EQ(result.first[1].line, 6);
    EXPECT_EQ(result.first[2].line, 7);
}

TEST_F(LocalBuildTest, ADirectiveThatIsNotDoneIsSkipped) {
    auto result = read("@ SOA a. b. 1 2 3 4 5\n$INCLUDE /etc/passwd\na CNAME .\n$GENERATE 1-9 x$ CNAME "
                       ".\nb CNAME .\n",
                       Config::BlockList::Format::rpz);
    EXPECT_EQ(says("a") + says("b"), "NXDOMAINNXDOMAIN");
    ASSERT_EQ(result.skipped, 2u);
    EXPECT_EQ(result.first[0].line, 2);
    EXPECT_EQ(result.first[1].line, 4);
}

/// Nobody knows whose they are: none is denied by mistake.
TEST_F(LocalBuildTest, NamesBelowAnOriginThatIsNoneAreSkippedUpToTheNext) {
    for (const char* origin : {"$ORIGIN a..b.", "$origin other.", "$ORIGIN", "$ORIGIN (\n"}) {
        auto result = read("$ORIGIN rpz.\n@ SOA a. b. 1 2 3 4 5\na CNAME .\n" + std::string(origin) +
                               "\nb CNAME .\n  CNAME .\n$ORIGIN rpz.\nc CNAME .\n",
                           Config::BlockList::Format::rpz);
        EXPECT_EQ(says("a") + says("c"), "NXDOMAINNXDOMAIN") << origin;
        EXPECT_EQ(says("b"), "-") << origin;
        EXPECT_EQ(result.skipped, 3u) << origin;
    }
}

/// What is no zone.
TEST_F(LocalBuildTest, PolicyZonesThatMakeNoSense) {
    std::string soa = "@ SOA a. b. 1 2 3 4 5\n";
    struct {
        std::string text;
        int line;
    } rows[] = {{"a.com CNAME .\n", 1},
                {"\n\n<html>\n", 3},
                {"\n@ SOA a. b. 1 2 3\n" + soa, 2},
                {"$INCLUDE /etc/passwd\n" + soa, 1}};
    for (const auto& row : rows) {
        live.block.clear();
        list(row.text, Config::BlockList::Format::rpz);
        EXPECT_NE(error().find("list0:" + std::to_string(row.line) + ": expected "), std::string::npos)
            << row.text << error();
    }
}

TEST_F(LocalBuildTest, WhatIsTooMuchIsRefusedAndNamesTheLine) {
    using Format = Config::BlockList::Format;
    std::string soa = "@ SOA a. b. 1 2 3 4 5\n";
    struct {
        Format format;
        std::string text;
        std::size_t most;
        LocalNames::Room room;
        const char* error; ///< none: it is read
    } rows[] = {{Format::names, "a.com\nb.com\n", 2, {}, ""},
                {Format::names, "a.com\nb.com\nc.com\n", 2, {}, "f:3: expected at most 2 names, found more"},
                {Format::names,
                 "a.com\nb.com\n",
                 9,
                 {.octets = 13},
                 "f:2: expected names of at most 4 GiB in all lists together, found more"},
                {Format::rpz, soa + "a CNAME .\nb A 192.0.2.1\n", 2, {}, ""},
                {Format::rpz,
                 soa + "a CNAME .\nb A 192.0.2.1\nc A 192.0.2.1\n",
                 2,
                 {},
                 "f:4: expected at most 2 records, found more"},
                {Format::rpz,
                 soa + "a CNAME .\na CNAME .\na CNAME .\n",
                 2,
                 {},
                 "f:4: expected at most 2 records, found more"},
                {Format::rpz,
                 soa + "a CNAME .\nb A 192.0.2.1\nc CNAME .\n",
                 9,
                 {.names = 2},
                 "f:4: expected names of at most 4 GiB in all lists together, found more"},
                {Format::rpz,
                 soa + "*.a CNAME .\nd.c.b.a CNAME .\n",
                 9,
                 {.names = 3},
                 "f:3: expected names of at most 4 GiB in all lists together, found more"}};
    for (auto& row : rows) {
        std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(fmemopen(row.text.data(), row.text.size(), "r"),
                                                             std::fclose);
        LocalNames::Builder builder(row.room);
        auto result = read_block_list({"f", row.format}, file.get(), 0, builder, row.most);
        EXPECT_EQ(result ? "" : to_string(result.error()), row.error) << row.text;
    }
}

} // namespace
} // namespace millrace::control
