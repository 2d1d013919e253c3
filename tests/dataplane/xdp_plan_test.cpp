// Which queues an AF_XDP port takes, and what is said where there are too few or too many.
#include "dataplane/xdp_plan.hpp"

#include <gtest/gtest.h>

#include "dataplane/limits.hpp"

namespace millrace::tests {

using namespace dataplane;

namespace {

PortPlan port(std::vector<unsigned> lcores, const std::string& more = "") {
    return {"net_af_xdp0,iface=edge0" + more, std::move(lcores), {}};
}

/// Queues in use and at most, each direction by itself.
Interface veth(unsigned queues, unsigned most = 0) {
    Interface interface;
    interface.name = "edge0";
    interface.driver = "veth";
    interface.queues = interface.receive_queues = queues;
    interface.most_queues = std::max(queues, most);
    return interface;
}

Interface nic(unsigned queues, unsigned most = 0) {
    Interface interface = veth(queues, most);
    interface.driver = "ice";
    interface.combines = true;
    return interface;
}

std::string refusal(const PortPlan& port, const Interface& interface) {
    auto plan = plan_xdp(port, interface);
    return plan ? "" : plan.error();
}

void expect_in(const std::string& text, const char* wanted) {
    EXPECT_NE(text.find(wanted), text.npos) << wanted << " in: " << text;
}

TEST(XdpPlan, CombinedChannelsAreOneDevice) {
    auto plan = plan_xdp(port({1, 2}), nic(2));
    ASSERT_TRUE(plan) << plan.error();
    EXPECT_EQ(plan->devices, std::vector<std::string>{"net_af_xdp0,iface=edge0,queue_count=2"});
    EXPECT_TRUE(plan->warnings.empty());
    EXPECT_EQ(plan_xdp(port({1}), nic(1))->devices, std::vector<std::string>{"net_af_xdp0,iface=edge0"});
    EXPECT_EQ(plan_xdp(port({1, 2}, ",queue_count=2,start_queue=6"), nic(8))->devices,
              std::vector<std::string>{"net_af_xdp0,iface=edge0,queue_count=2,start_queue=6"});
}

TEST(XdpPlan, ElseEachQueueIsADevice) {
    auto plan = plan_xdp(port({1, 2}), veth(2));
    ASSERT_TRUE(plan) << plan.error();
    EXPECT_EQ(plan->devices, (std::vector<std::string>{"net_af_xdp0,iface=edge0,start_queue=0",
                                                       "net_af_xdp0_q1,iface=edge0,start_queue=1"}));
    plan = plan_xdp(port({1, 2}, ",start_queue=3,busy_budget=0,queue_count=2"), veth(5));
    ASSERT_TRUE(plan) << plan.error();
    EXPECT_EQ(plan->devices,
              (std::vector<std::string>{"net_af_xdp0,iface=edge0,busy_budget=0,start_queue=3",
                                        "net_af_xdp0_q1,iface=edge0,busy_budget=0,start_queue=4"}));
    EXPECT_EQ(ethdev_name(plan->devices[1]), "net_af_xdp0_q1");
    expect_in(refusal(port({1, 2}, ",xdp_prog=/a"), veth(2)), "an xdp_prog of its own");
    EXPECT_EQ(refusal(port({1}, ",xdp_prog=/a"), veth(1)), "");
    EXPECT_EQ(refusal(port({1, 2}, ",xdp_prog=/a"), nic(2)), "");
}

TEST(XdpPlan, TooFewQueuesAreToldWithTheCommand) {
    expect_in(
        refusal(port({1, 2}), nic(1, 8)),
        "interface edge0 has 1 queue(s), and port net_af_xdp0 needs 2, one for each of 2 lcore(s); give it "
        "these with `ethtool -L edge0 combined 2`");
    expect_in(
        refusal(port({1, 2}, ",start_queue=1"), nic(2, 8)),
        "needs 3, one for each of 2 lcore(s) from start_queue=1 on; give it these with `ethtool -L edge0 "
        "combined 3`");
    expect_in(refusal(port({1, 2}), veth(1, 2)), "`ethtool -L edge0 rx 2 tx 2`");
    expect_in(refusal(port({1, 2}), veth(1)),
              "give the port fewer lcores, or make the veth with `numrxqueues 2 numtxqueues 2` at both ends");
    std::string said = refusal(port({1, 2}), nic(1));
    expect_in(said, "; give the port fewer lcores");
    EXPECT_EQ(said.find("veth"), said.npos);
}

TEST(XdpPlan, QueuesWithoutAnLcoreAreToldWithTheCommand) {
    auto warning = [](const PortPlan& port, const Interface& interface) {
        auto plan = plan_xdp(port, interface);
        return plan && plan->warnings.size() == 1 ? plan->warnings.front() : "";
    };
    expect_in(
        warning(port({1, 2}), nic(4)),
        "interface edge0 has 4 receive queues but 2 lcore(s): DNS queries on the other queues stay with the "
        "kernel; `ethtool -L edge0 combined 2` leaves it as many queues as lcores");
    expect_in(warning(port({1}), veth(2)), "`ethtool -L edge0 rx 1 tx 1`");
    expect_in(warning(port({1, 2}, ",start_queue=2"), nic(4)), "`ethtool -X edge0 start 2 equal 2`");
}

TEST(XdpPlan, WhatTheOperatorGivesHasToFit) {
    expect_in(refusal(port({1}, ",queue_count=2"), nic(4)),
              "port net_af_xdp0 has queue_count=2 but 1 lcore(s); leave queue_count out");
    expect_in(refusal(port({1}, ",queue_count=x"), nic(4)), "has queue_count=x but 1 lcore(s)");
    for (const char* start : {"x", "1x", "-1", "128", "4294967295", "4294967296"}) {
        std::string said = refusal(port({1}, std::string(",start_queue=") + start), nic(1000));
        expect_in(said, "of an interface's queues the first 128 can be served");
    }
    EXPECT_EQ(refusal(port({1}, ",start_queue=127"), nic(1000)), "");
}

TEST(XdpPlan, OptionsAreTakenOut) {
    EXPECT_EQ(without_option("a,x=1,y=2", "x"), "a,y=2");
    EXPECT_EQ(without_option("a,y=2,x=1", "x"), "a,y=2");
    EXPECT_EQ(without_option("a,xx=1", "x"), "a,xx=1");
    PortPlan several = port({1, 2});
    several.siblings = {"b"};
    EXPECT_EQ(several.devices(), (std::vector<std::string>{"net_af_xdp0,iface=edge0", "b"}));
}

} // namespace

} // namespace millrace::tests
