// The Index in front of a shard's map: what it says may be incomplete, never wrong.
#include "cache/table.hpp"

#include <gtest/gtest.h>

#include "tests/support/entries.hpp"

namespace millrace::cache {
namespace {

using test::key_of;

class IndexTest : public testing::Test {
  protected:
    static Key name(unsigned number) { return key_of("n" + std::to_string(number) + ".example"); }
    /// All in one line of the one shard; `tag` in the bits that the line keeps.
    static Hash hash(unsigned tag) { return Hash(tag) << 16 | 5; }
    void start(unsigned number, Hash at) { ASSERT_TRUE(table.start(name(number), at, ++generation)); }

    Grace grace;
    Table table{{.entries = 1000, .bytes = 1 << 24}, grace};
    Generation generation = 0;
};

TEST_F(IndexTest, WhatIsNotInALineWithRoomIsNowhere) {
    start(1, hash(1));
    EXPECT_NE(table.look_ahead(hash(1)).node, nullptr);
    auto absent = table.look_ahead(hash(2));
    EXPECT_EQ(absent.node, nullptr);
    EXPECT_TRUE(absent.is_complete);
    EXPECT_EQ(table.locate(name(2), hash(2)), nullptr);
}

TEST_F(IndexTest, WhatFindsItsLineFullIsFoundInTheMap) {
    for (unsigned i = 1; i <= 20; ++i) start(i, hash(i));
    unsigned ahead = 0;
    for (unsigned i = 1; i <= 20; ++i) {
        ahead += table.look_ahead(hash(i)).node != nullptr;
        const Node* node = table.locate(name(i), hash(i));
        ASSERT_NE(node, nullptr) << i;
        EXPECT_EQ(node->first.key(), name(i));
    }
    EXPECT_EQ(ahead, 8u) << "as many as a line has places";
    EXPECT_EQ(table.locate(name(99), hash(99)), nullptr);
}

TEST_F(IndexTest, TheKeyIsComparedWhateverTheHash) {
    start(1, hash(1));
    EXPECT_EQ(table.look_ahead(hash(1)).node, table.locate(name(1), hash(1)));
    EXPECT_EQ(table.locate(name(2), hash(1)), nullptr) << "the same hash";
    Hash same_bits = hash(1) | Hash(1) << 40;
    EXPECT_EQ(table.locate(name(2), same_bits), nullptr) << "the same line and the same bits in it";
    start(2, same_bits);
    EXPECT_EQ(table.locate(name(2), same_bits)->first.key(), name(2));
    EXPECT_EQ(table.locate(name(1), hash(1))->first.key(), name(1));
}

} // namespace
} // namespace millrace::cache
