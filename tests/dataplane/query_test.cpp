// dataplane/RULES.md, queries from clients: one row of the rules, one or more rows here.
#include "dataplane/query.hpp"

#include <gtest/gtest.h>

#include "tests/support/messages.hpp"

namespace millrace::dataplane {
namespace {

using namespace test;
using Action = Query::Action;

Query parse(const Bytes& message, Transport transport = Transport::udp) {
    Query query;
    Query::parse(message, transport, query);
    return query;
}

struct Row {
    const char* what;
    Bytes message;
    Action action;
    Rcode rcode = Rcode::noerror;
    bool echoes_question = true;
};

const Bytes name_of_257 = [] {
    Bytes name;
    for (int i = 0; i < 4; ++i) name = name + Bytes{63} + Bytes(63, 'a');
    return name + Bytes{0};
}();

/// With one octet of RDATA.
Bytes record(std::string_view owner, unsigned type) {
    return question(owner, type) + u32(0) + u16(1) + Bytes{9};
}

const Row rows[] = {
    {"an ordinary query", query("www.example"), Action::look_up},
    {"with OPT", header(1, rd, 1, 0, 0, 1) + question("a") + opt(), Action::look_up},
    {"ID 0", query("a", 1, 0), Action::look_up},
    {"unknown type", query("a", 65280), Action::look_up},
    {"trailing octets", query("a") + Bytes{1, 2, 3}, Action::look_up},
    {"unknown EDNS option and flags",
     header(1, rd, 1, 0, 0, 1) + question("a") + opt(1232, 0x7fff, {0, 99, 0, 1, 7}), Action::look_up},
    {"empty EDNS options",
     header(1, rd, 1, 0, 0, 1) + question("a") + opt(1232, 0, {0, 99, 0, 0, 0, 98, 0, 0}), Action::look_up},
    {"record before OPT", header(1, rd, 1, 0, 0, 2) + question("a") + record("x", 1) + opt(), Action::reply,
     Rcode::formerr},
    {"record behind OPT", header(1, rd, 1, 0, 0, 2) + question("a") + opt() + record("x", 1), Action::reply,
     Rcode::formerr},
    {"record instead of OPT", header(1, rd, 1, 0, 0, 1) + question("a") + record("", 1), Action::reply,
     Rcode::formerr},
    {"TSIG", header(1, rd, 1, 0, 0, 2) + question("a") + opt() + record("key", 250), Action::reply,
     Rcode::formerr},
    {"TSIG alone", header(1, rd, 1, 0, 0, 1) + question("a") + record("key", 250), Action::reply,
     Rcode::formerr},
    {"SIG(0)", header(1, rd, 1, 0, 0, 1) + question("a") + record("", 24), Action::reply, Rcode::formerr},
    {"option past the end", header(1, rd, 1, 0, 0, 1) + question("a") + opt(1232, 0, {0, 99, 0, 2, 7}),
     Action::reply, Rcode::formerr},
    {"second option past the end",
     header(1, rd, 1, 0, 0, 1) + question("a") + opt(1232, 0, {0, 99, 0, 1, 7, 0, 99, 0, 1}), Action::reply,
     Rcode::formerr},
    {"option without its length", header(1, rd, 1, 0, 0, 1) + question("a") + opt(1232, 0, {0, 99}),
     Action::reply, Rcode::formerr},
    {"one octet of an option", header(1, rd, 1, 0, 0, 1) + question("a") + opt(1232, 0, {0}), Action::reply,
     Rcode::formerr},
    {"EDNS version 1, whose options may be others",
     header(1, rd, 1, 0, 0, 1) + question("a") + opt(1232, 1 << 16, {0, 99, 0, 2, 7}), Action::reply,
     Rcode::badvers},
    {"opcode NOTIFY", header(1, 4 << 11 | rd, 1) + question("a"), Action::reply, Rcode::notimp, false},
    {"opcode UPDATE", header(1, 5 << 11, 1) + question("a"), Action::reply, Rcode::notimp, false},
    {"QDCOUNT 0", header(1, rd, 0), Action::reply, Rcode::formerr, false},
    {"QDCOUNT 2", header(1, rd, 2) + question("a") + question("b"), Action::reply, Rcode::formerr, false},
    {"AXFR", query("a", 252), Action::reply, Rcode::refused},
    {"IXFR with its SOA", header(1, rd, 1, 0, 1) + question("a", 251) + question("a", 6) + u32(0) + u16(0),
     Action::reply, Rcode::refused},
    {"an answer", header(1, rd, 1, 1) + question("a") + question("a") + u32(0) + u16(0), Action::reply,
     Rcode::formerr},
    {"an authority", header(1, rd, 1, 0, 1) + question("a") + question("a") + u32(0) + u16(0), Action::reply,
     Rcode::formerr},
    {"OPT in the answer section", header(1, rd, 1, 1) + question("a") + opt(), Action::reply, Rcode::formerr},
    {"two OPTs", header(1, rd, 1, 0, 0, 2) + question("a") + opt() + opt(), Action::reply, Rcode::formerr},
    {"OPT with an owner", header(1, rd, 1, 0, 0, 1) + question("a") + Bytes{1, 'x'} + opt(), Action::reply,
     Rcode::formerr},
    {"RDLENGTH past the end",
     header(1, rd, 1, 0, 0, 1) + question("a") + Bytes{0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 9, 1}, Action::reply,
     Rcode::formerr},
    {"ARCOUNT without a record", header(1, rd, 1, 0, 0, 1) + question("a"), Action::reply, Rcode::formerr},
    {"TC=1", header(1, rd | tc, 1) + question("a"), Action::reply, Rcode::formerr},
    {"compressed qname", header(1, rd, 1) + Bytes{0xc0, 12, 0, 1, 0, 1}, Action::reply, Rcode::formerr,
     false},
    {"0x40 label", header(1, rd, 1) + Bytes{0x41} + Bytes(65, 'a') + Bytes{0, 0, 1, 0, 1}, Action::reply,
     Rcode::formerr, false},
    {"qname of 257 octets", header(1, rd, 1) + name_of_257 + u16(1) + u16(1), Action::reply, Rcode::formerr,
     false},
    {"question cut short", header(1, rd, 1) + labels("a") + u16(1), Action::reply, Rcode::formerr, false},
    {"header alone", header(1, rd, 1), Action::reply, Rcode::formerr, false},
    {"EDNS version 1", header(1, rd, 1, 0, 0, 1) + question("a") + opt(1232, 1 << 16), Action::reply,
     Rcode::badvers},
    {"class CH", header(1, rd, 1) + question("version.bind", 16, 3), Action::chaos, Rcode::noerror},
    {"class HS", header(1, rd, 1) + question("a", 1, 4), Action::reply, Rcode::notimp},
    {"class ANY", header(1, rd, 1) + question("a", 1, 255), Action::reply, Rcode::notimp},
    {"type 0", query("a", 0), Action::reply, Rcode::notimp},
    {"type OPT", query("a", 41), Action::reply, Rcode::notimp},
    {"type NXNAME", query("a", 128), Action::reply, Rcode::formerr},
    {"type NXNAME of class CH", header(1, rd, 1) + question("a", 128, 3), Action::chaos},
    {"type 129", query("a", 129), Action::reply, Rcode::notimp},
    {"type MAILA", query("a", 254), Action::reply, Rcode::notimp},
    {"type 127", query("a", 127), Action::look_up},
    {"type 256", query("a", 256), Action::look_up},
    {"RD=0", header(1, 0, 1) + question("a"), Action::reply, Rcode::refused},
    {"ANY over UDP", query("a", 255), Action::truncate},
};

/// RFC 6891 6.1.1: in the reply as well, whatever it says.
TEST(Query, AnOptIsFoundInEveryQueryThatCanBeWalked) {
    Bytes end = opt(1000, do_bit), name = question("www.example");
    const Row with[] = {
        {"opcode STATUS", header(1, 2 << 11, 1, 0, 0, 1) + name + end, Action::reply, Rcode::notimp},
        {"opcode NOTIFY with its SOA", header(1, 4 << 11, 1, 1, 0, 1) + name + record("a", 6) + end,
         Action::reply, Rcode::notimp},
        {"opcode UPDATE with a TSIG",
         header(1, 5 << 11, 1, 0, 1, 2) + name + record("a", 1) + end + record("k", 250), Action::reply,
         Rcode::notimp},
        {"opcode 15 without a question", header(1, 15 << 11, 0, 0, 0, 1) + end, Action::reply, Rcode::notimp},
        {"QDCOUNT 0", header(1, rd, 0, 0, 0, 1) + end, Action::reply, Rcode::formerr},
        {"QDCOUNT 2", header(1, rd, 2, 0, 0, 1) + name + name + end, Action::reply, Rcode::formerr},
        {"compressed qname", header(1, rd, 1, 0, 0, 1) + Bytes{0xc0, 12, 0, 1, 0, 1} + end, Action::reply,
         Rcode::formerr},
        {"AXFR", header(1, rd, 1, 0, 0, 1) + question("a", 252) + end, Action::reply, Rcode::refused},
        {"IXFR with its SOA", header(1, rd, 1, 0, 1, 1) + question("a", 251) + record("a", 6) + end,
         Action::reply, Rcode::refused},
        {"TC=1", header(1, rd | tc, 1, 0, 0, 1) + name + end, Action::reply, Rcode::formerr},
        {"a TSIG behind it", header(1, rd, 1, 0, 0, 2) + name + end + record("k", 250), Action::reply,
         Rcode::formerr},
        {"a record cut short behind it", header(1, rd, 1, 0, 0, 2) + name + end + Bytes{0}, Action::reply,
         Rcode::formerr},
        {"type NXNAME", header(1, rd, 1, 0, 0, 1) + question("a", 128) + end, Action::reply, Rcode::formerr},
        {"class HS", header(1, rd, 1, 0, 0, 1) + question("a", 1, 4) + end, Action::reply, Rcode::notimp},
        {"RD=0", header(1, 0, 1, 0, 0, 1) + name + end, Action::reply, Rcode::refused},
    };
    for (const Row& row : with) {
        for (Transport transport : {Transport::udp, Transport::tcp}) {
            Query query = parse(row.message, transport);
            EXPECT_EQ(query.rcode, row.rcode) << row.what;
            EXPECT_TRUE(query.head.edns && query.head.dnssec_ok) << row.what;
            EXPECT_EQ(query.head.limit, transport == Transport::udp ? 1000 : 65535) << row.what;
        }
    }
    const Bytes without[] = {
        header(1, 6 << 11, 0) + Bytes{0, 1, 0, 8, 0, 0, 41, 0, 0, 0, 0, 0}, // RFC 8490: no records
        header(1, rd, 0, 0, 0, 1),
        header(1, rd, 1, 0, 0, 1) + Bytes{0x41} + Bytes(65, 'a') + Bytes{0, 0, 1, 0, 1} + end,
        header(1, rd, 1, 0, 0, 1) + name_of_257 + u16(1) + u16(1) + end,
        header(1, rd, 2, 0, 0, 1) + name + end,
        header(1, rd, 1) + question("a", 252) + end,
    };
    for (const Bytes& message : without) EXPECT_FALSE(parse(message).head.edns);
}

/// They are bits of queries; an opcode that we don't know may mean something else by them.
TEST(Query, TheBitsOfOtherOpcodesAreNotCopied) {
    Query query = parse(header(1, 4 << 11 | rd | cd | ad, 1) + question("a"));
    EXPECT_FALSE(query.head.checking_disabled || query.head.authentic_wanted);
    EXPECT_TRUE(query.head.recursion_desired) << "as the opcode";
}

TEST(Query, WalkingEndsWithTheOctets) {
    EXPECT_EQ(parse(header(1, rd, 65535, 65535, 65535, 65535) + Bytes(40, 0)).rcode, Rcode::formerr);
    Query query = parse(header(1, rd, 8, 0, 0, 65535) + Bytes(40, 0) + opt());
    EXPECT_TRUE(query.head.edns) << "eight questions for the root";
    EXPECT_EQ(query.rcode, Rcode::formerr);
}

TEST(Query, EveryRowOfTheRules) {
    for (const Row& row : rows) {
        Query query = parse(row.message);
        EXPECT_EQ(query.action, row.action) << row.what;
        Rcode rcode = query.action == Action::reply ? query.rcode : Rcode::noerror;
        EXPECT_EQ(rcode, row.rcode) << row.what;
        EXPECT_EQ(query.head.question_size != 0, row.echoes_question) << row.what;
    }
}

/// A worker's places for queries are used again and again.
TEST(Query, NothingIsLeftOfTheQueryBefore) {
    for (const Row& before : rows) {
        for (const Row& row : rows) {
            Query query, fresh = parse(row.message);
            Query::parse(before.message, Transport::udp, query);
            Query::parse(row.message, Transport::udp, query);
            EXPECT_EQ(query.action, fresh.action) << before.what << ", then " << row.what;
            EXPECT_EQ(query.info, fresh.info) << before.what << ", then " << row.what;
            EXPECT_EQ(query.rcode, fresh.rcode) << before.what << ", then " << row.what;
            EXPECT_EQ(query.head.limit, fresh.head.limit) << before.what << ", then " << row.what;
            EXPECT_EQ(query.head.edns, fresh.head.edns) << before.what << ", then " << row.what;
            if (fresh.action == Action::look_up) {
                EXPECT_EQ(query.key, fresh.key) << before.what << ", then " << row.what;
            }
        }
    }
}

TEST(Query, DropsWhatMustNotBeAnswered) {
    for (std::size_t size = 0; size < 12; ++size) {
        Query query = parse(Bytes(size));
        EXPECT_EQ(query.action, Action::drop);
        EXPECT_EQ(query.verdict, Verdict::drop_short);
    }
    Query query = parse(header(1, qr | rd, 1) + question("a"));
    EXPECT_EQ(query.action, Action::drop);
    EXPECT_EQ(query.verdict, Verdict::drop_response);
}

TEST(Query, TheKeyIsFoldedAndCarriesTheFlavour) {
    Query query = parse(header(1, rd | cd, 1, 0, 0, 1) + question("WwW.ExAmPlE", 28) + opt(4096, do_bit));
    EXPECT_EQ(cache::to_string(query.key.name.bytes()), "www.example.");
    EXPECT_EQ(query.key.qtype, 28);
    EXPECT_EQ(query.key.flavour, cache::dnssec_ok | cache::checking_disabled);
    EXPECT_TRUE(query.head.authentic_wanted) << "DO asks for AD as well";
    EXPECT_EQ(parse(test::query("a")).key.flavour, cache::plain);
}

TEST(Query, TheSizeLimit) {
    auto limit = [](unsigned size, Transport transport = Transport::udp) {
        return parse(header(1, rd, 1, 0, 0, 1) + question("a") + opt(size), transport).head.limit;
    };
    EXPECT_EQ(parse(query("a")).head.limit, 512);
    EXPECT_EQ(limit(0), 512);
    EXPECT_EQ(limit(800), 800);
    EXPECT_EQ(limit(65535), 1232);
    EXPECT_EQ(limit(512, Transport::tcp), 65535);
}

TEST(Query, AnyOverTcpIsMinimal) {
    EXPECT_EQ(parse(query("a", 255), Transport::tcp).action, Action::minimal);
}

TEST(Query, EveryPrefixOfAQueryIsJudged) {
    Bytes whole =
        header(1, rd, 1, 0, 0, 1) + question("www.example") + opt(1232, do_bit, {0, 10, 0, 2, 1, 2});
    for (std::size_t size = 12; size < whole.size(); ++size) {
        Query query = parse(Bytes(whole.begin(), whole.begin() + long(size)));
        EXPECT_EQ(query.action, Action::reply) << size;
        EXPECT_EQ(query.rcode, Rcode::formerr) << size;
    }
    EXPECT_EQ(parse(whole).action, Action::look_up);
}

} // namespace
} // namespace millrace::dataplane
