// From an upstream's reply to the client's, and back through ldns: what `answer` writes says what ldns would
// have written, in as many octets.
//
// A row is an upstream's reply. Each is asked for with many kinds of query, and each reply is compared with a
// packet that ldns builds from the row's records: flags, sections record by record, OPT, size.
#include <algorithm>
#include <cctype>
#include <cstring>

#include <gtest/gtest.h>

#include "control/message/entry_build.hpp"
#include "control/message/query.hpp"
#include "control/message/reply.hpp"
#include "dataplane/answer.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/replies.hpp"

namespace millrace::control {
namespace {

using dataplane::Query;
using dataplane::Transport;
using dataplane::answer::Age;
using support::ReplySpec;
using test::Bytes;
using test::operator+;
using Lines = std::vector<std::string>;

constexpr Time received = 1h, later = 7s + 900ms; // 7 whole seconds
constexpr unsigned aged = 7;

struct Row {
    const char* what;
    const char* name;
    unsigned qtype;
    ReplySpec reply;
    /// What of it the client gets, when that is not every record of the answer and authority section in this
    /// order, the DNSSEC ones with DO alone. TTLs as they are when the entry is born.
    std::optional<Lines> answer{}, authority{};
};

std::string rrsig(const std::string& owner, const char* type, unsigned labels, unsigned ttl = 60) {
    return owner + " " + std::to_string(ttl) + " IN RRSIG " + type + " 13 " + std::to_string(labels) +
           " 60 20300101000000 20200101000000 4711 example. c2lnbmF0dXJl";
}

Lines many(unsigned count, const std::string& line, std::size_t width) {
    Lines lines;
    for (unsigned i = 0; i < count; ++i)
        lines.push_back(line + " \"" + std::to_string(1000 + i) + std::string(width, 'x') + "\"");
    return lines;
}

const std::string soa = "example. 900 IN SOA ns.example. mail.example. 1 2 3 4 300",
                  soa_300 = "example. 300 IN SOA ns.example. mail.example. 1 2 3 4 300",
                  nsec3_hash = "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.";

const Row rows[] = {
    {"one address", "www.example", 1, {.answer = {"www.example. 60 IN A 192.0.2.1"}}},
    {"addresses",
     "www.example",
     28,
     {.answer = {"www.example. 60 IN AAAA 2001:db8::1", "www.example. 60 IN AAAA 2001:db8::2"}}},
    {"the root", ".", 2, {.answer = {". 60 IN NS a.root.", ". 60 IN NS b.root."}}},
    {"a chain",
     "www.example",
     1,
     {.answer = {"www.example. 60 IN CNAME a.www.example.", "a.www.example. 70 IN CNAME other.net.",
                 "other.net. 80 IN A 192.0.2.1"}}},
    {"a chain out of order",
     "a.example",
     1,
     {.answer = {"c.example. 60 IN A 192.0.2.1", "b.example. 60 IN CNAME c.example.",
                 "a.example. 60 IN CNAME b.example."}},
     Lines{"a.example. 60 IN CNAME b.example.", "b.example. 60 IN CNAME c.example.",
           "c.example. 60 IN A 192.0.2.1"}},
    {"MX", "example", 15, {.answer = {"example. 60 IN MX 10 mail.example.", "example. 60 IN MX 20 a.net."}}},
    {"TXT", "t.example", 16, {.answer = {"t.example. 60 IN TXT \"one\" \"two\" \"\""}}},
    {"SRV", "_a._tcp.example", 33, {.answer = {"_a._tcp.example. 60 IN SRV 1 2 3 www.example."}}},
    {"HTTPS and SVCB",
     "www.example",
     65,
     {.answer = {"www.example. 60 IN HTTPS 1 . alpn=h2,h3 ipv4hint=192.0.2.1",
                 "www.example. 60 IN HTTPS 0 svc.example."}}},
    {"SVCB", "www.example", 64, {.answer = {"www.example. 60 IN SVCB 1 svc.example. port=853"}}},
    {"CAA", "example", 257, {.answer = {"example. 60 IN CAA 0 issue \"ca.example\""}}},
    {"an unknown type", "x.example", 65280, {.answer = {"x.example. 60 IN TYPE65280 \\# 3 c00c01"}}},
    {"unknown and empty", "x.example", 65281, {.answer = {"x.example. 60 IN TYPE65281 \\# 0"}}},
    {"NXDOMAIN", "no.example", 1, {.authority = {soa}, .rcode = 3}, Lines{}, Lines{soa_300}},
    {"NODATA", "www.example", 15, {.authority = {soa}}, Lines{}, Lines{soa_300}},
    {"an SOA that lives shorter than its MINIMUM",
     "no.example",
     1,
     {.authority = {"example. 200 IN SOA ns.example. mail.example. 1 2 3 4 86400"}, .rcode = 3}},
    {"a negative answer for an hour at most",
     "no.example",
     1,
     {.authority = {"example. 86400 IN SOA ns.example. mail.example. 1 2 3 4 86400"}, .rcode = 3},
     Lines{},
     Lines{"example. 3600 IN SOA ns.example. mail.example. 1 2 3 4 86400"}},
    {"NXDOMAIN without SOA", "no.example", 1, {.rcode = 3}},
    {"a chain to nowhere",
     "www.example",
     1,
     {.answer = {"www.example. 60 IN CNAME no.example."}, .authority = {soa}, .rcode = 3},
     Lines{"www.example. 60 IN CNAME no.example."},
     Lines{soa_300}},
    {"what nobody asked for stays out",
     "www.example",
     1,
     {.answer = {"www.example. 60 IN A 192.0.2.1", "evil.example. 60 IN A 192.0.2.66"},
      .authority = {"example. 60 IN NS ns.example."},
      .additional = {"ns.example. 60 IN A 192.0.2.53"}},
     Lines{"www.example. 60 IN A 192.0.2.1"},
     Lines{}},
    {"TTLs that differ within an RRset",
     "www.example",
     1,
     {.answer = {"www.example. 90 IN A 192.0.2.1", "www.example. 20 IN A 192.0.2.2",
                 "www.example. 60 IN A 192.0.2.3"}},
     Lines{"www.example. 20 IN A 192.0.2.1", "www.example. 20 IN A 192.0.2.2",
           "www.example. 20 IN A 192.0.2.3"}},
    {"TTL 0", "www.example", 1, {.answer = {"www.example. 0 IN A 192.0.2.1"}}},
    {"a TTL shorter than the time that passed",
     "www.example",
     1,
     {.answer = {"www.example. 5 IN A 192.0.2.1"}}},
    {"a TTL of 2^31 counts as a day",
     "www.example",
     1,
     {.answer = {"www.example. 2147483648 IN A 192.0.2.1"}},
     Lines{"www.example. 86400 IN A 192.0.2.1"}},
    {"a TTL of 2^32-1 counts as a day",
     "www.example",
     1,
     {.answer = {"www.example. 4294967295 IN A 192.0.2.1"}},
     Lines{"www.example. 86400 IN A 192.0.2.1"}},
    {"a TTL of a week is capped",
     "www.example",
     1,
     {.answer = {"www.example. 604800 IN A 192.0.2.1"}},
     Lines{"www.example. 86400 IN A 192.0.2.1"}},
    {"signed",
     "www.example",
     1,
     {.answer = {"www.example. 60 IN A 192.0.2.1", rrsig("www.example.", "A", 2)}}},
    {"a signed chain",
     "www.example",
     1,
     {.answer = {"www.example. 60 IN CNAME a.example.", rrsig("www.example.", "CNAME", 2),
                 "a.example. 60 IN A 192.0.2.1", rrsig("a.example.", "A", 2)}},
     Lines{"www.example. 60 IN CNAME a.example.", "a.example. 60 IN A 192.0.2.1",
           rrsig("www.example.", "CNAME", 2), rrsig("a.example.", "A", 2)}},
    {"a signed wildcard with its proof",
     "www.example",
     1,
     {.answer = {"www.example. 60 IN A 192.0.2.1", rrsig("www.example.", "A", 1)},
      .authority = {"v.example. 60 IN NSEC x.example. A RRSIG NSEC", rrsig("v.example.", "NSEC", 2)}}},
    {"a signed denial by NSEC",
     "no.example",
     1,
     {.authority = {soa_300, rrsig("example.", "SOA", 1, 300),
                    "m.example. 300 IN NSEC www.example. A RRSIG NSEC", rrsig("m.example.", "NSEC", 2, 300)},
      .rcode = 3}},
    {"a signed denial by NSEC3",
     "no.example",
     1,
     {.authority = {soa_300, rrsig("example.", "SOA", 1, 300),
                    nsec3_hash + " 300 IN NSEC3 1 1 0 - 2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG",
                    rrsig(nsec3_hash, "NSEC3", 2, 300)},
      .rcode = 3}},
    {"DNSKEY", "example", 48, {.answer = {"example. 60 IN DNSKEY 257 3 13 a2V5a2V5a2V5a2V5"}}},
    {"DS", "example", 43, {.answer = {"example. 60 IN DS 4711 13 2 " + std::string(64, 'a')}}},
    {"NSEC, asked for", "m.example", 47, {.answer = {"m.example. 60 IN NSEC www.example. A RRSIG NSEC"}}},
    {"a little more than 512 octets", "big.example", 16, {.answer = many(5, "big.example. 60 IN TXT", 90)}},
    {"a little more than 1232 octets", "big.example", 16, {.answer = many(12, "big.example. 60 IN TXT", 90)}},
    {"61 kB", "huge.example", 16, {.answer = many(230, "huge.example. 60 IN TXT", 249)}},
};

struct Asked {
    const char* what;
    unsigned flags;
    std::optional<unsigned> size; ///< of the OPT; none without
    bool dnssec_ok = false;
    Transport transport = Transport::udp;
};

const Asked queries[] = {
    {"without EDNS", test::rd, {}},
    {"AD", test::rd | test::ad, {}},
    {"CD", test::rd | test::cd, {}},
    {"EDNS 0", test::rd, 0},
    {"EDNS 512", test::rd, 512},
    {"EDNS 800", test::rd, 800},
    {"EDNS 1232", test::rd, 1232},
    {"EDNS 65535", test::rd | test::ad, 65535},
    {"DO", test::rd, 1232, true},
    {"DO and CD", test::rd | test::cd, 4096, true},
    {"TCP", test::rd, {}, false, Transport::tcp},
    {"TCP with DO", test::rd | test::ad, 1232, true, Transport::tcp},
};

Bytes question_of(const Row& row) {
    Bytes name = std::string_view(row.name) == "." ? Bytes{0} : test::labels(row.name);
    for (std::size_t i = 1; i < name.size(); i += 2) // letters in mixed case, octets of lengths are none
        name[i] = name[i] >= 'a' && name[i] <= 'z' ? std::uint8_t(name[i] - 32) : name[i];
    return name + test::u16(row.qtype) + test::u16(1);
}

Bytes message_of(const Row& row, const Asked& asked) {
    Bytes opt = asked.size ? test::opt(*asked.size, asked.dnssec_ok ? test::do_bit : 0) : Bytes{};
    return test::header(0x4711, asked.flags, 1, 0, 0, asked.size.has_value()) + question_of(row) + opt;
}

/// The octets that a worker sends.
Bytes written(const Row& row, const Asked& asked, Age age) {
    Bytes buffer = message_of(row, asked);
    Query query;
    Query::parse(buffer, asked.transport, query);
    EXPECT_EQ(query.action, Query::Action::look_up);
    auto upstream = build_query(query.key, 7, query.key.name.bytes());
    auto said = parse_reply(support::make_reply(upstream, row.reply), query.key, 0, received);
    if (!said) return {};
    auto entry = build_entry(query.key, *said, {1, 0}, TtlPolicy{});
    if (!entry) return {};
    buffer.resize(cache::limits::message_octets);
    std::span<const std::uint8_t> question(buffer.data() + 12, query.head.question_size);
    buffer.resize(dataplane::answer::write(query.head, question, *entry, received + later, age, buffer));
    return buffer;
}

/// Builds the expected packet with ldns.
class Expected {
  public:
    Expected(const Row& row, const Asked& asked, Age age)
        : packet_(ldns_pkt_new()), asked_(asked), age_(age) {
        ldns_pkt* p = packet_.get();
        ldns_pkt_set_id(p, 0x4711);
        ldns_pkt_set_qr(p, true);
        ldns_pkt_set_ra(p, true);
        ldns_pkt_set_rd(p, asked.flags & test::rd);
        ldns_pkt_set_cd(p, asked.flags & test::cd);
        ldns_pkt_set_rcode(p, std::uint8_t(row.reply.rcode));
        ldns_rr* question = ldns_rr_new();
        ldns_rr_set_question(question, true);
        ldns_rr_set_owner(question, ldns_dname_new_frm_str(row.name));
        ldns_rr_set_type(question, ldns_rr_type(row.qtype));
        ldns_rr_set_class(question, LDNS_RR_CLASS_IN);
        ldns_pkt_push_rr(p, LDNS_SECTION_QUESTION, question);
        if (asked.size) add_opt(age == Age::stale ? (row.reply.rcode == 3 ? 19 : 3) : -1);
        add(LDNS_SECTION_ANSWER, row.answer, row.reply.answer, row.qtype);
        add(LDNS_SECTION_AUTHORITY, row.authority, row.reply.authority, row.qtype);
        std::size_t limit = asked.transport == Transport::tcp ? 65535
                            : asked.size                      ? std::clamp(*asked.size, 512u, 1232u)
                                                              : 512;
        if (to_wire(*p).size() > limit) truncate();
    }
    const ldns_pkt& packet() const { return *packet_; }

  private:
    void add_opt(int extended_error) {
        ldns_pkt* p = packet_.get();
        ldns_pkt_set_edns_udp_size(p, 1232);
        ldns_pkt_set_edns_do(p, asked_.dnssec_ok);
        if (extended_error < 0) return;
        std::uint8_t option[] = {0, 15, 0, 2, 0, std::uint8_t(extended_error)};
        ldns_pkt_set_edns_data(p, ldns_rdf_new_frm_data(LDNS_RDF_TYPE_NONE, sizeof option, option));
    }

    void add(ldns_pkt_section section, const std::optional<Lines>& own, const Lines& all, unsigned qtype) {
        for (const std::string& line : own.value_or(all)) {
            ldns_rr* record = nullptr;
            ASSERT_EQ(ldns_rr_new_frm_str(&record, line.c_str(), 0, nullptr, nullptr), LDNS_STATUS_OK)
                << line;
            unsigned type = ldns_rr_get_type(record);
            bool dnssec =
                type == LDNS_RR_TYPE_RRSIG || type == LDNS_RR_TYPE_NSEC || type == LDNS_RR_TYPE_NSEC3;
            if (dnssec && !asked_.dnssec_ok && type != qtype) {
                ldns_rr_free(record);
                continue;
            }
            std::uint32_t ttl = ldns_rr_ttl(record);
            ldns_rr_set_ttl(record, age_ == Age::stale ? 30 : ttl - std::min(ttl, aged));
            ldns_pkt_push_rr(packet_.get(), section, record);
        }
    }

    /// Question and OPT alone (RFC 2181 9).
    void truncate() {
        ldns_pkt* p = packet_.get();
        ldns_pkt_set_tc(p, true);
        for (auto section : {LDNS_SECTION_ANSWER, LDNS_SECTION_AUTHORITY}) {
            ldns_rr_list* list = section == LDNS_SECTION_ANSWER ? ldns_pkt_answer(p) : ldns_pkt_authority(p);
            while (ldns_rr* record = ldns_rr_list_pop_rr(list)) ldns_rr_free(record);
            ldns_pkt_set_section_count(p, section, 0);
        }
        ldns_rdf_deep_free(ldns_pkt_edns_data(p));
        ldns_pkt_set_edns_data(p, nullptr);
    }

    PacketHandle packet_;
    const Asked& asked_;
    Age age_;
};

/// In lower case: owners point into the question, which is in the client's.
Lines texts(const ldns_rr_list* list) {
    Lines lines;
    for (std::size_t i = 0; i < ldns_rr_list_rr_count(list); ++i) {
        char* text = ldns_rr2str(ldns_rr_list_rr(list, i));
        std::transform(text, text + std::strlen(text), text, [](unsigned char c) { return std::tolower(c); });
        lines.push_back(text);
        std::free(text);
    }
    return lines;
}

Bytes edns_of(const ldns_pkt& packet) {
    const ldns_rdf* data = ldns_pkt_edns_data(&packet);
    if (!data) return {};
    return {ldns_rdf_data(data), ldns_rdf_data(data) + ldns_rdf_size(data)};
}

void compare(const ldns_pkt& got, const ldns_pkt& expected) {
    EXPECT_EQ(ldns_pkt_id(&got), ldns_pkt_id(&expected));
    for (auto flag :
         {ldns_pkt_qr, ldns_pkt_aa, ldns_pkt_tc, ldns_pkt_rd, ldns_pkt_ra, ldns_pkt_ad, ldns_pkt_cd})
        EXPECT_EQ(flag(&got), flag(&expected));
    EXPECT_EQ(ldns_pkt_get_opcode(&got), ldns_pkt_get_opcode(&expected));
    EXPECT_EQ(ldns_pkt_get_rcode(&got), ldns_pkt_get_rcode(&expected));
    EXPECT_EQ(texts(ldns_pkt_answer(&got)), texts(ldns_pkt_answer(&expected)));
    EXPECT_EQ(texts(ldns_pkt_authority(&got)), texts(ldns_pkt_authority(&expected)));
    EXPECT_EQ(texts(ldns_pkt_additional(&got)), Lines{}); // ldns keeps the OPT elsewhere
    EXPECT_EQ(ldns_pkt_edns(&got), ldns_pkt_edns(&expected));
    EXPECT_EQ(ldns_pkt_edns_udp_size(&got), ldns_pkt_edns_udp_size(&expected));
    EXPECT_EQ(ldns_pkt_edns_do(&got), ldns_pkt_edns_do(&expected));
    EXPECT_EQ(ldns_pkt_edns_version(&got), 0);
    EXPECT_EQ(ldns_pkt_edns_extended_rcode(&got), 0);
    EXPECT_EQ(edns_of(got), edns_of(expected));
}

class RoundTrip : public testing::TestWithParam<Row> {};

TEST_P(RoundTrip, SaysWhatLdnsWouldHaveSaid) {
    const Row& row = GetParam();
    for (const Asked& asked : queries) {
        for (Age age : {Age::counted, Age::stale}) {
            SCOPED_TRACE(std::string(asked.what) + (age == Age::stale ? ", stale" : ""));
            Bytes octets = written(row, asked, age);
            ldns_pkt* raw = nullptr;
            ASSERT_EQ(ldns_wire2pkt(&raw, octets.data(), octets.size()), LDNS_STATUS_OK);
            PacketHandle got(raw);
            Expected expected(row, asked, age);
            compare(*got, expected.packet());
            EXPECT_EQ(octets.size(), to_wire(expected.packet()).size())
                << "the same compression, nothing behind";
            Bytes question = question_of(row);
            EXPECT_TRUE(std::equal(question.begin(), question.end(), octets.begin() + 12)) << "case included";
        }
    }
}

std::string test_name(const testing::TestParamInfo<Row>& info) {
    std::string name;
    for (char c : std::string_view(info.param.what)) name += std::isalnum(c) ? c : '_';
    return name;
}
INSTANTIATE_TEST_SUITE_P(Replies, RoundTrip, testing::ValuesIn(rows), test_name);

} // namespace
} // namespace millrace::control
