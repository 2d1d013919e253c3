// The writer of compressed records, beside what ldns reads, and how much work it is.
#include <gtest/gtest.h>

#include "cache/dns.hpp"
#include "cache/limits.hpp"
#include "control/message/ldns_handle.hpp"
#include "control/message/record_writer.hpp"
#include "tests/support/replies.hpp"

namespace millrace::control {
namespace {

using Octets = std::vector<std::uint8_t>;
using support::make_key;

RecordHandle record_of(const std::string& line) {
    ldns_rr* raw = nullptr;
    EXPECT_EQ(ldns_rr_new_frm_str(&raw, line.c_str(), 0, nullptr, nullptr), LDNS_STATUS_OK) << line;
    return RecordHandle(raw);
}

/// An MX record of `owner` with a name for a target that need not be one in presentation format.
RecordHandle mx_of(const cache::Name& owner, const Octets& target) {
    RecordHandle record(ldns_rr_new());
    const std::uint8_t preference[] = {0, 10};
    ldns_rr_set_owner(record.get(),
                      ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, owner.size, owner.octets.data()));
    ldns_rr_set_type(record.get(), LDNS_RR_TYPE_MX);
    ldns_rr_set_class(record.get(), LDNS_RR_CLASS_IN);
    ldns_rr_push_rdf(record.get(), ldns_rdf_new_frm_data(LDNS_RDF_TYPE_INT16, 2, preference));
    ldns_rr_push_rdf(record.get(), ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, target.size(), target.data()));
    return record;
}

/// The records as ldns reads them out of the whole message.
std::vector<RecordHandle> read_back(const cache::Key& key, const RecordWriter& writer, std::size_t count) {
    Octets message(dns::header_octets);
    message[5] = 1;
    message[6] = std::uint8_t(count >> 8);
    message[7] = std::uint8_t(count);
    message.insert(message.end(), key.name.bytes().begin(), key.name.bytes().end());
    for (unsigned value : {key.qtype, key.qclass}) {
        message.push_back(std::uint8_t(value >> 8));
        message.push_back(std::uint8_t(value));
    }
    message.insert(message.end(), writer.records().begin(), writer.records().end());
    ldns_pkt* raw = nullptr;
    EXPECT_EQ(ldns_wire2pkt(&raw, message.data(), message.size()), LDNS_STATUS_OK);
    PacketHandle packet(raw);
    std::vector<RecordHandle> records;
    for (std::size_t i = 0; packet && i < ldns_rr_list_rr_count(ldns_pkt_answer(packet.get())); ++i) {
        records.emplace_back(ldns_rr_clone(ldns_rr_list_rr(ldns_pkt_answer(packet.get()), i)));
    }
    return records;
}

TEST(RecordWriter, LdnsReadsWhatItWrote) {
    cache::Key key = make_key("www.example.com", LDNS_RR_TYPE_ANY);
    const std::vector<std::string> lines = {
        "www.example.com. 60 IN CNAME host.example.com.",
        "host.example.com. 60 IN MX 10 mail.host.example.com.",
        "host.example.com. 60 IN MX 20 MAIL.Host.example.com.",
        "example.com. 60 IN SOA ns.example.com. root.ns.example.com. 1 2 3 4 5",
        "com. 60 IN NS .",
        "host.example.com. 60 IN SRV 1 2 3 mail.host.example.com.",
        "host.example.com. 60 IN TXT \"example.com\"",
        "host.example.com. 60 IN A 192.0.2.1",
    };
    RecordWriter writer(key, lines.size());
    std::vector<RecordHandle> written;
    for (const std::string& line : lines) {
        written.push_back(record_of(line));
        writer.add(written.back().get(), 60);
    }
    ASSERT_TRUE(writer.ok());
    auto read = read_back(key, writer, lines.size());
    ASSERT_EQ(read.size(), lines.size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
        EXPECT_EQ(ldns_rr_compare(read[i].get(), written[i].get()), 0) << lines[i];
    }
}

TEST(RecordWriter, CompressesNamesInRdataOfTheTypesOfRfc1035Alone) {
    cache::Key key = make_key("a.example.com", LDNS_RR_TYPE_ANY);
    RecordWriter mx(key, 1), srv(key, 1);
    mx.add(record_of("a.example.com. 60 IN MX 10 b.example.com.").get(), 60);
    srv.add(record_of("a.example.com. 60 IN SRV 1 2 3 b.example.com.").get(), 60);
    EXPECT_EQ(mx.records().size(), 2u + 10 + 2 + 4); // pointer; type to RDLENGTH; preference; "b" and pointer
    EXPECT_EQ(srv.records().size(), 2u + 10 + 6 + 15); // the name written out
    ASSERT_EQ(mx.ttl_offsets().size(), 1u);
    EXPECT_EQ(mx.ttl_offsets()[0], 6u);
}

/// Legal, and passed on by resolvers: ldns took four seconds for it.
TEST(RecordWriter, NamesOfManyLabelsCostStepsLinearInTheirOctets) {
    cache::Key key = make_key("mx.example", LDNS_RR_TYPE_MX);
    for (unsigned records : {16u, 64u, 256u}) {
        RecordWriter writer(key, records);
        std::size_t octets = 0;
        for (unsigned r = 0; r < records; ++r) {
            Octets target;
            for (unsigned label = 0; label < 63; ++label) {
                target.insert(target.end(), {1, std::uint8_t(label == 62 ? r : label)});
            }
            for (unsigned label = 0; label < 63; ++label)
                target.insert(target.end(), {1, std::uint8_t(label)});
            target.push_back(0);
            writer.add(mx_of(key.name, target).get(), 60);
            octets += target.size();
        }
        ASSERT_TRUE(writer.ok());
        // For each label a hash and eight places, twice; here half of the octets are labels.
        EXPECT_LE(writer.steps(), 9 * octets) << records;
        // Which of them it finds again is up to the hash, whose secret is another in each run.
        EXPECT_LT(writer.records().size(), octets) << "what they share is written once";
        EXPECT_EQ(read_back(key, writer, records).size(), records);
    }
}

TEST(RecordWriter, BeyondPointersReachNamesAreWrittenOut) {
    cache::Key key = make_key("big.example", LDNS_RR_TYPE_NS);
    RecordWriter writer(key, 200);
    std::vector<RecordHandle> written;
    for (unsigned i = 0; i < 200; ++i) { // 40,000 octets of them
        std::string label(60, char('a' + i % 26));
        std::string name = label + "." + std::to_string(i) + "." + label + "." + std::to_string(i) + ".x";
        written.push_back(record_of("big.example. 60 IN NS " + name + "."));
        written.push_back(record_of("big.example. 60 IN NS " + name + "."));
    }
    for (const RecordHandle& record : written) writer.add(record.get(), 60);
    ASSERT_TRUE(writer.ok());
    auto read = read_back(key, writer, written.size());
    ASSERT_EQ(read.size(), written.size());
    for (std::size_t i = 0; i < read.size(); ++i) {
        EXPECT_EQ(ldns_rr_compare(read[i].get(), written[i].get()), 0) << i;
    }
}

TEST(RecordWriter, SaysSoWhenAMessageWouldPass64KiB) {
    cache::Key key = make_key("big.example", LDNS_RR_TYPE_TXT);
    RecordWriter writer(key, 300);
    RecordHandle text = record_of("big.example. 60 IN TXT \"" + std::string(250, 'x') + "\"");
    unsigned added = 0;
    for (; added < 300 && writer.ok(); ++added) writer.add(text.get(), 60);
    EXPECT_FALSE(writer.ok());
    EXPECT_GT(added, 240u);
    EXPECT_LE(writer.records().size(), cache::limits::message_octets);
}

} // namespace
} // namespace millrace::control
