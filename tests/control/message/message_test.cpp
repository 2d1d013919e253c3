// Queries to upstreams, and what is kept of replies.
#include <gtest/gtest.h>

#include <algorithm>

#include "control/message/entry_build.hpp"
#include "control/message/query.hpp"
#include "control/message/records.hpp"
#include "control/message/reply.hpp"
#include "tests/support/fake_network.hpp"
#include "tests/support/replies.hpp"

namespace millrace::control {
namespace {

using cache::Key;
using support::make_key;
using support::make_reply;
using support::ReplySpec;
using Lines = std::vector<std::string>;
using Octets = std::vector<std::uint8_t>;

constexpr Time received = 1h;
const std::string soa = "com. 900 IN SOA a.com. b.com. 1 2 3 4 300";

Octets query_for(const Key& key) {
    return build_query(key, 7, key.name.bytes());
}

std::string text_of(const Record& record) {
    char* text = ldns_rr2str(record.get());
    std::string line = text;
    std::free(text);
    std::ranges::replace(line, '\t', ' ');
    while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
    return line;
}

Lines texts_of(const std::vector<Record>& records) {
    Lines lines;
    for (const Record& record : records) lines.push_back(text_of(record));
    return lines;
}

tl::expected<Answer, ReplyError> parse(const Key& key, const ReplySpec& spec) {
    return parse_reply(make_reply(query_for(key), spec), key, 3, received);
}

/// A whole signature over `type`; `labels` below the owner's count tells of a wildcard.
std::string rrsig(const std::string& owner, const std::string& type, int labels = 2, int key_tag = 1) {
    return owner + " 60 IN RRSIG " + type + " 13 " + std::to_string(labels) +
           " 60 20300101000000 20200101000000 " + std::to_string(key_tag) + " com. AAAA";
}

Octets name_in_random_case(const Key& key, Random& random) {
    Octets name(key.name.bytes().begin(), key.name.bytes().end());
    randomise_case(name, random);
    return name;
}

// Queries.

TEST(BuildQuery, AsksWithRecursionDnssecAndOurSize) {
    Key key = make_key("www.example.com", LDNS_RR_TYPE_AAAA, cache::checking_disabled);
    support::FakeRandom random;
    Octets name = name_in_random_case(key, random);
    Octets query = build_query(key, 0xabcd, name);
    ldns_pkt* raw = nullptr;
    ASSERT_EQ(ldns_wire2pkt(&raw, query.data(), query.size()), LDNS_STATUS_OK);
    PacketHandle packet(raw);
    EXPECT_EQ(ldns_pkt_id(raw), 0xabcd);
    EXPECT_TRUE(ldns_pkt_rd(raw) && ldns_pkt_cd(raw) && !ldns_pkt_qr(raw) && !ldns_pkt_ad(raw));
    EXPECT_TRUE(ldns_pkt_edns_do(raw));
    EXPECT_EQ(ldns_pkt_edns_udp_size(raw), 1232);
    EXPECT_EQ(ldns_pkt_edns_data(raw), nullptr);
    EXPECT_TRUE(std::equal(name.begin(), name.end(), query.begin() + 12));
    EXPECT_EQ(query.size(), 12 + name.size() + 4 + 11);
}

TEST(BuildQuery, IsWhatLdnsWouldWrite) {
    for (const char* name : {".", "a.com", "www.long-label-and-another.example.org"}) {
        for (std::uint16_t type : {LDNS_RR_TYPE_A, LDNS_RR_TYPE_MX, LDNS_RR_TYPE_ANY}) {
            Key key = make_key(name, type);
            PacketHandle packet(ldns_pkt_new());
            ldns_pkt_set_id(packet.get(), 7);
            ldns_pkt_set_rd(packet.get(), true);
            ldns_pkt_set_edns_udp_size(packet.get(), 1232);
            ldns_pkt_set_edns_do(packet.get(), true);
            ldns_pkt_push_rr(packet.get(), LDNS_SECTION_QUESTION,
                             question_record(key, key.name.bytes()).release());
            EXPECT_EQ(query_for(key), to_wire(*packet)) << name;
        }
    }
}

TEST(BuildQuery, LeavesCheckingOnUnlessAsked) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A, cache::dnssec_ok);
    EXPECT_EQ(query_for(key)[3] & 0x10, 0);
}

TEST(RandomiseCase, ChangesLettersOnly) {
    Key key = make_key("ab-1.\\200\\064z.com", LDNS_RR_TYPE_A);
    support::FakeRandom random;
    bool upper = false, lower = false;
    for (int i = 0; i < 20; ++i) {
        Octets drawn = name_in_random_case(key, random);
        ASSERT_EQ(drawn.size(), key.name.size);
        for (std::size_t at = 0; at < drawn.size(); ++at) {
            ASSERT_EQ(cache::fold(drawn[at]), key.name.octets[at]);
        }
        upper |= drawn[1] == 'A';
        lower |= drawn[1] == 'a';
    }
    EXPECT_TRUE(upper && lower);
}

// What is kept.

TEST(ParseReply, KeepsTheAskedRrsetAlone) {
    auto answer = parse(make_key("a.com", LDNS_RR_TYPE_A),
                        {.answer = {"a.com. 60 IN A 192.0.2.1", "a.com. 50 IN A 192.0.2.2",
                                    "a.com. 60 IN A 192.0.2.1", "b.com. 60 IN A 192.0.2.66",
                                    "a.com. 60 IN AAAA 2001:db8::1", "a.com. 60 CH A 192.0.2.67"},
                         .authority = {"com. 60 IN NS ns.com.", soa},
                         .additional = {"ns.com. 60 IN A 192.0.2.68", "a.com. 60 IN A 192.0.2.69"}});
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->kind, Kind::positive);
    EXPECT_EQ(answer->upstream, 3u);
    EXPECT_EQ(answer->received, received);
    EXPECT_FALSE(answer->is_signed);
    EXPECT_EQ(texts_of(answer->records), (Lines{"a.com. 50 IN A 192.0.2.1", "a.com. 50 IN A 192.0.2.2"}));
    EXPECT_TRUE(answer->chain.empty() && answer->authority.empty());
}

TEST(ParseReply, FollowsTheChainInOrderWhateverTheMessagesOrder) {
    auto answer = parse(make_key("a.com", LDNS_RR_TYPE_A),
                        {.answer = {"c.net. 9 IN A 192.0.2.1", "b.org. 8 IN CNAME c.net.",
                                    "A.com. 7 IN CNAME b.org.", "x.com. 7 IN CNAME b.org."}});
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->kind, Kind::positive);
    EXPECT_EQ(texts_of(answer->chain), (Lines{"a.com. 7 IN CNAME b.org.", "b.org. 8 IN CNAME c.net."}));
    EXPECT_EQ(texts_of(answer->records), Lines{"c.net. 9 IN A 192.0.2.1"});
}

TEST(ParseReply, FollowsOneOfTwoCnames) {
    auto answer = parse(make_key("a.com", LDNS_RR_TYPE_A),
                        {.answer = {"a.com. 7 IN CNAME b.org.", "a.com. 7 IN CNAME c.org.",
                                    "c.org. 9 IN A 192.0.2.3", "b.org. 9 IN A 192.0.2.2"}});
    ASSERT_TRUE(answer);
    EXPECT_EQ(texts_of(answer->chain), Lines{"a.com. 7 IN CNAME b.org."});
    EXPECT_EQ(texts_of(answer->records), Lines{"b.org. 9 IN A 192.0.2.2"});
}

ReplySpec chain_of(int length) {
    ReplySpec spec;
    auto name = [](int i) { return i == 0 ? "a.com." : "n" + std::to_string(i) + ".com."; };
    for (int i = 0; i < length; ++i) spec.answer.push_back(name(i) + " 60 IN CNAME " + name(i + 1));
    spec.answer.push_back(name(length) + " 60 IN A 192.0.2.1");
    return spec;
}

TEST(ParseReply, LimitsTheChain) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A);
    ASSERT_TRUE(parse(key, chain_of(11)));
    EXPECT_EQ(parse(key, chain_of(11))->chain.size(), 11u);
    EXPECT_EQ(parse(key, chain_of(12)).error(), ReplyError::chain_length);
}

TEST(ParseReply, RefusesALoop) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A);
    EXPECT_EQ(parse(key, {.answer = {"a.com. 1 IN CNAME b.com.", "b.com. 1 IN CNAME A.com."}}).error(),
              ReplyError::chain_loop);
    EXPECT_EQ(parse(key, {.answer = {"a.com. 1 IN CNAME a.com."}}).error(), ReplyError::chain_loop);
}

TEST(ParseReply, DoesNotFollowForACnameQuestion) {
    auto answer = parse(make_key("a.com", LDNS_RR_TYPE_CNAME),
                        {.answer = {"a.com. 7 IN CNAME b.org.", "b.org. 8 IN CNAME c.net."}});
    ASSERT_TRUE(answer);
    EXPECT_TRUE(answer->chain.empty());
    EXPECT_EQ(texts_of(answer->records), Lines{"a.com. 7 IN CNAME b.org."});
}

TEST(ParseReply, TellsTheKindsApart) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A);
    auto kind = [&](const ReplySpec& spec) { return parse(key, spec)->kind; };
    EXPECT_EQ(kind({}), Kind::incomplete);
    EXPECT_EQ(kind({.answer = {"a.com. 1 IN CNAME b.com."}}), Kind::incomplete);
    EXPECT_EQ(kind({.authority = {soa}}), Kind::nodata);
    EXPECT_EQ(kind({.answer = {"a.com. 1 IN CNAME b.com."}, .authority = {soa}}), Kind::nodata);
    EXPECT_EQ(kind({.authority = {soa}, .rcode = 3}), Kind::nxdomain);
    EXPECT_EQ(kind({.rcode = 3}), Kind::nxdomain);
    for (unsigned rcode : {1u, 2u, 4u, 5u, 6u, 9u}) {
        auto answer = parse(key, {.answer = {"a.com. 1 IN A 192.0.2.1"}, .rcode = rcode});
        EXPECT_EQ(answer->kind, Kind::failure);
        EXPECT_EQ(answer->rcode, rcode);
        EXPECT_TRUE(answer->records.empty());
    }
}

TEST(ParseReply, ReadsTheUpperRcodeBits) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A);
    Octets reply = make_reply(query_for(key), {});
    Octets opt = {0, 0, 41, 4, 208, 1, 0, 0, 0, 0, 0}; // extended rcode 1: 16 with the header's 0
    reply.insert(reply.end(), opt.begin(), opt.end());
    reply[11] = 1;
    auto answer = parse_reply(reply, key, 0, received);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->kind, Kind::failure);
    EXPECT_EQ(answer->rcode, 16);
}

TEST(ParseReply, KeepsTheSoaThatEnclosesTheChainsEnd) {
    auto answer =
        parse(make_key("a.com", LDNS_RR_TYPE_A),
              {.answer = {"a.com. 7 IN CNAME b.org."},
               .authority = {soa, "org. 60 IN SOA a.org. b.org. 1 2 3 4 5", "org. 60 IN NS ns.org."},
               .rcode = 3});
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->kind, Kind::nxdomain);
    EXPECT_EQ(answer->chain.size(), 1u);
    EXPECT_EQ(texts_of(answer->authority), Lines{"org. 60 IN SOA a.org. b.org. 1 2 3 4 5"});
}

TEST(ParseReply, DropsRecordsBesideNxdomain) {
    auto answer =
        parse(make_key("a.com", LDNS_RR_TYPE_A), {.answer = {"a.com. 7 IN A 192.0.2.1"}, .rcode = 3});
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->kind, Kind::nxdomain);
    EXPECT_TRUE(answer->records.empty());
}

TEST(ParseReply, NotesAuthenticData) {
    EXPECT_TRUE(parse(make_key("a.com", LDNS_RR_TYPE_A), {.authentic = true})->authentic);
    EXPECT_FALSE(parse(make_key("a.com", LDNS_RR_TYPE_A), {})->authentic);
}

TEST(ParseReply, HugeTtlIsADay) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A);
    Octets reply = make_reply(query_for(key), {.answer = {"a.com. 60 IN A 192.0.2.1"}});
    reply[reply.size() - 10] = 0x80;
    EXPECT_EQ(texts_of(parse_reply(reply, key, 0, received)->records), Lines{"a.com. 86400 IN A 192.0.2.1"});
}

TEST(ParseReply, FoldsTheRandomCaseAway) {
    Key key = make_key("www.example.com", LDNS_RR_TYPE_A);
    support::FakeRandom random;
    Octets query = build_query(key, 7, name_in_random_case(key, random));
    auto answer = parse_reply(make_reply(query, {.answer = {"www.example.com. 60 IN CNAME Host.example.com.",
                                                            "host.example.com. 60 IN A 192.0.2.1"}}),
                              key, 0, received);
    ASSERT_TRUE(answer);
    EXPECT_EQ(texts_of(answer->chain), Lines{"www.example.com. 60 IN CNAME Host.example.com."});
}

TEST(ParseReply, RefusesAnotherQuestion) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A);
    Octets reply =
        make_reply(query_for(make_key("b.com", LDNS_RR_TYPE_A)), {.answer = {"b.com. 60 IN A 192.0.2.1"}});
    EXPECT_EQ(parse_reply(reply, key, 0, received).error(), ReplyError::not_asked);
    reply = make_reply(query_for(make_key("a.com", LDNS_RR_TYPE_AAAA)), {});
    EXPECT_EQ(parse_reply(reply, key, 0, received).error(), ReplyError::not_asked);
}

TEST(ParseReply, LimitsAnRrset) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A);
    ReplySpec spec;
    for (int i = 0; i < 256; ++i) spec.answer.push_back("a.com. 60 IN A 192.0.2." + std::to_string(i));
    ASSERT_TRUE(parse(key, spec));
    EXPECT_EQ(parse(key, spec)->records.size(), 256u);
    spec.answer.push_back("a.com. 60 IN A 192.0.3.1");
    EXPECT_EQ(parse(key, spec).error(), ReplyError::rrset_size);
}

// DNSSEC.

TEST(ParseReply, KeepsSignaturesApart) {
    ReplySpec spec{.answer = {"a.com. 60 IN CNAME b.com.", rrsig("a.com.", "CNAME"),
                              "b.com. 60 IN A 192.0.2.1", rrsig("b.com.", "A")}};
    for (std::uint8_t flavour : cache::flavours) {
        auto answer = parse(make_key("a.com", LDNS_RR_TYPE_A, flavour), spec);
        ASSERT_TRUE(answer);
        EXPECT_TRUE(answer->is_signed);
        EXPECT_EQ(answer->chain.size(), 1u);
        EXPECT_EQ(answer->records.size(), 1u);
        ASSERT_EQ(answer->signatures.size(), 2u);
        EXPECT_EQ(ldns_rr_get_type(answer->signatures[1].get()), LDNS_RR_TYPE_RRSIG);
    }
}

TEST(ParseReply, KeepsEightSignaturesOfAnRrset) {
    ReplySpec spec{.answer = {"a.com. 60 IN A 192.0.2.1"}};
    for (int i = 0; i < 12; ++i) spec.answer.push_back(rrsig("a.com.", "A", 2, i));
    EXPECT_EQ(parse(make_key("a.com", LDNS_RR_TYPE_A, cache::dnssec_ok), spec)->signatures.size(), 8u);
}

TEST(ParseReply, KeepsProofsOfANegativeAnswerApart) {
    ReplySpec spec{.authority = {soa, rrsig("com.", "SOA", 1), "a.com. 60 IN NSEC z.com. TXT RRSIG NSEC",
                                 rrsig("a.com.", "NSEC"), "com. 60 IN NS ns.com.", rrsig("com.", "NS", 1)}};
    auto plain = parse(make_key("a.com", LDNS_RR_TYPE_A), spec);
    EXPECT_EQ(plain->kind, Kind::nodata);
    EXPECT_EQ(plain->authority.size(), 1u);
    ASSERT_EQ(plain->proofs.size(), 3u);
    EXPECT_EQ(ldns_rr_get_type(plain->proofs[1].get()), LDNS_RR_TYPE_NSEC);
}

TEST(ParseReply, KeepsTheProofOfAWildcard) {
    ReplySpec spec{.answer = {"a.b.com. 60 IN A 192.0.2.1", rrsig("a.b.com.", "A", 2)},
                   .authority = {"a.com. 60 IN NSEC z.com. TXT RRSIG NSEC", rrsig("a.com.", "NSEC")}};
    auto of_wildcard = parse(make_key("a.b.com", LDNS_RR_TYPE_A), spec);
    EXPECT_EQ(of_wildcard->proofs.size(), 2u);
    EXPECT_EQ(of_wildcard->authority.size(), 0u);
    spec.answer[1] = rrsig("a.b.com.", "A", 3);
    EXPECT_EQ(parse(make_key("a.b.com", LDNS_RR_TYPE_A), spec)->proofs.size(), 0u);
}

TEST(ParseReply, AnswersDnssecTypesThatWereAskedFor) {
    ReplySpec spec{.answer = {rrsig("a.com.", "A"), rrsig("a.com.", "AAAA")}};
    EXPECT_EQ(parse(make_key("a.com", LDNS_RR_TYPE_RRSIG), spec)->records.size(), 2u);
    spec.answer = {"a.com. 60 IN DS 1 13 2 " + std::string(64, 'a'), rrsig("a.com.", "DS")};
    auto ds = parse(make_key("a.com", LDNS_RR_TYPE_DS), spec);
    EXPECT_EQ(ds->kind, Kind::positive);
    EXPECT_EQ(ds->records.size(), 1u);
    spec.answer = {"a.com. 60 IN DNSKEY 257 3 13 AAAA", rrsig("a.com.", "DNSKEY")};
    auto keys = parse(make_key("a.com", LDNS_RR_TYPE_DNSKEY), spec);
    EXPECT_EQ(keys->records.size(), 1u);
    EXPECT_EQ(keys->signatures.size(), 1u);
}

TEST(ParseReply, AnyTakesEveryRrsetOfTheName) {
    ReplySpec spec{.answer = {"a.com. 60 IN A 192.0.2.1", "a.com. 60 IN MX 1 m.com.", rrsig("a.com.", "A"),
                              "a.com. 60 IN NSEC b.com. A", "b.com. 60 IN A 192.0.2.9"}};
    auto any = parse(make_key("a.com", LDNS_RR_TYPE_ANY), spec);
    EXPECT_EQ(any->records.size(), 2u);
    EXPECT_EQ(any->signatures.size(), 2u) << "and the NSEC";
}

TEST(ParseReply, TakesUnknownTypesAsTheyAre) {
    auto answer = parse(make_key("a.com", 65399), {.answer = {"a.com. 60 IN TYPE65399 \\# 3 c00c01"}});
    ASSERT_TRUE(answer);
    EXPECT_EQ(texts_of(answer->records), Lines{"a.com. 60 IN TYPE65399 \\# 3 c00c01"});
}

TEST(ParseReply, OfSeveralExtendedErrorsTheFirstCountsButOneOfDnssecBeforeAny) {
    auto code_of = [](const std::vector<std::uint8_t>& codes) {
        Key key = make_key("a.com", LDNS_RR_TYPE_A);
        Octets reply = make_reply(query_for(key), {.rcode = 2});
        Octets opt{0, 0, 41, 4, 208, 0, 0, 0, 0, 0, std::uint8_t(6 * codes.size())};
        for (std::uint8_t code : codes) opt.insert(opt.end(), {0, 15, 0, 2, 0, code});
        reply.insert(reply.end(), opt.begin(), opt.end());
        reply[11] = 1; // ARCOUNT
        auto answer = parse_reply(reply, key, 0, received);
        return answer && answer->info ? int(answer->info->code) : -1;
    };
    EXPECT_EQ(code_of({22, 23, 0}), 22);
    EXPECT_EQ(code_of({0, 22, 6, 23}), 6);
    EXPECT_EQ(code_of({22, 7, 6}), 7);
    EXPECT_EQ(code_of({9, 6, 22}), 9);
}

// Malformed replies.

struct Malformed {
    const char* name;
    std::uint16_t qtype;
    Octets records; ///< behind the question, one of them
};

class MalformedReply : public testing::TestWithParam<Malformed> {};

TEST_P(MalformedReply, IsRefused) {
    Key key = make_key("a.com", GetParam().qtype);
    Octets reply = make_reply(query_for(key), {});
    reply.insert(reply.end(), GetParam().records.begin(), GetParam().records.end());
    reply[7] = 1; // ANCOUNT
    auto answer = parse_reply(reply, key, 0, received);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error(), ReplyError::malformed);
}

// The question ends at offset 23: a record's owner is there, its rdata at 35 when the owner is a pointer.
INSTANTIATE_TEST_SUITE_P(
    Table, MalformedReply,
    testing::Values(
        Malformed{"cut_short", 1, {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3}},
        Malformed{"nothing_there", 1, {}},
        Malformed{"a_of_three", 1, {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 3, 1, 2, 3}},
        Malformed{"a_of_five", 1, {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 5, 1, 2, 3, 4, 5}},
        Malformed{"a_of_none", 1, {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 0}},
        Malformed{"owner_points_at_itself", 1, {0xc0, 23, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4}},
        Malformed{"owner_points_forward", 1, {0xc0, 35, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 0, 0, 0, 0}},
        Malformed{"owner_points_into_header", 1, {0xc0, 4, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4}},
        Malformed{"owner_label_0x40", 1, {0x41, 'a', 0, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4}},
        Malformed{"cname_points_forward", 1, {0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 2, 0xc0, 37, 1, 'b', 0}},
        Malformed{"cname_past_its_rdata", 1, {0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 2, 1, 'b', 0}},
        Malformed{"cname_and_more", 1, {0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, 'b', 0, 9}},
        Malformed{"mx_without_name", 15, {0xc0, 12, 0, 15, 0, 1, 0, 0, 0, 60, 0, 2, 0, 5}}),
    [](const auto& info) { return info.param.name; });

TEST(ParseReply, SurvivesEveryCut) {
    Key key = make_key("a.com", LDNS_RR_TYPE_A, cache::dnssec_ok);
    Octets reply =
        make_reply(query_for(key),
                   {.answer = {"a.com. 60 IN CNAME b.com.", "b.com. 60 IN A 192.0.2.1", rrsig("b.com.", "A")},
                    .authority = {soa}});
    ASSERT_TRUE(parse_reply(reply, key, 0, received));
    for (std::size_t size = 0; size < reply.size(); ++size) {
        EXPECT_FALSE(parse_reply({reply.data(), size}, key, 0, received)) << size;
    }
}

} // namespace
} // namespace millrace::control
