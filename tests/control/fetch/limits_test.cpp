// Limits of new Fetches: of a client's prefix, and of a key.
#include "tests/control/fetch/fixture.hpp"
#include "tests/support/rules.hpp"

namespace millrace::control {
namespace {

class FetchLimits : public FetchTest {
  protected:
    FetchLimits() : FetchTest(1) { fetches.set_rules(rules.current()); }

    void limit(unsigned per_second) { rules.replace_clients({{}, {.fetches = per_second}}, grace); }
    static cache::Key numbered(unsigned i) {
        return make_key("n" + std::to_string(i) + ".com", LDNS_RR_TYPE_A);
    }
    test::RulesInEffect rules{dataplane::ClientPolicy{}};
};

TEST_F(FetchLimits, OfAPrefix) {
    limit(5);
    serve(0, {"192.0.2.1"}, 1ms);
    std::vector<std::uint64_t> asked;
    for (unsigned i = 0; i < 8; ++i) asked.push_back(ask(numbered(i)));
    std::uint64_t joins = ask(numbered(0)); // no new Fetch
    run(10ms);
    for (unsigned i = 0; i < 8; ++i) EXPECT_EQ(woken(asked[i]).rcode, i < 5 ? 0 : 2) << i;
    EXPECT_EQ(woken(joins).rcode, 0);
    EXPECT_EQ(fetches.counters().limited, 3u);
    std::uint64_t elsewhere = ask_as({*dataplane::parse_address("10.99.0.1"), 1024}, 1, numbered(100));
    run(1s);
    EXPECT_EQ(woken(elsewhere).rcode, 0) << "another prefix";
    std::uint64_t later = ask(numbered(101));
    run(10ms);
    EXPECT_EQ(woken(later).rcode, 0);
}

TEST_F(FetchLimits, OverItStaleDataIsBetterThanServfail) {
    serve(0, {"192.0.2.1"}, 1ms, 2);
    ask(a);
    run(3s); // it has expired
    limit(1);
    ask(b);
    std::uint64_t stale = ask(a);
    EXPECT_EQ(woken(stale).kind, dataplane::Wake::Kind::stale);
    EXPECT_EQ(woken(stale).addresses, Hosts{"192.0.2.1"});
    run(10ms);
}

TEST_F(FetchLimits, OfAKeyWhoeverAsksButNotOfForcedSuccessors) {
    serve(0, {"192.0.2.1"}, 1ms, 0); // nothing is kept
    unsigned answered = 0;
    for (unsigned i = 0; i < 150; ++i) {
        std::uint64_t one = ask(a);
        run(2ms);
        answered += woken(one).rcode == 0;
    }
    unsigned in_300_ms = dataplane::limits::starts_per_key * 3 / 10;
    EXPECT_GE(answered, dataplane::limits::starts_per_key + in_300_ms - 2);
    EXPECT_LE(answered, dataplane::limits::starts_per_key + in_300_ms + 2);
    run(15ms); // room for one
    std::uint64_t waits = ask(a);
    for (int i = 0; i < 5; ++i) {
        ASSERT_TRUE(flushes.flush_name(a.name, [](std::size_t) {}));
        run(Time(500));
    }
    run(5ms);
    EXPECT_EQ(woken(waits).rcode, 0) << "its successors were forced";
}

} // namespace
} // namespace millrace::control
