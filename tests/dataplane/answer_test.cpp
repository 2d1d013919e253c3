#include "dataplane/answer.hpp"

#include <gtest/gtest.h>

#include "tests/support/entries.hpp"
#include "tests/support/messages.hpp"

namespace millrace::dataplane {
namespace {

using namespace test;
using answer::Age;

Bytes reply_to(const Bytes& message, const cache::Entry& entry, Time now, Age age = Age::counted,
               Transport transport = Transport::udp) {
    Query query;
    Query::parse(message, transport, query);
    Bytes buffer = message;
    buffer.resize(65535);
    std::span<const std::uint8_t> question(buffer.data() + dns::header_octets, query.head.question_size);
    buffer.resize(answer::write(query.head, question, entry, now, age, buffer));
    return buffer;
}

Bytes error_to(const Bytes& message, Transport transport = Transport::udp) {
    Query query;
    Query::parse(message, transport, query);
    Bytes buffer = message;
    buffer.resize(2048);
    std::span<const std::uint8_t> question(buffer.data() + dns::header_octets, query.head.question_size);
    buffer.resize(answer::write(query, question, buffer));
    return buffer;
}

Bytes record(unsigned host, unsigned ttl) {
    return Bytes{0xc0, 12, 0, 1, 0, 1} + u32(ttl) + u16(4) + Bytes{192, 0, 2, std::uint8_t(host)};
}

TEST(Answer, AHitEchoesTheQuestionAndCountsTheTtlDown) {
    auto entry = entry_of({1, 0}, {7, 9}, 1000s, 60s);
    Bytes message = query("wWw.ExAmple");
    EXPECT_EQ(reply_to(message, *entry, 1010s + 999ms),
              header(0x1234, 0x8180, 1, 2) + question("wWw.ExAmple") + record(7, 50) + record(9, 50));
}

TEST(Answer, ATtlNeverFallsBelowZeroNorRisesBeforeItsBirth) {
    auto entry = entry_of({1, 0}, {7}, 1000s, 60s);
    EXPECT_EQ(reply_to(query("a"), *entry, 5000s),
              header(0x1234, 0x8180, 1, 1) + question("a") + record(7, 0));
    EXPECT_EQ(reply_to(query("a"), *entry, 900s),
              header(0x1234, 0x8180, 1, 1) + question("a") + record(7, 60));
}

TEST(Answer, OptExactlyWhenTheQueryHadOne) {
    auto entry = entry_of({1, 0}, {7}, 0s, 60s);
    Bytes message = header(5, rd, 1, 0, 0, 1) + question("a") + opt(4096, do_bit, {0, 10, 0, 1, 1});
    EXPECT_EQ(reply_to(message, *entry, 0s),
              header(5, 0x8180, 1, 1, 0, 1) + question("a") + record(7, 60) + opt(1232, do_bit));
}

TEST(Answer, StaleRecordsLiveThirtySecondsAndSayWhy) {
    auto entry = entry_of({1, 0}, {7}, 0s, 60s, 1h);
    Bytes message = header(5, rd, 1, 0, 0, 1) + question("a") + opt();
    Bytes ede = {0, 15, 0, 2, 0, 3};
    EXPECT_EQ(reply_to(message, *entry, 100s, Age::stale),
              header(5, 0x8180, 1, 1, 0, 1) + question("a") + record(7, 30) + opt(1232, 0, ede));
    EXPECT_EQ(reply_to(query("a"), *entry, 100s, Age::stale),
              header(0x1234, 0x8180, 1, 1) + question("a") + record(7, 30));
}

TEST(Answer, TooLargeIsTruncatedToQuestionAndOpt) {
    auto entry = entry_of({1, 0}, std::vector<std::uint8_t>(40, 1), 0s, 60s); // 640 octets of records
    EXPECT_EQ(reply_to(query("a"), *entry, 0s), header(0x1234, 0x8380, 1) + question("a"));
    Bytes message = header(5, rd, 1, 0, 0, 1) + question("a") + opt(600);
    EXPECT_EQ(reply_to(message, *entry, 0s), header(5, 0x8380, 1, 0, 0, 1) + question("a") + opt());
    EXPECT_EQ(reply_to(header(5, rd, 1, 0, 0, 1) + question("a") + opt(1232), *entry, 0s).size(),
              12u + 7 + 640 + 11);
    EXPECT_EQ(reply_to(query("a"), *entry, 0s, Age::counted, Transport::tcp).size(), 12u + 7 + 640);
}

TEST(Answer, TheReplyFitsItsLimitToTheOctet) {
    auto entry = entry_of({1, 0}, std::vector<std::uint8_t>(30, 1), 0s, 60s); // 12 + 480 + question
    std::string fits(512 - 12 - 480 - 4 - 2, 'a');
    EXPECT_EQ(reply_to(query(fits), *entry, 0s).size(), 512u);
    EXPECT_LT(reply_to(query(fits + "a"), *entry, 0s).size(), 64u) << "one octet more";
}

TEST(Answer, AddressesTakeTurnsToBeTheFirst) {
    auto entry = entry_of({1, 0}, {1, 2, 3}, 1000s, 60s, 0s, true);
    auto to = [&](unsigned id) { return reply_to(header(id, rd, 1) + question("a"), *entry, 1010s); };
    auto expected = [](unsigned id, unsigned a, unsigned b, unsigned c) {
        return header(id, 0x8180, 1, 3) + question("a") + record(a, 50) + record(b, 50) + record(c, 50);
    };
    EXPECT_EQ(to(0), expected(0, 1, 2, 3));
    EXPECT_EQ(to(0x5556), expected(0x5556, 3, 1, 2));
    EXPECT_EQ(to(0xffff), expected(0xffff, 2, 3, 1));
    unsigned first[4] = {};
    for (unsigned id = 0; id < 0x10000; ++id) ++first[to(id)[12 + question("a").size() + 15]];
    for (unsigned host : {1u, 2u, 3u}) EXPECT_NEAR(first[host], 0x10000 / 3, 1);
}

TEST(Answer, AnErrorsTextIsTheFirstToBeLeftOut) {
    std::vector<std::uint8_t> hosts(30, 7);
    auto plain = entry_of({1, 0}, hosts, 0s, 60s);
    cache::EntryDraft draft;
    draft.info = 4;
    draft.info_text = "an extended error whose text does not fit beside so many addresses";
    draft.expiry = draft.stale_until = 60s;
    draft.answers = 30;
    draft.records = plain->records();
    draft.ttl_offsets = plain->ttl_offsets();
    auto entry = cache::Entry::make(draft);
    Bytes small = header(1, rd, 1, 0, 0, 1) + question("a") + opt(512, 0);
    EXPECT_EQ(reply_to(small, *entry, 0s), reply_to(small, *plain, 0s)) << "no records are lost for it";
    Bytes large = header(1, rd, 1, 0, 0, 1) + question("a") + opt(1232, 0);
    std::size_t added = 6 + draft.info_text.size();
    EXPECT_EQ(reply_to(large, *entry, 0s).size(), reply_to(large, *plain, 0s).size() + added);
}

TEST(Answer, AuthenticOnlyForThoseWhoAsked) {
    auto plain = entry_of({1, 0}, {7}, 0s, 60s);
    auto make = [&](bool authentic) {
        return cache::Entry::make({.version = {1, 0},
                                   .rcode = 3,
                                   .authentic = authentic,
                                   .failure = false,
                                   .info = {},
                                   .born = 0s,
                                   .expiry = 60s,
                                   .stale_until = 60s,
                                   .answers = 0,
                                   .authorities = 0,
                                   .records = {},
                                   .ttl_offsets = {}});
    };
    EXPECT_EQ(reply_to(header(1, rd | ad, 1) + question("a"), *make(true), 0s),
              header(1, 0x81a3, 1) + question("a"));
    EXPECT_EQ(reply_to(header(1, rd, 1) + question("a"), *make(true), 0s),
              header(1, 0x8183, 1) + question("a"));
    EXPECT_EQ(reply_to(header(1, rd | ad, 1) + question("a"), *make(false), 0s),
              header(1, 0x8183, 1) + question("a"));
    EXPECT_EQ(reply_to(header(1, rd | cd, 1) + question("a"), *make(true), 0s),
              header(1, 0x8193, 1) + question("a"));
}

TEST(Answer, Errors) {
    EXPECT_EQ(error_to(header(9, 4 << 11 | rd, 1) + question("a")), header(9, 0xa104, 0))
        << "opcode and RD echoed";
    EXPECT_EQ(error_to(header(9, rd, 1) + Bytes{0xc0, 12, 0, 1, 0, 1}), header(9, 0x8181, 0));
    EXPECT_EQ(error_to(header(9, 0, 1) + question("a")), header(9, 0x8085, 1) + question("a"));
    EXPECT_EQ(error_to(header(9, rd, 1, 0, 0, 1) + question("a") + opt(1232, 1 << 16)),
              header(9, 0x8180, 1, 0, 0, 1) + question("a") + opt(1232, 1u << 24))
        << "BADVERS is 16";
    EXPECT_EQ(error_to(header(9, 4 << 11 | rd | cd | ad, 1, 0, 0, 1) + question("a") + opt(4096, do_bit)),
              header(9, 0xa104, 0, 0, 0, 1) + opt(1232, do_bit))
        << "an OPT for an OPT, but neither CD nor AD";
    EXPECT_EQ(error_to(header(9, rd, 0, 0, 0, 1) + opt()), header(9, 0x8181, 0, 0, 0, 1) + opt());
    EXPECT_EQ(error_to(header(9, rd, 1, 0, 0, 1) + question("a", 252) + opt()),
              header(9, 0x8185, 1, 0, 0, 1) + question("a", 252) + opt());
    EXPECT_EQ(error_to(header(9, rd, 1, 0, 0, 1) + question("a", 128) + opt()),
              header(9, 0x8181, 1, 0, 0, 1) + question("a", 128) + opt(1232, 0, {0, 15, 0, 2, 0, 30}))
        << "RFC 9824 3.5";
    EXPECT_EQ(error_to(query("a", 255)), header(0x1234, 0x8380, 1) + question("a", 255));
    Bytes hinfo = Bytes{0xc0, 12} + u16(13) + u16(1) + u32(3600) + u16(9) +
                  Bytes{7, 'R', 'F', 'C', '8', '4', '8', '2', 0};
    EXPECT_EQ(error_to(query("a", 255), Transport::tcp),
              header(0x1234, 0x8180, 1, 1) + question("a", 255) + hinfo);
}

TEST(Answer, AWaitersReplyIsWrittenFromItsCopyOfTheQuestion) {
    auto entry = entry_of({1, 0}, {7}, 0s, 60s);
    Head head{.id = 3, .question_size = 7, .limit = 512, .recursion_desired = true};
    Bytes asked = question("A"), buffer(600, 0xee);
    buffer.resize(answer::write(head, asked, *entry, 0s, Age::counted, buffer));
    EXPECT_EQ(buffer, header(3, 0x8180, 1, 1) + asked + record(7, 60));
}

} // namespace
} // namespace millrace::dataplane
