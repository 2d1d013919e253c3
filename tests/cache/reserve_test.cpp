// Entries that are in no Slot: bounded, and freed when those that they were sent to are done with them.
#include "cache/reserve.hpp"

#include <gtest/gtest.h>

#include "tests/support/entries.hpp"

namespace millrace::cache {
namespace {

using test::entry_of;

class ReserveTest : public testing::Test {
  protected:
    EntryPtr entry() { return entry_of({1, 0}, {1}, 1h, 60s); }
    void send(Reserve::Hold& hold, unsigned reader) {
        readers[reader]->sent();
        hold.sent_to(reader);
    }

    Grace grace;
    Grace::Reader* readers[2] = {grace.add_reader(), grace.add_reader()};
    Reserve reserve{grace, 3 * entry_of({1, 0}, {1}, 1h, 60s)->bytes()};
};

TEST_F(ReserveTest, IsBoundedInBytesAndTakesNothingBeyond) {
    std::vector<Reserve::Hold> holds;
    for (int i = 0; i < 3; ++i) {
        EntryPtr one = entry();
        holds.push_back(reserve.hold(one));
        EXPECT_TRUE(holds.back());
        EXPECT_FALSE(one);
    }
    EntryPtr fourth = entry();
    EXPECT_FALSE(reserve.hold(fourth));
    EXPECT_TRUE(fourth) << "the caller's";
    holds.pop_back();
    reserve.reclaim();
    EXPECT_TRUE(reserve.hold(fourth));
}

TEST_F(ReserveTest, WaitsForTheReadersItWasSentToAndNoOthers) {
    EntryPtr one = entry(), two = entry();
    {
        Reserve::Hold first = reserve.hold(one), second = reserve.hold(two);
        readers[1]->sent(); // something else, which reader 1 never finishes
        send(first, 0);
        send(first, 0);
        send(second, 1);
    }
    reserve.reclaim();
    EXPECT_EQ(reserve.entries(), 2u);
    readers[0]->finish(1);
    reserve.reclaim();
    EXPECT_EQ(reserve.entries(), 2u) << "one of the two Wakes is still in the ring";
    readers[0]->finish(1);
    reserve.reclaim();
    EXPECT_EQ(reserve.entries(), 1u) << "whatever reader 1 does";
    readers[1]->finish(2);
    reserve.reclaim();
    EXPECT_EQ(reserve.entries(), 0u);
    EXPECT_EQ(reserve.bytes(), 0u);
}

TEST_F(ReserveTest, IsNotFreedWhileHeld) {
    EntryPtr one = entry();
    Reserve::Hold hold = reserve.hold(one);
    send(hold, 0);
    readers[0]->finish(1);
    reserve.reclaim();
    EXPECT_EQ(reserve.entries(), 1u);
    EXPECT_EQ(hold.entry()->version.generation, 1u);
}

} // namespace
} // namespace millrace::cache
