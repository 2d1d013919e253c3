// Frames in, reply frames or counters out: every row of the lower layers' rules, through a real ethdev port
// and its worker.
#include "tests/dataplane/ethdev_fixture.hpp"
#include "tests/dataplane/frame_rows.hpp"

#include "dataplane/worker.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/rules.hpp"

namespace millrace::tests {

namespace {

constexpr std::string_view name = "abcdefghijk"; // its query is as long as a row's payload
const Bytes record = Bytes{0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7};

using Frames = std::vector<Bytes>;

Bytes query(unsigned id = 0x1234) {
    return test::query(name, 1, id);
}
Bytes reply_to_query(unsigned id = 0x1234) {
    return test::operator+(test::operator+(test::header(id, 0x8180, 1, 1), test::question(name)), record);
}

class FrameWorker : public EthdevTest {
  protected:
    void SetUp() override {
        EthdevTest::SetUp();
        cache::Key key = test::key_of(std::string(name));
        auto hash = table_.hasher()(key);
        auto entry =
            test::entry_of({1, 0}, {7}, boot_time() + 60s, 60s); // not born yet: its TTL stands still
        table_.start(key, hash, 1);
        ASSERT_EQ(table_.publish(key, hash, entry), cache::Publication::accepted);
        worker_.emplace(WorkerContext{*port_, table_, *reader_, handoff_, counters_, rules_.now});
        reader_->online();
    }
    void TearDown() override {
        reader_->offline();
        EthdevTest::TearDown();
    }

    /// What the worker puts on the wire when this frame comes.
    std::vector<Bytes> turn(const Bytes& frame) {
        arrive(buffer(frame));
        worker_->turn();
        return sent();
    }

    void check(const Row& row);

    cache::Grace grace_;
    cache::Grace::Reader* reader_ = grace_.add_reader();
    cache::Table table_{{.entries = 1000, .bytes = 1 << 20}, grace_};
    Handoff handoff_;
    test::RulesInEffect rules_{ClientPolicy{{*parse_prefix("0.0.0.0/0"), *parse_prefix("::/0")}}};
    std::optional<Worker> worker_;
};

/// The reply's frame by the rules: everything swapped, tags echoed, options and extensions gone, no padding.
Bytes expected_frame(const Query& q, const Bytes& payload) {
    Query reply{.v6 = q.v6, .tags = q.tags, .payload = payload};
    reply.source = q.v6 ? service_v6 : service_v4;
    reply.destination = !q.source.empty() ? q.source : q.v6 ? client_v6 : client_v4;
    reply.source_port = 53;
    reply.destination_port = q.source_port;
    Bytes frame = build(reply);
    std::swap_ranges(frame.begin(), frame.begin() + 6, frame.begin() + 6);
    std::uint8_t* header = frame.data() + ip + 4 * q.tags.size();
    if (q.v6) {
        header[7] = 64; // hop limit
        return frame;
    }
    set16(header + 4, 0);      // identification
    set16(header + 6, 0x4000); // don't fragment
    header[8] = 64;            // TTL
    set16(header + 10, 0);
    set16(header + 10, 0xffff & ~ones_sum(header, 20));
    return frame;
}

/// What becomes of a payload that came through; the reply to it, if there is one.
Verdict judge(const Bytes& payload, Bytes& reply) {
    if (payload.size() < 12) return Verdict::drop_short;
    reply = payload == query() ? reply_to_query()
                               : test::header(get16(payload.data()), 0x8181, 0); // FORMERR: no one question
    return Verdict::answered;
}

void FrameWorker::check(const Row& row) {
    SCOPED_TRACE(row.name);
    Query q = row.query;
    if (q.payload == Query{}.payload) q.payload = query();
    Bytes frame = build(q), reply;
    row.change(frame);
    Verdict verdict = row.verdict ? *row.verdict : judge(q.payload, reply);
    std::uint64_t before = counters_.get(verdict), received = counters_.received();
    auto frames = turn(frame);
    EXPECT_EQ(counters_.get(verdict), before + 1);
    EXPECT_EQ(counters_.received(), received + 1) << "one verdict";
    EXPECT_EQ(frames, reply.empty() ? Frames{} : Frames{expected_frame(q, reply)});
}

TEST_F(FrameWorker, LinkLayer) {
    for (const Row& row : link_rows) check(row);
}
TEST_F(FrameWorker, Ipv4) {
    for (const Row& row : ipv4_rows) check(row);
}
TEST_F(FrameWorker, Ipv6) {
    for (const Row& row : ipv6_rows) check(row);
}
TEST_F(FrameWorker, Udp) {
    for (const Row& row : udp_rows) check(row);
}
TEST_F(FrameWorker, Addresses) {
    for (const Row& row : address_rows) check(row);
}

/// The ID is chosen so that the reply's sum is all ones, and its complement zero.
TEST_F(FrameWorker, AChecksumThatComesOutAsZeroIsSentAsAllOnes) {
    for (bool v6 : {false, true}) {
        std::size_t at = (v6 ? udp6 : udp4) + 6;
        unsigned id = 0x1234, missing = get16(&expected_frame({.v6 = v6}, reply_to_query(id))[at]);
        id += missing;
        id = (id & 0xffff) + (id >> 16);
        auto frames = turn(build({.v6 = v6, .payload = query(id)}));
        ASSERT_EQ(frames.size(), 1U);
        EXPECT_EQ(get16(&frames[0][at]), 0xffffU);
    }
}

/// Whatever the frame's size, a reply is of its own: nothing of the query's padding or trailing
/// octets is sent.
TEST_F(FrameWorker, TrailingOctetsAreNotEchoed) {
    for (std::size_t size : {0, 1, 20, 1000}) {
        Bytes payload = test::operator+(query(), Bytes(size, 0xee));
        EXPECT_EQ(turn(build({.payload = payload, .padding = size})),
                  Frames{expected_frame({}, reply_to_query())});
    }
}

TEST_F(FrameWorker, AMissIsCountedAndHandedOver) {
    Bytes other = test::query("other", 1);
    EXPECT_TRUE(turn(build({.tags = {0x8100}, .payload = other})).empty());
    EXPECT_EQ(counters_.get(Verdict::missed), 1U);
    EXPECT_EQ(counters_.received(), 1U);
    std::vector<Miss> misses(8);
    EXPECT_EQ(handoff_.take(misses), 1U);
}

TEST_F(FrameWorker, WhoMayNotAskIsRefused) {
    rules_.replace_clients(ClientPolicy{}, grace_);
    auto frames = turn(build({.payload = query()}));
    EXPECT_EQ(counters_.get(Verdict::refused), 1U);
    EXPECT_EQ(frames, Frames{expected_frame(
                          {}, test::operator+(test::header(0x1234, 0x8185, 1), test::question(name)))});
}

} // namespace

} // namespace millrace::tests
