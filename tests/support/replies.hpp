// Replies of scripted upstreams, written by ldns from presentation format, and keys from names.
#pragma once

#include <cassert>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "cache/key.hpp"
#include "control/message/ldns_handle.hpp"
#include "control/message/records.hpp"

namespace millrace::support {

inline cache::Key make_key(std::string_view name, std::uint16_t qtype, std::uint8_t flavour = cache::plain,
                           std::uint8_t group = 0) {
    cache::Key key;
    key.qtype = qtype;
    key.qclass = LDNS_RR_CLASS_IN;
    key.group = group;
    key.flavour = flavour;
    key.name = *cache::parse_name(name);
    return key;
}

/// What a reply says; records as in a zone file ("a.com. 60 IN A 192.0.2.1").
struct ReplySpec {
    std::vector<std::string> answer{}, authority{}, additional{};
    unsigned rcode = 0;
    bool truncated = false, authentic = false;
    int info = -1;           ///< an extended error (RFC 8914), if not negative,
    std::string info_text{}; ///< and its text
};

/// Puts an OPT with an extended error behind a message without OPT.
inline void append_error(std::vector<std::uint8_t>& message, const ReplySpec& spec) {
    auto u16 = [&](std::size_t value) {
        message.push_back(std::uint8_t(value >> 8));
        message.push_back(std::uint8_t(value));
    };
    std::size_t size = 2 + spec.info_text.size();
    message.push_back(0); // the root
    for (std::size_t value : {41ul, 1232ul, 0ul, 0ul, size + 4, 15ul, size}) u16(value);
    u16(std::size_t(spec.info));
    message.insert(message.end(), spec.info_text.begin(), spec.info_text.end());
    ++message[11]; // ARCOUNT
}

/// The reply to `query`, with its ID and its question as it was sent.
inline std::vector<std::uint8_t> make_reply(std::span<const std::uint8_t> query, const ReplySpec& spec) {
    ldns_pkt* raw = nullptr;
    [[maybe_unused]] auto status = ldns_wire2pkt(&raw, query.data(), query.size());
    assert(status == LDNS_STATUS_OK);
    control::PacketHandle asked(raw), reply(ldns_pkt_new());
    ldns_pkt_set_id(reply.get(), ldns_pkt_id(asked.get()));
    ldns_pkt_set_qr(reply.get(), true);
    ldns_pkt_set_rd(reply.get(), true);
    ldns_pkt_set_ra(reply.get(), true);
    ldns_pkt_set_tc(reply.get(), spec.truncated);
    ldns_pkt_set_ad(reply.get(), spec.authentic);
    ldns_pkt_set_rcode(reply.get(), std::uint8_t(spec.rcode));
    ldns_rr* question = ldns_rr_clone(ldns_rr_list_rr(ldns_pkt_question(asked.get()), 0));
    ldns_pkt_push_rr(reply.get(), LDNS_SECTION_QUESTION, question);
    auto add = [&](ldns_pkt_section section, const std::vector<std::string>& lines) {
        for (const std::string& line : lines) {
            ldns_rr* record = nullptr;
            if (ldns_rr_new_frm_str(&record, line.c_str(), 0, nullptr, nullptr) != LDNS_STATUS_OK)
                std::abort();
            ldns_pkt_push_rr(reply.get(), section, record);
        }
    };
    add(LDNS_SECTION_ANSWER, spec.answer);
    add(LDNS_SECTION_AUTHORITY, spec.authority);
    add(LDNS_SECTION_ADDITIONAL, spec.additional);
    auto message = control::to_wire(*reply);
    if (spec.info >= 0) append_error(message, spec);
    return message;
}

} // namespace millrace::support
