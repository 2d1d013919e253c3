// What bounds a reply: names, compression, and the RRsets of a proof.
#include <gtest/gtest.h>

#include "control/message/entry_build.hpp"
#include "control/message/entry_read.hpp"
#include "control/message/query.hpp"
#include "control/message/records.hpp"
#include "control/message/reply.hpp"
#include "tests/support/replies.hpp"

namespace millrace::control {
namespace {

using Octets = std::vector<std::uint8_t>;
using support::make_key;
using support::make_reply;
using support::ReplySpec;

/// The head of a reply to a question of this name, with `answers` to be appended.
Octets reply_head(const cache::Key& key, std::uint8_t answers) {
    Octets reply = make_reply(build_query(key, 7, key.name.bytes()), {});
    reply[7] = answers;
    return reply;
}

void append(Octets& out, const Octets& more) {
    out.insert(out.end(), more.begin(), more.end());
}

/// An A record of 192.0.2.1 behind an owner that is already there.
const Octets address_of_owner = {0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1};

/// A reply whose second record's owner is the question's name by way of so many pointers, each to
/// the one before.
Octets by_pointers(const cache::Key& key, unsigned pointers) {
    Octets reply = reply_head(key, 2);
    unsigned inside = pointers - 1; // the first record's rdata holds all but the last
    append(reply,
           {0, 0xff, 0x77, 0, 1, 0, 0, 0, 60, std::uint8_t(2 * inside >> 8), std::uint8_t(2 * inside)});
    std::size_t target = 12;
    for (unsigned i = 0; i < pointers; ++i) {
        std::size_t at = reply.size();
        append(reply, {std::uint8_t(0xc0 | target >> 8), std::uint8_t(target)});
        target = at;
    }
    append(reply, address_of_owner);
    return reply;
}

TEST(ReplyLimits, PointersAreFollowedALimitedNumberOfTimes) {
    cache::Key key = make_key("a.com", LDNS_RR_TYPE_A);
    for (unsigned pointers : {1u, 2u, 50u, pointer_limit}) {
        auto answer = parse_reply(by_pointers(key, pointers), key, 0, 1h);
        ASSERT_TRUE(answer) << pointers;
        EXPECT_EQ(answer->records.size(), 1u);
    }
    EXPECT_FALSE(parse_reply(by_pointers(key, pointer_limit + 1), key, 0, 1h));
}

TEST(ReplyLimits, ANameHasAtMost255Octets) {
    std::string label(62, 'x'); // with its length 63 octets: four of them and the root are 253
    cache::Key key = make_key(label + "." + label + "." + label + "." + label, LDNS_RR_TYPE_A);
    for (std::uint8_t size : {0, 1, 2}) { // of one label more
        Octets reply = reply_head(key, 1);
        if (size > 0) reply.push_back(size);
        for (std::uint8_t i = 0; i < size; ++i) reply.push_back('a');
        append(reply, {0xc0, 12});
        append(reply, address_of_owner);
        EXPECT_EQ(parse_reply(reply, key, 0, 1h).has_value(), size < 2) << unsigned(size);
    }
}

TEST(ReplyLimits, AProofHasAtMost32Rrsets) {
    ReplySpec spec{.authority = {"com. 60 IN SOA a. b. 1 2 3 4 5"}};
    for (int i = 0; i < 40; ++i)
        spec.authority.push_back("n" + std::to_string(i) + ".com. 60 IN NSEC z.com. A RRSIG NSEC");
    cache::Key key = make_key("a.com", LDNS_RR_TYPE_A, cache::dnssec_ok);
    auto reply = make_reply(build_query(key, 7, key.name.bytes()), spec);
    EXPECT_EQ(parse_reply(reply, key, 0, 1h)->proofs.size(), 32u);
}

TEST(ReplyLimits, AnRrsetMayFillAMessage) {
    constexpr unsigned records = 4000; // of 16 octets
    cache::Key key = make_key("a.com", LDNS_RR_TYPE_A);
    Octets reply = reply_head(key, 0);
    cache::store_u16(&reply[6], records);
    for (unsigned i = 0; i < records; ++i) {
        append(reply, {0xc0, 12});
        append(reply, address_of_owner);
        cache::store_u16(&reply[reply.size() - 2], std::uint16_t(i));
    }
    EXPECT_EQ(parse_reply(reply, key, 0, 1h).error(), ReplyError::rrset_size);
    EXPECT_EQ(parse_reply(reply, key, 0, 1h, records - 1).error(), ReplyError::rrset_size);
    auto answer = parse_reply(reply, key, 0, 1h, records);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->records.size(), records);
    auto entry = build_entry(key, *answer, {1, 0}, {});
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->answers, records);
    auto again = read_entry(key, *entry, 1h);
    ASSERT_TRUE(again) << "whatever the bound was then";
    EXPECT_EQ(again->records.size(), records);
}

} // namespace
} // namespace millrace::control
