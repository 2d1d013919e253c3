// libFuzzer: the accept filter, parse_reply, build_entry and the text of the entry, on arbitrary octets.
//
// The first octet gives the flavour, the rest is the reply. It is parsed as the answer to whatever its own
// question says, so that the fuzzer need not guess a name.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "cache/dns.hpp"
#include "cache/wire.hpp"
#include "control/message/entry_build.hpp"
#include "control/message/entry_text.hpp"
#include "control/message/query.hpp"
#include "control/message/reply.hpp"
#include "control/message/reply_match.hpp"
#include "tests/fuzz/work.hpp"

using namespace millrace;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

cache::Key key_of(std::span<const std::uint8_t> message, std::uint8_t flavour) {
    cache::Key key;
    key.flavour = flavour;
    cache::WireReader in(message);
    in.skip(12);
    if (!cache::read_name(in, key.name)) key.name = *cache::parse_name("a.com");
    key.qtype = in.u16();
    key.qclass = in.u16();
    return key;
}

/// What must hold of every entry, whatever it was made of.
void check(const cache::Key& key, const control::Answer& answer, const cache::Entry& entry) {
    require(entry.ttl_count == entry.answers + entry.authorities);
    require(entry.born == answer.received && entry.expiry >= entry.born && entry.stale_until >= entry.expiry);
    require(entry.expiry <= entry.born + 24h);
    for (std::uint16_t at : entry.ttl_offsets()) {
        require(at + 4u <= entry.records_size &&
                cache::load_u32(entry.records().data() + at) <= dns::most_ttl);
    }
    require(control::record_lines(key, entry, entry.born + 1s).size() == entry.ttl_count);
    require(control::addresses(key, entry).size() <= entry.answers);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    // Two octets of a pointer may stand for 126 labels.
    auto pointers = std::uint64_t(std::count_if(data, data + size, [](auto octet) { return octet >= 0xc0; }));
    fuzz::Work work({.for_input = 20'000 + 30'000 * pointers, .for_octet = 200}, size);
    if (size == 0) return 0;
    std::span<const std::uint8_t> message(data + 1, size - 1);
    cache::Key key = key_of(message, data[0] & 3);
    auto query = control::build_query(key, size >= 3 ? cache::load_u16(data + 1) : 0, key.name.bytes());
    control::ReplyMatch match = control::match_reply(query, message);
    auto answer = control::parse_reply(message, key, 0, 1h);
    if (answer && (message[2] & 0xf8) == 0x80) {
        require(match == control::ReplyMatch::reply || match == control::ReplyMatch::truncated ||
                match == control::ReplyMatch::wrong_case);
    }
    if (!answer || answer->kind == control::Kind::failure) return 0;
    if (auto entry = control::build_entry(key, *answer, {1, 0}, {})) check(key, *answer, *entry);
    return 0;
}
