#include "control/message.hpp"

#include "control/ldns_handle.hpp"
#include "control/records.hpp"

namespace millrace::control {

namespace {

bool is_letter(std::uint8_t c) {
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

} // namespace

std::vector<std::uint8_t> build_query(const cache::Key& key, std::uint16_t id,
                                      std::span<const std::uint8_t> qname_as_sent) {
    PacketHandle packet(ldns_pkt_new());
    RecordHandle question = question_record(key, qname_as_sent);
    if (!packet || !question) return {};
    ldns_pkt_set_id(packet.get(), id);
    ldns_pkt_set_rd(packet.get(), true);
    ldns_pkt_set_cd(packet.get(), key.flavour & cache::checking_disabled);
    ldns_pkt_set_edns_udp_size(packet.get(), upstream_edns_octets);
    ldns_pkt_set_edns_do(packet.get(), true);
    if (!ldns_pkt_push_rr(packet.get(), LDNS_SECTION_QUESTION, question.get())) return {};
    question.release(); // the packet's now
    return to_wire(*packet);
}

std::vector<std::uint8_t> randomise_case(std::span<const std::uint8_t> name, Random& random) {
    std::vector<std::uint8_t> drawn(name.begin(), name.end());
    std::uint64_t bits = 0;
    unsigned left = 0;
    // A label's length is at most 63, below every letter, so lengths need not be told from letters.
    for (std::uint8_t& c : drawn) {
        if (!is_letter(c)) continue;
        if (left == 0) bits = random.bits(), left = 64;
        c = std::uint8_t((c & ~0x20) | (bits & 1 ? 0x20 : 0));
        bits >>= 1;
        --left;
    }
    return drawn;
}

} // namespace millrace::control
