// A reload to servers that are given by name: those of before serve until the new ones have addresses.
#include "tests/control/daemon/reload_fixture.hpp"

namespace millrace::control {
namespace {

class ReloadToNames : public ReloadTest {
  protected:
    ~ReloadToNames() override { names.close(clock.now); }

    static std::string by_name(const std::string& name = "dns.example.net", const std::string& group = "g",
                               const std::string& bootstrap = "203.0.113.1") {
        return "{group: " + group + ", servers: ['" + name + ":53'], bootstrap: [" + bootstrap + "]}";
    }
    static std::string file(const std::string& groups) { return "upstreams: [" + groups + "]\n"; }
    static dataplane::Endpoint resolver(unsigned i) {
        return *dataplane::parse_endpoint("203.0.113." + std::to_string(i), 53);
    }
    /// What a bootstrap server says after `delay`; without an address that it failed.
    void tell(const std::string& host, Time delay = 1ms, unsigned which = 1) {
        network.serve(resolver(which), [=](FakeNetwork& net, const Sent& sent) {
            ReplySpec spec;
            if (host.empty()) spec.rcode = LDNS_RCODE_SERVFAIL;
            bool is_v4 = type_of(sent) == LDNS_RR_TYPE_A;
            if (is_v4 && !host.empty()) spec.answer.push_back(record(sent, host, 3600));
            if (!is_v4) spec.authority = {"example.net. 60 IN SOA a. b. 1 2 3 4 60"};
            net.reply(sent, make_reply(sent.message, spec), delay);
        });
    }
    void run_names(Time span) {
        for (Time end = clock.now + span; clock.now < end; run(10ms)) names.tick(clock.now);
    }
    /// Read, resolved and put in place. Empty: all went well.
    std::string reload_to(const std::string& text) {
        result.reset();
        begin(text);
        for (int i = 0; i < 1000 && !result; ++i) {
            run_names(10ms);
            flushes.tick();
            worker.quiescent();
        }
        return !result ? "never told" : *result ? "" : result->error();
    }
};

TEST_F(ReloadToNames, TheOldServersServeUntilTheNewNamesHaveAddresses) {
    tell("198.51.100.8", 500ms);
    begin(file(by_name()));
    run_names(400ms);
    EXPECT_FALSE(result);
    EXPECT_EQ(upstreams.endpoint(0), server(0));
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    auto client = ask(b);
    run(100ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"1.1.1.1"});
    serve(7, {"8.8.8.8"}, 1ms);
    run_names(400ms);
    EXPECT_EQ(upstreams.endpoint(0), server(7));
    EXPECT_FALSE(upstreams.is_vacant(0));
    acknowledge();
    ASSERT_TRUE(*result);
    EXPECT_EQ((*result)->changed, std::vector<std::string>{"upstreams"});
    EXPECT_EQ(cached(a), nullptr);
    client = ask(b);
    run(100ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"8.8.8.8"}) << "nothing of the old ones is left";
}

TEST_F(ReloadToNames, WithoutAnyAddressNothingIsChanged) {
    tell("");
    EXPECT_EQ(reload_to("cache: {max-ttl: 1h}\n" + file(by_name())),
              "no address is known of any server of group \"g\", see the log; nothing was changed");
    EXPECT_EQ(upstreams.endpoint(0), server(0));
    EXPECT_EQ(cached_addresses(a), Hosts{"1.1.1.1"});
    EXPECT_EQ(table.floor(0), 0u);
    auto client = ask(b);
    run_names(100ms);
    EXPECT_EQ(woken(client).addresses, Hosts{"1.1.1.1"});
    EXPECT_EQ(groups[ServerNames::bootstrap_of(0)].size(), 0u) << "as before";
    std::size_t before = network.sent.size();
    run_names(10s);
    EXPECT_EQ(network.sent.size(), before) << "nobody asks for the name any more";

    EXPECT_EQ(reload_to(file(
                  "{group: g, servers: ['dns.example.net:53', 198.51.100.1], bootstrap: [203.0.113.1]}")),
              "")
        << "one of the group is known";
    EXPECT_EQ(reload_to(file("{group: g, servers: [198.51.100.1]}, " + by_name("dns.example.net", "h"))), "")
        << "a new group has nothing to lose";
}

/// Port 5388 is one that this program listens on (ReloadTest::names).
TEST_F(ReloadToNames, ToOurselvesIsRefused) {
    tell("198.51.100.8");
    ASSERT_EQ(reload_to(file(by_name())), "");
    EXPECT_EQ(reload_to(file("{group: g, servers: ['dns.example.net:5388'], bootstrap: [203.0.113.1]}")),
              "no address is known of any server of group \"g\", see the log; nothing was changed");
    EXPECT_EQ(upstreams.endpoint(0), server(7));
    EXPECT_FALSE(upstreams.is_vacant(0));
    EXPECT_EQ(reload_to(file("{group: g, servers: ['dns.example.net:5388', 'dns.example.net:53'], bootstrap: "
                             "[203.0.113.1]}")),
              "")
        << "at one of its ports somebody else is";
    EXPECT_TRUE(upstreams.is_vacant(0));
    EXPECT_EQ(upstreams.endpoint(2 * limits::name_addresses), server(7));
}

TEST_F(ReloadToNames, ARefusedReloadLeavesTheNamesOfBefore) {
    tell("198.51.100.8");
    ASSERT_EQ(reload_to(file(by_name())), "");
    tell("", 1ms, 2);
    ASSERT_NE(reload_to(file("{group: h, servers: [198.51.100.3]}, " +
                             by_name("other.example.net", "g", "203.0.113.2"))),
              "");
    EXPECT_EQ(upstreams.endpoint(0), server(7));
    EXPECT_FALSE(upstreams.is_vacant(0));
    EXPECT_EQ(groups[ServerNames::bootstrap_of(0)].endpoint(0), resolver(1));
    tell("198.51.100.9");
    run_names(2h);
    EXPECT_EQ(upstreams.endpoint(0), server(8)) << "it is kept fresh";
}

TEST_F(ReloadToNames, ANameThatStaysKeepsItsAddressesWhateverItsBootstrapServersSay) {
    tell("198.51.100.8");
    ASSERT_EQ(reload_to(file("{group: h, servers: [198.51.100.4]}, " + by_name())), "");
    EXPECT_EQ(groups[1].endpoint(0), server(7));
    tell("", 1ms, 2);
    ASSERT_EQ(reload_to(file("{group: h, servers: [198.51.100.4]}, " +
                             by_name("dns.example.net", "g", "203.0.113.2"))),
              "");
    EXPECT_EQ(groups[1].endpoint(0), server(7));
    EXPECT_FALSE(groups[1].is_vacant(0));
    EXPECT_EQ(network.sent.back().to, resolver(2)) << "who is no longer configured is asked nothing more";
    ASSERT_EQ(reload_to(file(by_name("dns.example.net", "g", "203.0.113.2") +
                             ", {group: h, servers: [198.51.100.4]}")),
              "");
    EXPECT_EQ(groups[0].endpoint(0), server(7)) << "in its new place, too";
    EXPECT_FALSE(groups[0].is_vacant(0));
    EXPECT_EQ(groups[ServerNames::bootstrap_of(0)].endpoint(0), resolver(2));
    EXPECT_EQ(groups[ServerNames::bootstrap_of(1)].size(), 0u);
}

TEST_F(ReloadToNames, TheLogNamesTheGroup) {
    tell("198.51.100.8");
    ASSERT_EQ(reload_to(file("{group: h, servers: [198.51.100.4]}, " + by_name())), "");
    EXPECT_EQ(groups[0].title(0), "group h: upstream 198.51.100.4:53");
    EXPECT_EQ(groups[1].title(0), "group g: upstream 198.51.100.8:53");
    EXPECT_EQ(groups[ServerNames::bootstrap_of(1)].title(0), "group g: bootstrap server 203.0.113.1:53");
}

} // namespace
} // namespace millrace::control
