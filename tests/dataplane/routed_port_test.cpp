// Replies of a port with `next-hop: routed`, on the wire of net_ring.
#include "dataplane/next_hops.hpp"
#include "tests/dataplane/ethdev_fixture.hpp"

namespace millrace::tests {

namespace {

constexpr std::uint32_t dns0 = 3, vlan = 4;
const Mac router{{2, 0, 0, 0, 0, 0xa}}, other{{2, 0, 0, 0, 0, 0xb}}, asker{{2, 0, 0, 0, 0, 1}};
const std::vector<std::string> interfaces = {"dns0"};

/// Both clients of frames.hpp are beyond one gateway.
std::unique_ptr<NextHops> by(std::uint32_t link, const Mac& mac) {
    KernelView kernel;
    kernel.links = {{dns0, "dns0"}, {vlan, "dns0.7", KernelLink::Vlan{dns0, 0x8100, 7}}};
    kernel.neighbours = {{link, address("fe80::1"), mac}};
    auto routes = std::make_shared<KernelRoutes>();
    routes->add(*parse_prefix("0.0.0.0/0"), 0, {{link, address("fe80::1")}});
    routes->add(*parse_prefix("::/0"), 0, {{link, address("fe80::1")}});
    routes->seal();
    kernel.routes = std::move(routes);
    return std::make_unique<NextHops>(kernel, interfaces);
}

class RoutedPortTest : public EthdevTest {
  protected:
    void SetUp() override {
        EthdevTest::SetUp();
        EthdevPort::Setup setup{ethdev_->port(), 0, pool_, &service_, ethdev_->offload()};
        setup.next_hops = &next_hops_;
        port_.emplace(setup);
    }

    /// The frame that goes out in reply to `query`.
    Bytes replied(const Query& query) {
        arrive(query);
        return replied();
    }
    Bytes replied() {
        port_->receive(burst_, counters_);
        if (burst_.count != 1) return {};
        answer(burst_.packets[0], 40);
        port_->send(burst_, counters_);
        auto frames = sent();
        return frames.size() == 1 ? frames[0] : Bytes{};
    }
    static Mac destination(const Bytes& frame) {
        Mac mac;
        std::copy_n(frame.begin(), 6, mac.octets.begin());
        return mac;
    }

    cache::Grace grace_;
    cache::Replaceable<NextHops> next_hops_{by(dns0, router)};
};

TEST_F(RoutedPortTest, ARepliesFrameIsTheRoutes) {
    for (bool v6 : {false, true}) {
        for (const std::vector<unsigned>& tags : {std::vector<unsigned>{}, {0x8100}, {0x88a8, 0x8100}}) {
            next_hops_.replace(by(dns0, router), grace_);
            Bytes frame = replied({.v6 = v6, .tags = tags, .source_port = 53});
            ASSERT_GE(frame.size(), 60u);
            EXPECT_EQ(destination(frame), router);
            EXPECT_EQ(get16(&frame[12]), v6 ? 0x86ddU : 0x0800U) << "without the query's tags";
            expect_reply(frame, 40);

            next_hops_.replace(by(vlan, other), grace_);
            frame = replied({.v6 = v6, .tags = tags, .source_port = 53});
            ASSERT_GE(frame.size(), 60u);
            EXPECT_EQ(destination(frame), other) << "as soon as the route has changed";
            EXPECT_EQ(Bytes(&frame[12], &frame[16]), (Bytes{0x81, 0, 0, 7}));
            expect_reply(frame, 40);
        }
    }
    EXPECT_EQ(counters_.get(Event::unrouted), 0u);
}

TEST_F(RoutedPortTest, AWokenWaitersReplyIsRoutedToo) {
    next_hops_.replace(by(vlan, other), grace_);
    arrive(Query{.v6 = true});
    arrive(Query{.v6 = true});
    port_->receive(burst_, counters_);
    ASSERT_EQ(burst_.count, 2u);
    EXPECT_EQ(burst_.packets[0].client.address, address(client_v6));
    ReturnPath path;
    port_->save(burst_.packets[0], path);
    answer(burst_.packets[1], 77);
    port_->send(burst_, counters_);
    ASSERT_TRUE(port_->compose(burst_, path));
    EXPECT_EQ(burst_.packets[0].client.address, address(client_v6));
    answer(burst_.packets[0], 77);
    port_->send(burst_, counters_);
    auto frames = sent();
    ASSERT_EQ(frames.size(), 2u);
    EXPECT_EQ(frames[0], frames[1]);
    EXPECT_EQ(destination(frames[0]), other);
}

TEST_F(RoutedPortTest, WithoutAWayItGoesBackToItsSender) {
    next_hops_.replace(std::make_unique<NextHops>(KernelView{}, interfaces), grace_);
    Bytes frame = replied({.tags = {0x8100}});
    ASSERT_GE(frame.size(), 60u);
    EXPECT_EQ(destination(frame), asker);
    EXPECT_EQ(get16(&frame[12]), 0x8100u) << "with the query's tag";
    EXPECT_EQ(counters_.get(Event::unrouted), 1u);
}

TEST_F(RoutedPortTest, ALinkLocalClientIsOnTheLinkThatItAsksFrom) {
    Bytes frame = replied({.v6 = true, .source = "fe80::99"});
    ASSERT_GE(frame.size(), 60u);
    EXPECT_EQ(destination(frame), asker);
    EXPECT_EQ(counters_.get(Event::unrouted), 0u);
}

/// A driver may leave no headroom: then there is no place for a tag that the query had not.
TEST_F(RoutedPortTest, WithoutHeadroomForTheTagItGoesBackToItsSender) {
    next_hops_.replace(by(vlan, other), grace_);
    Bytes query = build({.source_port = 53});
    rte_mbuf* mbuf = rte_pktmbuf_alloc(pool_);
    mbuf->data_off = 3;
    std::memcpy(rte_pktmbuf_append(mbuf, std::uint16_t(query.size())), query.data(), query.size());
    arrive(mbuf);
    Bytes frame = replied();
    ASSERT_GE(frame.size(), 60u);
    EXPECT_EQ(destination(frame), asker);
    expect_reply(frame, 40);
    EXPECT_EQ(counters_.get(Event::unrouted), 1u);
}

} // namespace

} // namespace millrace::tests
