// Entries made of Answers, and their text.
#include <gtest/gtest.h>

#include "control/message/entry_build.hpp"
#include "control/message/entry_text.hpp"
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
const std::string soa = "com. 900 IN SOA a.com. b.com. 1 2 3 4 300";
const std::string signature = "a.com. 60 IN RRSIG A 13 2 60 20300101000000 20200101000000 1 com. AAAA";

tl::expected<Answer, ReplyError> parse(const Key& key, const ReplySpec& spec) {
    return parse_reply(support::make_reply(build_query(key, 7, key.name.bytes()), spec), key, 3, received);
}

constexpr cache::Version version{5, 1};
const TtlPolicy policy;

cache::EntryPtr entry_of(const Key& key, const ReplySpec& spec, const TtlPolicy& p = policy) {
    return build_entry(key, *parse(key, spec), version, p);
}

TEST(BuildEntry, WritesWhatALdnsReaderReads) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A);
    auto entry = entry_of(key, {.answer = {"a.com. 300 IN CNAME b.a.com.", "b.a.com. 60 IN A 192.0.2.1",
                                           "b.a.com. 60 IN A 192.0.2.2"}});
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->version, version);
    EXPECT_EQ(entry->rcode, 0);
    EXPECT_EQ(entry->answers, 3);
    EXPECT_EQ(entry->authorities, 0);
    EXPECT_EQ(entry->born, received);
    EXPECT_EQ(entry->expiry, received + 60s);
    EXPECT_EQ(entry->stale_until, received + 60s + 24h);
    EXPECT_FALSE(entry->failure);
    EXPECT_EQ(entry->info, cache::Entry::no_info);
    // Both the owner and the CNAME's target are compressed: 2+10+(2+2) and twice 2+10+4.
    EXPECT_EQ(entry->records_size, 16u + 2 * 16u);
    ASSERT_EQ(entry->ttl_count, 3);
    EXPECT_EQ(cache::load_u32(entry->records().data() + entry->ttl_offsets()[0]), 300u);
    EXPECT_EQ(cache::load_u32(entry->records().data() + entry->ttl_offsets()[2]), 60u);
    EXPECT_EQ(addresses(key, *entry), (Lines{"192.0.2.1", "192.0.2.2"}));
    Lines lines = record_lines(key, *entry, received + 10s + 999ms);
    ASSERT_EQ(lines.size(), 3u);
    EXPECT_EQ(lines[0], "a.com.\t290\tIN\tCNAME\tb.a.com.");
    EXPECT_EQ(lines[1], "b.a.com.\t50\tIN\tA\t192.0.2.1");
}

TEST(BuildEntry, SaysWhichAddressesMayChangePlaces) {
    TtlPolicy rotates;
    rotates.rotate = true;
    auto rotating = [&](std::uint16_t type, const Lines& answer, std::uint8_t flavour = cache::plain,
                        std::uint32_t revision = 1) {
        Key key = make_key("a.com", type, flavour);
        auto entry = build_entry(key, *parse(key, {.answer = answer}), {5, revision}, rotates);
        EXPECT_EQ(entry->rotates_ipv6, type == LDNS_RR_TYPE_AAAA);
        return unsigned(entry->rotating);
    };
    const Lines two{"a.com. 60 IN A 192.0.2.1", "a.com. 60 IN A 192.0.2.2"};
    EXPECT_EQ(rotating(LDNS_RR_TYPE_A, two), 2u);
    EXPECT_EQ(rotating(LDNS_RR_TYPE_A, two, cache::plain, 2), 0u) << "a ranking's order stays";
    EXPECT_EQ(rotating(LDNS_RR_TYPE_A, {two[0]}), 0u);
    EXPECT_EQ(rotating(LDNS_RR_TYPE_AAAA, {"a.com. 60 IN AAAA ::1", "a.com. 60 IN AAAA ::2"}), 2u);
    EXPECT_EQ(rotating(LDNS_RR_TYPE_A, {"a.com. 60 IN CNAME b.a.com.", "b.a.com. 60 IN A 192.0.2.1",
                                        "b.a.com. 60 IN A 192.0.2.2", "b.a.com. 60 IN A 192.0.2.3"}),
              3u);
    EXPECT_EQ(rotating(LDNS_RR_TYPE_A, {two[0], two[1], signature}, cache::dnssec_ok), 0u);
    EXPECT_EQ(rotating(LDNS_RR_TYPE_MX, {"a.com. 60 IN MX 1 a.com.", "a.com. 60 IN MX 2 a.com."}), 0u);
    EXPECT_EQ(build_entry(make_key("a.com", LDNS_RR_TYPE_A),
                          *parse(make_key("a.com", LDNS_RR_TYPE_A), {.answer = two}), version, policy)
                  ->rotating,
              0u)
        << "switched off";
}

TEST(BuildEntry, CompressesOnlyWhereReadersExpectIt) {
    Key key = make_key("a.com", LDNS_RR_TYPE_SRV);
    auto entry = entry_of(key, {.answer = {"a.com. 60 IN SRV 1 2 3 x.a.com."}});
    EXPECT_EQ(entry->records_size, 2u + 10 + 6 + 9);
    key = make_key("a.com", LDNS_RR_TYPE_MX);
    EXPECT_EQ(entry_of(key, {.answer = {"a.com. 60 IN MX 1 x.a.com."}})->records_size, 2u + 10 + 2 + 4);
}

TEST(BuildEntry, TtlsAreClampedAndLevelled) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A);
    TtlPolicy p{.min_ttl = 10s, .max_ttl = 100s};
    auto entry = entry_of(key, {.answer = {"a.com. 5 IN CNAME b.com.", "b.com. 500 IN A 192.0.2.1"}}, p);
    EXPECT_EQ(record_lines(key, *entry, received),
              (Lines{"a.com.\t10\tIN\tCNAME\tb.com.", "b.com.\t100\tIN\tA\t192.0.2.1"}));
    EXPECT_EQ(entry->expiry, received + 10s);
    // A merge puts records of different replies together.
    Answer merged = *parse(key, {.answer = {"a.com. 50 IN A 192.0.2.1"}});
    merged.records.push_back(with_ttl(merged.records[0], 30));
    entry = build_entry(key, merged, version, policy);
    EXPECT_EQ(cache::load_u32(entry->records().data() + entry->ttl_offsets()[0]), 30u);
    EXPECT_EQ(entry->expiry, received + 30s);
}

TEST(BuildEntry, EndsWhenItIsToldTo) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A);
    Answer answer = *parse(key, {.answer = {"a.com. 50 IN A 192.0.2.1"}});
    auto entry = build_entry(key, answer, version, policy, received + 20s + 500ms);
    EXPECT_EQ(entry->expiry, received + 20s + 500ms);
    EXPECT_EQ(record_lines(key, *entry, received)[0], "a.com.\t20\tIN\tA\t192.0.2.1");
    EXPECT_EQ(build_entry(key, answer, version, policy, received + 90s)->expiry, received + 50s);
    EXPECT_EQ(build_entry(key, answer, version, policy, received - 1s)->expiry, received);
}

TEST(BuildEntry, ZeroTtlIsForTheWaitingAlone) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A);
    auto entry = entry_of(key, {.answer = {"a.com. 0 IN A 192.0.2.1"}});
    EXPECT_EQ(entry->expiry, entry->born);
    EXPECT_EQ(entry->stale_until, entry->born);
}

TEST(BuildEntry, TheLowestTtlRaisesZeroButNoDenial) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A);
    TtlPolicy p{.min_ttl = 10s};
    EXPECT_EQ(entry_of(key, {.answer = {"a.com. 0 IN A 192.0.2.1"}}, p)->expiry, received + 10s);
    auto denial = entry_of(key, {.authority = {"com. 0 IN SOA a.com. b.com. 1 2 3 4 300"}, .rcode = 3}, p);
    EXPECT_EQ(denial->expiry, received);
}

TEST(BuildEntry, SaysWhichHitsAskForARefreshAndWhetherStaleWaits) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A);
    ReplySpec plain{.answer = {"a.com. 60 IN A 192.0.2.1"}};
    ReplySpec chained{.answer = {"a.com. 60 IN CNAME b.com.", "b.com. 60 IN A 192.0.2.1"}};
    auto by_default = entry_of(key, plain);
    EXPECT_EQ(Time(by_default->refresh_after), received + 54s);
    EXPECT_EQ(by_default->quiet_hits, 0);
    EXPECT_FALSE(by_default->stale_at_once);
    EXPECT_EQ(entry_of(key, plain, {.prefetch = 255})->quiet_hits, 254);
    auto off = entry_of(key, plain, {.prefetch = 0});
    EXPECT_EQ(Time(off->refresh_after), off->expiry);
    EXPECT_TRUE(entry_of(key, plain, {.stale_at_once = true})->stale_at_once);
    EXPECT_FALSE(entry_of(key, chained, {.stale_at_once = true})->stale_at_once);
}

TEST(BuildEntry, WhatIsMadeOfStaleDataIsNotStaleForLonger) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A);
    Answer answer = *parse(key, {.answer = {"a.com. 60 IN A 192.0.2.1"}});
    const std::pair<Time, Time> rows[] = {{100s, 100s}, {30s, 60s}, {500h, 24h + 60s}};
    for (auto [until, end] : rows) {
        answer.stale_until = received + until;
        EXPECT_EQ(build_entry(key, answer, version, policy)->stale_until, received + end);
    }
}

TEST(BuildEntry, NegativeLivesAsLongAsTheSoaSays) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A);
    auto life = [&](const std::string& record, unsigned rcode = 3, const TtlPolicy& p = policy) {
        auto entry = entry_of(key, {.authority = {record}, .rcode = rcode}, p);
        EXPECT_EQ(cache::load_u32(entry->records().data() + entry->ttl_offsets()[0]),
                  std::chrono::duration_cast<std::chrono::seconds>(entry->expiry - received).count());
        EXPECT_EQ(entry->authorities, 1);
        EXPECT_EQ(entry->rcode, rcode);
        return entry->expiry - received;
    };
    EXPECT_EQ(life("com. 900 IN SOA a.com. b.com. 1 2 3 4 300"), 300s);
    EXPECT_EQ(life("com. 90 IN SOA a.com. b.com. 1 2 3 4 300"), 90s);
    EXPECT_EQ(life("com. 90000 IN SOA a.com. b.com. 1 2 3 4 30000"), 3600s);
    EXPECT_EQ(life("com. 900 IN SOA a.com. b.com. 1 2 3 4 300", 0), 300s);
    EXPECT_EQ(life("com. 90 IN SOA a.com. b.com. 1 2 3 4 4294967295"), 90s);
    TtlPolicy patient;
    patient.negative_ttl = 1000h;
    EXPECT_EQ(life("com. 900000 IN SOA a.com. b.com. 1 2 3 4 4294967295", 3, patient), 86400s);
}

TEST(BuildEntry, ChainShortensANegativeLife) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A);
    auto entry = entry_of(key, {.answer = {"a.com. 20 IN CNAME b.com."}, .authority = {soa}, .rcode = 3});
    EXPECT_EQ(entry->expiry, received + 20s);
    EXPECT_EQ(entry->answers, 1);
    EXPECT_EQ(entry->authorities, 1);
}

TEST(BuildEntry, BareNegativeLivesFiveSeconds) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A);
    EXPECT_EQ(entry_of(key, {.rcode = 3})->expiry, received + 5s);
    auto entry = entry_of(key, {.answer = {"a.com. 20 IN CNAME b.com."}});
    EXPECT_EQ(entry->expiry, received + 5s);
    EXPECT_EQ(entry->stale_until, received + 5s + 24h);
    EXPECT_EQ(entry->rcode, 0);
}

TEST(BuildEntry, NothingLongerThanAMessage) {
    Key key = make_key("a.com", LDNS_RR_TYPE_SRV);
    std::string target; // 250 octets, which we write out whoever compressed them
    for (int i = 0; i < 4; ++i) target += std::string(60, 'x') + ".";
    ReplySpec spec;
    for (int i = 0; i < 200; ++i)
        spec.answer.push_back("a.com. 60 IN SRV 1 2 " + std::to_string(i) + " " + target);
    Answer answer = *parse(key, spec);
    ASSERT_EQ(answer.records.size(), 200u);
    EXPECT_TRUE(build_entry(key, answer, version, policy));
    answer.records.insert(answer.records.end(), answer.records.begin(), answer.records.begin() + 56);
    EXPECT_FALSE(build_entry(key, answer, version, policy)) << "256 of 262 octets";
}

TEST(BuildEntry, KeepsDnssecOutWithoutDo) {
    Key secure = make_key("a.com", LDNS_RR_TYPE_A, cache::dnssec_ok);
    Answer answer = *parse(secure, {.answer = {"a.com. 60 IN A 192.0.2.1", signature}});
    EXPECT_EQ(build_entry(secure, answer, version, policy)->answers, 2);
    EXPECT_EQ(build_entry(make_key("a.com", LDNS_RR_TYPE_A), answer, version, policy)->answers, 1);
}

TEST(BuildEntry, AuthenticDataIsATrustedUpstreamsWord) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A);
    for (bool authentic : {false, true}) {
        for (bool trusted : {false, true}) {
            Answer answer = *parse(key, {.answer = {"a.com. 60 IN A 192.0.2.1"}, .authentic = authentic});
            answer.is_trusted = trusted;
            EXPECT_EQ(build_entry(key, answer, version, policy)->authentic, authentic && trusted);
        }
    }
}

TEST(BuildFailure, IsAnEmptyServfail) {
    auto entry = build_failure(version, received, received + 2s, 22);
    EXPECT_TRUE(entry->failure);
    EXPECT_EQ(entry->rcode, 2);
    EXPECT_EQ(entry->info, 22);
    EXPECT_EQ(entry->expiry, received + 2s);
    EXPECT_EQ(entry->stale_until, received + 2s);
    EXPECT_EQ(entry->records_size + entry->answers + entry->authorities + entry->ttl_count, 0u);
}

TEST(EntryText, ShowsIpv6AndTheRoot) {
    Key key = make_key(".", LDNS_RR_TYPE_AAAA);
    auto entry = entry_of(key, {.answer = {". 60 IN AAAA 2001:db8::1"}});
    EXPECT_EQ(addresses(key, *entry), Lines{"2001:db8::1"});
    EXPECT_EQ(record_lines(key, *entry, received + 90s), Lines{".\t0\tIN\tAAAA\t2001:db8::1"});
}

} // namespace
} // namespace millrace::control
