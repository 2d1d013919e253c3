#include "tests/stress/pattern.hpp"

#include <algorithm>
#include <array>

#include "cache/wire.hpp"

namespace millrace::stress {

namespace {

constexpr std::uint16_t private_type = 65280; // RFC 6895 3.1: nobody looks into its data
constexpr std::size_t fixed_octets = 12;      // of a record, before its data
constexpr std::size_t ttl_place = 6;
constexpr std::uint32_t ttl = 3600;
constexpr unsigned most_records = 4, least_words = 6, word_choices = 23; // of 8 octets, per record

std::uint64_t mix(std::uint64_t x) { // splitmix64
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

struct Made {
    std::array<std::uint8_t, most_records*(fixed_octets + 8 * (least_words + word_choices))> octets;
    std::array<std::uint16_t, most_records> ttl_offsets;
    std::size_t size;
    unsigned count;
};

void make(const Content& content, Made& made) {
    std::uint64_t seed = mix(content.name ^ mix(content.version.generation ^ mix(content.version.revision)));
    made.count = 1 + unsigned(seed % most_records);
    cache::WireWriter out(made.octets);
    auto word = [&](std::uint64_t w) {
        out.u32(std::uint32_t(w >> 32));
        out.u32(std::uint32_t(w));
    };
    for (unsigned record = 0; record < made.count; ++record) {
        std::size_t words = least_words + mix(seed + record) % word_choices;
        made.ttl_offsets[record] = std::uint16_t(out.size() + ttl_place);
        out.u16(0xc00c); // the question's name
        out.u16(private_type);
        out.u16(1);
        out.u32(ttl);
        out.u16(std::uint16_t(8 * words));
        word(content.name);
        word(content.version.generation);
        word(content.version.revision);
        for (std::size_t i = 3; i < words; ++i) word(mix(seed + 1000 * record + i));
    }
    made.size = out.size();
}

} // namespace

cache::EntryPtr make_entry(const Content& content, Time now, Time life) {
    Made made;
    make(content, made);
    return cache::Entry::make({.version = content.version,
                               .rcode = 0,
                               .authentic = false,
                               .failure = false,
                               .info = {},
                               .born = now,
                               .expiry = now + life,
                               .stale_until = now + 2 * life,
                               .refresh_after = now + life - life / 10,
                               .answers = std::uint16_t(made.count),
                               .authorities = 0,
                               .records = std::span(made.octets).first(made.size),
                               .ttl_offsets = std::span(made.ttl_offsets).first(made.count)});
}

std::optional<Content> read_records(std::span<const std::uint8_t> records, unsigned count) {
    cache::WireReader in(records);
    in.skip(fixed_octets);
    auto word = [&] {
        std::uint64_t high = in.u32();
        return high << 32 | in.u32();
    };
    Content content;
    content.name = std::uint32_t(word());
    content.version.generation = word();
    content.version.revision = std::uint32_t(word());
    Made made;
    make(content, made);
    if (!in.ok() || made.count != count || made.size != records.size()) return std::nullopt;
    for (unsigned i = 0; i < count; ++i) {
        const std::uint8_t* sent = records.data() + made.ttl_offsets[i];
        if (cache::load_u32(sent) > ttl) return std::nullopt;
        std::copy_n(sent, 4, made.octets.data() + made.ttl_offsets[i]);
    }
    bool whole = std::equal(records.begin(), records.end(), made.octets.begin());
    return whole ? std::optional(content) : std::nullopt;
}

} // namespace millrace::stress
