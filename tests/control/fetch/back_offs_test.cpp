// What ends when an upstream is back.
#include "tests/control/fetch/scenarios_fixture.hpp"

namespace millrace::control {
namespace {

/// A table of more slots than a tick walks.
class BackOffsTest : public Scenarios {
  protected:
    BackOffsTest() : Scenarios(1, {}, 40'000) { groups[1] = Upstreams({server(3)}); }

    void come_back(unsigned group) {
        groups[group].set_override(0, Override::down, clock.now);
        groups[group].set_override(0, Override::up, clock.now);
    }
};

TEST_F(BackOffsTest, ServersThatComeAndGoDoNotKeepTheWalkFromItsEnd) {
    script(0, servfail, 1ms);
    std::vector<cache::Key> keys;
    for (unsigned i = 0; i < 1500; ++i)
        keys.push_back(make_key("n" + std::to_string(i) + ".com", LDNS_RR_TYPE_A));
    for (const auto& key : keys) {
        ask(key, true);
        if (exchanges.open_count() == 400) run(10ms);
    }
    run(100ms);
    ASSERT_GT(table.slots(), 2 * limits::flush_slots_per_tick);
    for (const auto& key : keys) ASSERT_TRUE(cached(key) && cached(key)->failure);
    come_back(0);
    for (std::size_t i = 0; i < table.slots() / limits::flush_slots_per_tick + 1; ++i) {
        fetches.tick(clock.now);
        come_back(1);
    }
    for (const auto& key : keys) EXPECT_FALSE(cached(key));
}

} // namespace
} // namespace millrace::control
