// DNAMEs in replies: the CNAMEs that are made of them, and names that get too long (RFC 6672).
#include <algorithm>

#include <gtest/gtest.h>

#include "control/message/entry_build.hpp"
#include "control/message/entry_read.hpp"
#include "control/message/query.hpp"
#include "control/message/reply.hpp"
#include "tests/support/replies.hpp"

namespace millrace::control {
namespace {

using cache::Key;
using support::make_key;
using support::ReplySpec;
using Lines = std::vector<std::string>;

constexpr Time received = 1h;
constexpr unsigned yxdomain = LDNS_RCODE_YXDOMAIN;

Lines texts_of(const std::vector<Record>& records) {
    Lines lines;
    for (const Record& record : records) {
        char* text = ldns_rr2str(record.get());
        std::string line = text;
        std::free(text);
        std::ranges::replace(line, '\t', ' ');
        while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
        lines.push_back(line);
    }
    return lines;
}

tl::expected<Answer, ReplyError> parse(const Key& key, const ReplySpec& spec) {
    return parse_reply(support::make_reply(build_query(key, 7, key.name.bytes()), spec), key, 3, received);
}

Key address_of(const std::string& name, std::uint8_t flavour = cache::plain) {
    return make_key(name, LDNS_RR_TYPE_A, flavour);
}

const std::string dname = "b.com. 60 IN DNAME c.net.";
const std::string signature = "b.com. 60 IN RRSIG DNAME 13 2 60 20300101000000 20200101000000 1 com. AAAA";
/// 239 octets in front of b.com, which take 263 in front of that DNAME's target.
const std::string label(59, 'x');
const std::string long_name = label + "." + label + "." + label + "." + std::string(58, 'y') + ".b.com.";
const std::string long_dname = "b.com. 90 IN DNAME a-target-of-octets.net.";

TEST(Dname, IsKeptInFrontOfItsCname) {
    ReplySpec spec{.answer = {dname, "other.com. 60 IN DNAME c.net.", "a.b.com. 60 IN CNAME a.c.net.",
                              "a.c.net. 60 IN A 192.0.2.1", signature}};
    Lines chain = {dname, "a.b.com. 60 IN CNAME a.c.net."};
    EXPECT_EQ(texts_of(parse(address_of("a.b.com"), spec)->chain), chain);
    EXPECT_EQ(texts_of(parse(address_of("a.b.com"), spec)->signatures), Lines{signature});
    spec.answer[0] = "b.com. 60 IN DNAME elsewhere.net."; // not what the CNAME was made of
    EXPECT_EQ(parse(address_of("a.b.com"), spec)->chain.size(), 1u);
}

TEST(Dname, WithoutItsCnameThatIsMadeHere) {
    for (std::uint8_t flavour : {cache::plain, cache::dnssec_ok}) {
        auto bare = parse(address_of("x.A.b.com", flavour), {.answer = {dname}});
        ASSERT_TRUE(bare);
        EXPECT_EQ(bare->kind, Kind::incomplete);
        EXPECT_EQ(texts_of(bare->chain), (Lines{dname, "x.a.b.com. 60 IN CNAME x.a.c.net."}));
    }
    auto whole = parse(address_of("a.b.com"), {.answer = {"a.c.net. 30 IN A 192.0.2.1", dname}});
    EXPECT_EQ(whole->kind, Kind::positive);
    EXPECT_EQ(texts_of(whole->records), Lines{"a.c.net. 30 IN A 192.0.2.1"});
    auto denied =
        parse(address_of("a.b.com"),
              {.answer = {dname}, .authority = {"net. 60 IN SOA a.net. b.net. 1 2 3 4 5"}, .rcode = 3});
    EXPECT_EQ(denied->kind, Kind::nxdomain);
    EXPECT_EQ(denied->chain.size(), 2u);
    EXPECT_EQ(denied->authority.size(), 1u);
}

TEST(Dname, TheCnameHasItsTtl) {
    auto ttl = [](const std::string& record) {
        return ldns_rr_ttl(parse(address_of("a.b.com"), {.answer = {record}})->chain.at(1).get());
    };
    EXPECT_EQ(ttl("b.com. 7 IN DNAME c.net."), 7u);
    EXPECT_EQ(ttl("b.com. 4294967295 IN DNAME c.net."), 86400u);
}

TEST(Dname, SaysNothingOfItsOwnNameAndOfOthers) {
    for (const char* name : {"b.com", "ab.com", "com", "c.net"}) {
        EXPECT_TRUE(parse(address_of(name), {.answer = {dname}})->chain.empty()) << name;
    }
    auto own = parse(make_key("b.com", LDNS_RR_TYPE_DNAME), {.answer = {dname}});
    EXPECT_EQ(texts_of(own->records), Lines{dname});
    auto below = parse(make_key("a.b.com", LDNS_RR_TYPE_DNAME), {.answer = {dname}});
    EXPECT_EQ(below->kind, Kind::incomplete);
    EXPECT_EQ(below->chain.size(), 2u);
}

TEST(Dname, OfACnameThatWasAskedFor) {
    Key key = make_key("a.b.com", LDNS_RR_TYPE_CNAME);
    for (const Lines& answer : {Lines{dname, "a.b.com. 60 IN CNAME a.c.net."}, Lines{dname}}) {
        auto asked = parse(key, {.answer = answer});
        EXPECT_EQ(asked->kind, Kind::positive);
        EXPECT_EQ(texts_of(asked->chain), Lines{dname});
        EXPECT_EQ(texts_of(asked->records), Lines{"a.b.com. 60 IN CNAME a.c.net."});
    }
}

TEST(Dname, SeveralStepsByOneAreToldOnce) {
    auto answer = parse(address_of("a.b.com"),
                        {.answer = {dname, "a.c.net. 60 IN CNAME d.b.com.", "d.c.net. 60 IN A 192.0.2.1"}});
    ASSERT_EQ(answer->kind, Kind::positive);
    EXPECT_EQ(texts_of(answer->chain),
              (Lines{dname, "a.b.com. 60 IN CNAME a.c.net.", "a.c.net. 60 IN CNAME d.b.com.",
                     "d.b.com. 60 IN CNAME d.c.net."}));
}

TEST(Dname, ThatLeadsBackIsALoop) {
    auto error = [](const Lines& answer) { return parse(address_of("a.b.com"), {.answer = answer}).error(); };
    EXPECT_EQ(error({"b.com. 60 IN DNAME b.com."}), ReplyError::chain_loop);
    EXPECT_EQ(error({dname, "c.net. 60 IN DNAME b.com."}), ReplyError::chain_loop);
    EXPECT_EQ(error({"b.com. 60 IN DNAME x.b.com."}), ReplyError::chain_length);
}

TEST(Dname, ThatMakesANameTooLongIsYxdomain) {
    for (unsigned rcode : {0u, yxdomain}) {
        for (std::uint16_t type : {LDNS_RR_TYPE_A, LDNS_RR_TYPE_CNAME}) {
            auto answer = parse(make_key(long_name, type), {.answer = {long_dname}, .rcode = rcode});
            ASSERT_TRUE(answer);
            EXPECT_EQ(answer->kind, Kind::yxdomain);
            EXPECT_EQ(answer->rcode, yxdomain);
            EXPECT_EQ(texts_of(answer->chain), Lines{long_dname});
        }
    }
    auto behind = parse(address_of("a.org"),
                        {.answer = {"a.org. 30 IN CNAME " + long_name, long_dname}, .rcode = yxdomain});
    EXPECT_EQ(behind->kind, Kind::yxdomain);
    EXPECT_EQ(behind->chain.size(), 2u);
}

TEST(Dname, YxdomainWithoutOneIsAFailure) {
    const Lines replies[] = {{}, {dname}, {"a.b.com. 60 IN CNAME a.c.net."}, {"a.b.com. 60 IN A 192.0.2.1"}};
    for (const Lines& records : replies) {
        for (std::uint16_t type : {LDNS_RR_TYPE_A, LDNS_RR_TYPE_CNAME}) {
            auto answer = parse(make_key("a.b.com", type), {.answer = records, .rcode = yxdomain});
            ASSERT_TRUE(answer);
            EXPECT_EQ(answer->kind, Kind::failure);
            EXPECT_TRUE(answer->chain.empty() && answer->records.empty());
        }
    }
}

TEST(Dname, EntriesSayTheSame) {
    Key key = address_of(long_name);
    auto entry = build_entry(key, *parse(key, {.answer = {long_dname}}), {1, 0}, {});
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->rcode, yxdomain);
    EXPECT_EQ(entry->expiry, received + 90s);
    EXPECT_EQ(entry->answers, 1u);
    EXPECT_FALSE(entry->chained);
    auto again = read_entry(key, *entry, received + 10s);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->kind, Kind::yxdomain);
    EXPECT_EQ(ldns_rr_ttl(again->chain.at(0).get()), 80u);

    key = address_of("a.b.com");
    entry = build_entry(key, *parse(key, {.answer = {dname, "a.c.net. 60 IN A 192.0.2.1"}}), {1, 0}, {});
    EXPECT_EQ(entry->answers, 3u);
    EXPECT_TRUE(entry->chained);
    again = read_entry(key, *entry, received);
    EXPECT_EQ(texts_of(again->chain), (Lines{dname, "a.b.com. 60 IN CNAME a.c.net."}));
}

} // namespace
} // namespace millrace::control
