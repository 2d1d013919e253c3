// Upstreams asked by a port, on the wire of net_ring: what the lcore hands to control, and sends for it.
#include "dataplane/upstream_path.hpp"
#include "tests/dataplane/ethdev_fixture.hpp"

namespace millrace::tests {

namespace {

constexpr std::string_view source_v4 = "198.18.0.60", source_v6 = "2001:db8::60";
constexpr std::string_view server_v4 = "192.0.2.1", server_v6 = "2001:db8:1::1";
const Mac own{{2, 0, 0, 0, 0, 0x53}}, router{{2, 0, 0, 0, 0, 0xa}};

class UpstreamPortTest : public EthdevTest {
  protected:
    void SetUp() override {
        EthdevTest::SetUp();
        path_.emplace(
            UpstreamPath::Setup{1, {address(source_v4), address(source_v6)}, own, 1500, &next_hops_, 0});
        EthdevPort::Setup setup{ethdev_->port(), 0, pool_, &service_, ethdev_->offload()};
        setup.upstreams = &path_->queue(0);
        port_.emplace(setup);
        path_->set_remotes({{address(server_v4), 53}, {address(server_v6), 53}}, grace_);
        path_->set_open(40000, true);
    }

    static Query reply(bool v6) {
        return {.v6 = v6,
                .source = v6 ? server_v6 : server_v4,
                .destination = v6 ? source_v6 : source_v4,
                .source_port = 53,
                .destination_port = 40000};
    }
    /// What becomes of a frame that is no query.
    Verdict verdict_of(const Bytes& frame) {
        Counters before;
        copy(counters_, before);
        arrive(buffer(frame));
        port_->receive(burst_, counters_);
        EXPECT_EQ(burst_.count, 0u);
        for (std::size_t v = 0; v < verdicts; ++v) {
            if (counters_.get(Verdict(v)) != before.get(Verdict(v))) return Verdict(v);
        }
        return Verdict::count_;
    }
    static void copy(const Counters& from, Counters& to) {
        for (std::size_t v = 0; v < verdicts; ++v) to.add(Verdict(v), from.get(Verdict(v)));
    }
    bool take(UpstreamReply& what, Bytes& message) {
        message.resize(UpstreamQueue::reply_room);
        bool is_any = path_->queue(0).take_reply(what, message.data());
        message.resize(is_any ? what.size : 0);
        return is_any;
    }
    bool send(bool v6, const Bytes& message) {
        NextHop hop{router, 1, {0x81, 0, 0, 7}};
        return path_->send(hop, {address(v6 ? source_v6 : source_v4), 50000},
                           {address(v6 ? server_v6 : server_v4), 53}, message, 0);
    }

    cache::Grace grace_;
    cache::Replaceable<NextHops> next_hops_{
        std::make_unique<NextHops>(KernelView{}, std::vector<std::string>{"dns0"})};
    std::optional<UpstreamPath> path_;
};

TEST_F(UpstreamPortTest, AReplyGoesToControlWithWhoHasSentItToWhom) {
    for (bool v6 : {false, true}) {
        for (const std::vector<unsigned>& tags : {std::vector<unsigned>{}, {0x88a8, 0x8100}}) {
            Query query = reply(v6);
            query.tags = tags;
            query.padding = 7;
            query.payload = Bytes(300, 0xcd);
            EXPECT_EQ(verdict_of(build(query)), Verdict::to_control);
            UpstreamReply what;
            Bytes message;
            ASSERT_TRUE(take(what, message));
            EXPECT_EQ(message, query.payload);
            EXPECT_EQ(what.from, (Endpoint{address(v6 ? server_v6 : server_v4), 53}));
            EXPECT_EQ(what.to, (Endpoint{address(v6 ? source_v6 : source_v4), 40000}));
            EXPECT_FALSE(what.is_cut);
            EXPECT_FALSE(take(what, message));
        }
    }
    EXPECT_EQ(counters_.received(), 4u);
}

TEST_F(UpstreamPortTest, WhatIsLongerThanWasAskedForIsCut) {
    Query query = reply(true);
    query.payload = Bytes(1233, 1);
    EXPECT_EQ(verdict_of(build(query)), Verdict::to_control);
    UpstreamReply what;
    Bytes message;
    ASSERT_TRUE(take(what, message));
    EXPECT_TRUE(what.is_cut);
    EXPECT_EQ(message, Bytes(1232, 1));
}

TEST_F(UpstreamPortTest, WhatIsNoReplyIsDroppedAsBefore) {
    for (bool v6 : {false, true}) {
        auto changed = [&](auto change) {
            Query query = reply(v6);
            change(query);
            return verdict_of(build(query));
        };
        EXPECT_EQ(changed([&](Query& q) { q.source = v6 ? "2001:db8:1::2" : "192.0.2.2"; }),
                  Verdict::drop_destination);
        EXPECT_EQ(changed([](Query& q) { q.source_port = 54; }), Verdict::drop_destination);
        EXPECT_EQ(changed([](Query& q) { q.destination_port = 1023; }), Verdict::drop_destination);
        EXPECT_EQ(changed([&](Query& q) { q.destination = v6 ? service_v6 : service_v4; }),
                  Verdict::drop_destination);
        EXPECT_EQ(changed([](Query& q) { q.checksum = false; }),
                  v6 ? Verdict::drop_checksum : Verdict::to_control);
        Bytes frame = build(reply(v6));
        frame.back() ^= 1;
        EXPECT_EQ(verdict_of(frame), Verdict::drop_checksum);
        frame = build(reply(v6));
        frame[0] |= 1; // a group's
        EXPECT_EQ(verdict_of(frame), Verdict::drop_destination);
        frame = build(reply(v6));
        frame.resize(frame.size() - 1);
        EXPECT_EQ(verdict_of(frame), Verdict::drop_frame);
    }
    Bytes fragment = build(reply(false));
    set16(&fragment[14 + 6], 0x2000); // more of them
    set16(&fragment[14 + 10], 0);
    set16(&fragment[14 + 10], 0xffff & ~ones_sum(&fragment[14], 20));
    EXPECT_EQ(verdict_of(fragment), Verdict::drop_fragment);
    Query later = reply(true);
    later.extensions = {{44, Bytes(8, 0)}};
    EXPECT_EQ(verdict_of(build(later)), Verdict::drop_fragment);
}

TEST_F(UpstreamPortTest, NobodyElsesRepliesAreTakenOnceTheServersAreOthers) {
    EXPECT_EQ(verdict_of(build(reply(false))), Verdict::to_control);
    path_->set_remotes({{address(server_v6), 53}}, grace_);
    EXPECT_EQ(verdict_of(build(reply(false))), Verdict::drop_destination);
    EXPECT_EQ(verdict_of(build(reply(true))), Verdict::to_control);
}

TEST_F(UpstreamPortTest, AQueryIsStillAQuery) {
    expect_service();
}

TEST_F(UpstreamPortTest, AFullRingDropsAndCounts) {
    unsigned taken = 0;
    Verdict verdict = Verdict::to_control;
    Bytes frame = build(reply(false));
    for (; verdict == Verdict::to_control; ++taken) verdict = verdict_of(frame);
    EXPECT_EQ(verdict, Verdict::drop_reply_full);
    EXPECT_GT(taken, 1000u);
    UpstreamReply what;
    Bytes message;
    while (take(what, message)) EXPECT_EQ(message, reply(false).payload);
    EXPECT_EQ(verdict_of(frame), Verdict::to_control) << "it goes on";
}

TEST_F(UpstreamPortTest, WhatControlSendsLeavesWithTheNextReceive) {
    for (bool v6 : {false, true}) {
        for (std::size_t size : {std::size_t(0), std::size_t(1), std::size_t(29), std::size_t(1232)}) {
            ASSERT_TRUE(send(v6, Bytes(size, 0xab)));
            port_->receive(burst_, counters_);
            auto frames = sent();
            ASSERT_EQ(frames.size(), 1u);
            Query expected{.v6 = v6,
                           .tags = {0x8100},
                           .source = v6 ? source_v6 : source_v4,
                           .destination = v6 ? server_v6 : server_v4,
                           .source_port = 50000,
                           .payload = Bytes(size, 0xab)};
            Service server;
            server.addresses = {address(expected.destination)};
            auto parsed = Frame::parse(frames[0], server);
            ASSERT_TRUE(parsed) << "with the right checksums";
            EXPECT_EQ(parsed->source, (Endpoint{address(expected.source), 50000}));
            EXPECT_EQ(parsed->payload_size, size);
            EXPECT_TRUE(std::equal(frames[0].begin(), frames[0].begin() + 6, router.octets.begin()));
            EXPECT_TRUE(std::equal(frames[0].begin() + 6, frames[0].begin() + 12, own.octets.begin()));
            EXPECT_EQ(Bytes(&frames[0][12], &frames[0][16]), (Bytes{0x81, 0, 0, 7}));
            std::size_t udp = parsed->payload - 8U;
            Bytes whole = build(expected);
            EXPECT_EQ(Bytes(frames[0].begin() + long(udp), frames[0].end()),
                      Bytes(whole.begin() + long(udp), whole.end()));
        }
    }
    EXPECT_EQ(counters_.get(Event::from_control), 8u);
}

TEST_F(UpstreamPortTest, ABurstATurn) {
    for (unsigned i = 0; i < limits::burst + 3; ++i) ASSERT_TRUE(send(false, Bytes(40, 1)));
    port_->receive(burst_, counters_);
    EXPECT_EQ(sent().size(), limits::burst);
    port_->receive(burst_, counters_);
    EXPECT_EQ(sent().size(), 3u);
}

TEST_F(UpstreamPortTest, ASuspendedPortDropsQueriesAndCounts) {
    port_->suspend();
    ASSERT_TRUE(send(false, Bytes(40, 1)));
    port_->receive(burst_, counters_);
    EXPECT_TRUE(sent().empty());
    EXPECT_EQ(counters_.get(Event::send_failed), 1u);
    port_->resume(ethdev_->port(), ethdev_->offload());
    ASSERT_TRUE(send(false, Bytes(40, 1)));
    port_->receive(burst_, counters_);
    EXPECT_EQ(sent().size(), 1u);
}

} // namespace

} // namespace millrace::tests
