// What is known about upstreams and their speed, the accept filter, and the memory of used ports and IDs.
#include <gtest/gtest.h>

#include "control/message/query.hpp"
#include "control/message/reply_match.hpp"
#include "control/upstream/recent_pairs.hpp"
#include "tests/control/upstream/upstreams_fixture.hpp"
#include "tests/support/replies.hpp"

namespace millrace::control {
namespace {

using Octets = std::vector<std::uint8_t>;

TEST_F(UpstreamsTest, UnmeasuredCountsAs100Ms) {
    EXPECT_EQ(upstreams.srtt(0), 100ms);
    EXPECT_FALSE(upstreams.is_measured(0));
    upstreams.measured(1, 150ms);
    upstreams.measured(2, 50ms);
    EXPECT_EQ(ranked(), (Order{2, 0, 1}));
}

TEST_F(UpstreamsTest, OneThatStaysKeepsWhatIsKnownOfIt) {
    upstreams.measured(1, 30ms);
    open(2);
    upstreams.replace(
        {upstreams.endpoint(2), *dataplane::parse_endpoint("192.0.2.9", 53), upstreams.endpoint(1)});
    ASSERT_EQ(upstreams.size(), 3u);
    EXPECT_EQ(breaker(0), Breaker::open);
    EXPECT_FALSE(upstreams.is_measured(1));
    EXPECT_EQ(upstreams.srtt(2), 30ms);
}

TEST_F(UpstreamsTest, OneThatStaysTakesItsNewOptions) {
    upstreams.measured(0, 30ms);
    EXPECT_FALSE(upstreams.is_trusted(0));
    EXPECT_TRUE(upstreams.randomises_case(0));
    upstreams.replace({{upstreams.endpoint(0), true, false}, upstreams.endpoint(1)});
    EXPECT_TRUE(upstreams.is_trusted(0));
    EXPECT_FALSE(upstreams.randomises_case(0));
    EXPECT_EQ(upstreams.srtt(0), 30ms);
    EXPECT_FALSE(upstreams.is_trusted(1));
}

TEST_F(UpstreamsTest, SmoothsTheRoundTrip) {
    upstreams.measured(0, 80ms);
    EXPECT_EQ(upstreams.srtt(0), 80ms);
    upstreams.measured(0, 160ms);
    EXPECT_EQ(upstreams.srtt(0), 90ms);
    upstreams.measured(0, 10ms);
    EXPECT_EQ(upstreams.srtt(0), 80ms);
}

TEST_F(UpstreamsTest, ResendsAfterFourRoundTripsWithinBounds) {
    EXPECT_EQ(upstreams.resend_after(0), 400ms);
    upstreams.measured(0, 1ms);
    EXPECT_EQ(upstreams.resend_after(0), 50ms);
    upstreams.measured(1, 900ms);
    EXPECT_EQ(upstreams.resend_after(1), 1s);
}

// The accept filter.

class MatchReply : public testing::Test {
  protected:
    cache::Key key = support::make_key("example.com", LDNS_RR_TYPE_A);
    Octets query = build_query(key, 0x1234, support::make_key("example.com", 1).name.bytes());
    Octets reply = support::make_reply(query, {.answer = {"example.com. 60 IN A 192.0.2.1"}});
    ReplyMatch match() const { return match_reply(query, reply); }
};

TEST_F(MatchReply, TakesTheReply) {
    EXPECT_EQ(match(), ReplyMatch::reply);
}
TEST_F(MatchReply, SeesTruncation) {
    reply[2] |= 0x02;
    EXPECT_EQ(match(), ReplyMatch::truncated);
}
TEST_F(MatchReply, SeesEitherOctetOfTheId) {
    reply[0] ^= 1;
    EXPECT_EQ(match(), ReplyMatch::wrong_id);
    reply[0] ^= 1;
    reply[1] ^= 1;
    EXPECT_EQ(match(), ReplyMatch::wrong_id);
}
TEST_F(MatchReply, SeesTheLetterCase) {
    reply[13] ^= 0x20;
    EXPECT_EQ(match(), ReplyMatch::wrong_case);
    reply[0] ^= 1;
    EXPECT_EQ(match(), ReplyMatch::wrong_id);
}
TEST_F(MatchReply, SeesAnotherQuestion) {
    reply[13] = 'f';
    EXPECT_EQ(match(), ReplyMatch::other);
    reply[13] = 'e';
    reply[12 + key.name.size + 1] = LDNS_RR_TYPE_AAAA;
    EXPECT_EQ(match(), ReplyMatch::other);
    reply[12 + key.name.size + 1] = LDNS_RR_TYPE_A;
    reply[12 + key.name.size + 3] = LDNS_RR_CLASS_CH;
    EXPECT_EQ(match(), ReplyMatch::other);
}
TEST_F(MatchReply, WantsAResponseToAQueryWithOneQuestion) {
    auto with = [&](std::size_t at, std::uint8_t value) {
        Octets changed = reply;
        changed[at] = value;
        return match_reply(query, changed);
    };
    EXPECT_EQ(with(2, reply[2] & 0x7f), ReplyMatch::no_reply); // QR
    EXPECT_EQ(with(2, reply[2] | 0x20), ReplyMatch::no_reply); // opcode
    EXPECT_EQ(with(5, 0), ReplyMatch::no_reply);
    EXPECT_EQ(with(5, 2), ReplyMatch::no_reply);
    EXPECT_EQ(with(12, 0xc0), ReplyMatch::no_reply);
    EXPECT_EQ(match_reply(query, query), ReplyMatch::no_reply);
}
TEST_F(MatchReply, TakesTwoKindsWithoutAQuestion) {
    auto header = [](std::uint8_t flags, std::uint8_t rcode, const Octets& rest = {}) {
        Octets message(12 + rest.size());
        message[0] = 0x12;
        message[1] = 0x34;
        message[2] = flags;
        message[3] = rcode;
        message[11] = rest.empty() ? 0 : 1;
        std::ranges::copy(rest, message.begin() + 12);
        return message;
    };
    EXPECT_EQ(match_reply(query, header(0x82, 0)), ReplyMatch::truncated);
    EXPECT_EQ(match_reply(query, header(0x80, 1)), ReplyMatch::no_edns);
    EXPECT_EQ(match_reply(query, header(0x80, 4)), ReplyMatch::no_edns);
    const Octets opt{0, 0, 41, 4, 208, 1, 0, 0, 0, 0, 0};
    EXPECT_EQ(match_reply(query, header(0x80, 0, opt)), ReplyMatch::no_edns); // BADVERS
    for (std::uint8_t rcode : {0, 2, 3, 5}) {
        EXPECT_EQ(match_reply(query, header(0x80, rcode)), ReplyMatch::no_reply) << int(rcode);
    }
    EXPECT_EQ(match_reply(query, header(0x02, 0)), ReplyMatch::no_reply); // a query
    EXPECT_EQ(match_reply(query, header(0x8a, 1)), ReplyMatch::no_reply); // another opcode
    Octets other_id = header(0x82, 0);
    other_id[1] ^= 1;
    EXPECT_EQ(match_reply(query, other_id), ReplyMatch::no_reply);
    Octets short_one = header(0x82, 0);
    short_one.resize(11);
    EXPECT_EQ(match_reply(query, short_one), ReplyMatch::no_reply);
    const Octets other_opt{0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0};
    EXPECT_EQ(match_reply(query, header(0x80, 0, other_opt)), ReplyMatch::no_reply);
    EXPECT_EQ(match_reply(query, header(0x80, 0, {0, 0, 41, 4})), ReplyMatch::no_reply);
}

TEST(WithoutOpt, LeavesTheQuestionAlone) {
    auto key = support::make_key("example.com", LDNS_RR_TYPE_A, cache::checking_disabled);
    Octets query = build_query(key, 0x1234, key.name.bytes()), plain = without_opt(query);
    EXPECT_EQ(plain.size(), 12u + key.name.size + 4u);
    EXPECT_EQ(plain[11], 0);
    query[11] = 0;
    EXPECT_TRUE(std::equal(plain.begin(), plain.end(), query.begin()));
    EXPECT_EQ(without_opt(plain), plain);
}
TEST_F(MatchReply, WantsAWholeQuestion) {
    for (std::size_t size = 0; size < 12u + key.name.size + 4u; ++size) {
        EXPECT_EQ(match_reply(query, {reply.data(), size}), ReplyMatch::no_reply) << size;
    }
}

// Used ports and IDs.

dataplane::Endpoint server(unsigned i) {
    return *dataplane::parse_endpoint("192.0.2." + std::to_string(i), 53);
}
constexpr std::uint8_t question[] = {1, 'a', 0, 0, 1}, another[] = {1, 'b', 0, 0, 1};

TEST(RecentPairs, RefusesAPairForTenSeconds) {
    for (Time start : {0s, 3s, 9s}) { // wherever the filters are in their turn
        RecentPairs recent(1);
        Time now = support::clock_start();
        recent.use(another, server(9), 9, 9, now);
        now += start;
        EXPECT_TRUE(recent.use(question, server(0), 5000, 7, now));
        EXPECT_FALSE(recent.use(question, server(0), 5000, 7, now));
        for (Time later = now; later < now + 10s; later += 500ms) {
            EXPECT_FALSE(recent.use(question, server(0), 5000, 7, later)) << later.count();
        }
        EXPECT_TRUE(recent.use(question, server(0), 5000, 7, now + 20s));
    }
}

TEST(RecentPairs, ConcernsOneQuestionAndUpstream) {
    RecentPairs recent(1);
    EXPECT_TRUE(recent.use(question, server(0), 5000, 7, 1h));
    EXPECT_TRUE(recent.use(another, server(0), 5000, 7, 1h));
    EXPECT_TRUE(recent.use(question, server(1), 5000, 7, 1h));
    EXPECT_TRUE(recent.use(question, server(0), 5001, 7, 1h));
    EXPECT_TRUE(recent.use(question, server(0), 5000, 8, 1h));
}

TEST(RecentPairs, SeldomRefusesWithoutCause) {
    RecentPairs recent(1);
    unsigned refused = 0;
    for (unsigned i = 0; i < 500000; ++i)
        refused += !recent.use(question, server(i >> 16), std::uint16_t(i), 7, 1h);
    EXPECT_LT(refused, 500u);
}

} // namespace
} // namespace millrace::control
