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
    EXPECT_EQ(upstreams.ranked(), (Order{2, 0, 1}));
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
    EXPECT_EQ(upstreams.resend_after(0), 100ms);
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
