// libFuzzer: any Entry, head, limit and room through answer::write, beside the message that the
// rules ask for.
//
// The reference is written record by record with vectors: header, question, records with aged TTLs, OPT; or
// without records and with TC=1 when that does not fit.
#include <optional>

#include "dataplane/answer.hpp"
#include "tests/fuzz/input.hpp"
#include "tests/fuzz/work.hpp"
#include "tests/support/messages.hpp"

using namespace millrace;
using namespace millrace::dataplane;
using fuzz::require;
using test::Bytes;
using test::operator+;

namespace {

struct Record {
    Bytes owner;
    unsigned type, qclass;
    std::uint32_t ttl;
    Bytes rdata;

    Bytes wire(std::uint32_t shown) const {
        return owner + test::u16(type) + test::u16(qclass) + test::u32(shown) +
               test::u16(unsigned(rdata.size())) + rdata;
    }
};

/// Everything that a reply is made of.
struct Scene {
    Head head;
    Bytes question;
    unsigned rcode = 0;
    bool authentic = false;
    std::optional<std::uint16_t> info;
    std::string info_text;
    std::vector<Record> records;
    std::size_t answers = 0;
    Time born{}, now{};
    answer::Age age{};
    std::size_t room = 0;
};

Head draw_head(fuzz::Input& in) {
    unsigned bits = in.u8();
    Head head;
    head.id = std::uint16_t(in.u16());
    head.recursion_desired = bits & 1;
    head.checking_disabled = bits & 2;
    head.authentic_wanted = bits & 4;
    head.edns = bits & 16;
    head.dnssec_ok = (bits & 24) == 24;
    head.limit = std::uint16_t(std::max(512u, in.u16()));
    head.opcode = (bits & 0xe0) == 0xe0 ? in.u8() & 15 : 0;
    return head;
}

Record draw_record(fuzz::Input& in) {
    unsigned kind = in.u8();
    Record record{{0xc0, 12}, in.u16(), 1, in.u16() << 16 | in.u16(), {}};
    if (kind & 1) record.owner = test::labels(std::string((kind >> 1) % 63 + 1, 'o'));
    record.rdata = in.take(in.u16() % 4096);
    if (kind & 0x80) record.rdata.resize(in.u16() % 16384); // long without a long input
    return record;
}

Scene draw(fuzz::Input& in) {
    Scene s;
    s.head = draw_head(in);
    s.question = in.take(in.u8() % 256 + 5);
    if (s.question.size() < 5) s.question.clear(); // an error before the question was read
    s.head.question_size = std::uint16_t(s.question.size());
    unsigned bits = in.u8();
    s.rcode = bits & 15;
    s.authentic = bits & 16;
    if (bits & 32) {
        s.info = std::uint16_t(in.u16() % 0xffff);
        s.info_text.assign(in.u8() % (cache::limits::info_octets + 1), 'x');
    }
    s.age = bits & 64 ? answer::Age::stale : answer::Age::counted;
    unsigned room = in.u8();
    s.room = room % 4 == 0 ? 65535 : room % 4 == 1 ? in.u16() : in.u16() % 2048;
    s.born = std::chrono::milliseconds(in.u16() << 16 | in.u16());
    s.now = s.born + std::chrono::milliseconds(std::int64_t(in.u16() << 16 | in.u16()) - 1000);
    std::size_t octets = 0;
    while (!in.empty()) {
        Record record = draw_record(in);
        octets += record.wire(0).size();
        if (octets + 12 + s.question.size() > 65535) break; // build_entry stores nothing longer
        s.records.push_back(std::move(record));
    }
    s.answers = s.records.empty() ? 0 : bits % (s.records.size() + 1);
    return s;
}

cache::EntryPtr make_entry(const Scene& s) {
    Bytes records;
    std::vector<std::uint16_t> offsets;
    for (const Record& record : s.records) {
        offsets.push_back(std::uint16_t(records.size() + record.owner.size() + 4));
        records = std::move(records) + record.wire(record.ttl);
    }
    cache::EntryDraft draft;
    draft.rcode = std::uint8_t(s.rcode);
    draft.authentic = s.authentic;
    draft.info = s.info;
    draft.info_text = s.info_text;
    draft.born = s.born;
    draft.answers = std::uint16_t(s.answers);
    draft.authorities = std::uint16_t(s.records.size() - s.answers);
    draft.records = records;
    draft.ttl_offsets = offsets;
    return cache::Entry::make(draft);
}

Bytes opt(const Head& head, unsigned rcode, std::optional<std::uint16_t> info, const std::string& text) {
    if (!head.edns) return {};
    Bytes ede = info ? test::u16(15) + test::u16(unsigned(2 + text.size())) + test::u16(*info) : Bytes{};
    if (info) ede.insert(ede.end(), text.begin(), text.end());
    return test::opt(1232, rcode >> 4 << 24 | (head.dnssec_ok ? 0x8000u : 0), ede);
}

unsigned flags(const Head& head, unsigned rcode, bool authentic, bool truncated) {
    return 0x8000u | unsigned(head.opcode) << 11 | truncated << 9 | head.recursion_desired << 8 |
           (head.opcode == 0) << 7 | (authentic && head.authentic_wanted) << 5 | head.checking_disabled << 4 |
           (rcode & 15);
}

struct Said {
    unsigned rcode;
    bool authentic = false, truncated = false;
    std::optional<std::uint16_t> info{};
    std::string info_text{};
    Bytes records{};
    std::size_t answers = 0, authorities = 0;
};

/// The message that says it, or, when that passes the limit or the room, the truncated one.
Bytes expect(const Head& head, const Bytes& question, const Said& said, std::size_t room) {
    auto message = [&](const Said& s) {
        return test::header(head.id, flags(head, s.rcode, s.authentic, s.truncated), !question.empty(),
                            unsigned(s.answers), unsigned(s.authorities), head.edns) +
               question + s.records + opt(head, s.rcode, s.info, s.info_text);
    };
    Bytes whole = message(said);
    if (whole.size() <= std::min<std::size_t>(head.limit, room)) return whole;
    Said silent = said;
    silent.info.reset();
    whole = message(silent);
    if (whole.size() <= std::min<std::size_t>(head.limit, room)) return whole;
    Bytes truncated = message({.rcode = said.rcode, .truncated = true});
    return truncated.size() <= room ? truncated : Bytes{};
}

/// What was written is what was expected, and nothing was written behind it.
template <typename Write>
void check(const Scene& s, const Said& said, Write write) {
    Bytes buffer(12, 0xee);
    buffer = std::move(buffer) + s.question; // the query is still there
    buffer.resize(s.room, 0xee);
    std::span<const std::uint8_t> in_place(buffer.data() + 12, s.question.size());
    Bytes copy = s.question; // what a waiter keeps of it
    copy.reserve(1);
    bool apart = s.room < 12 + s.question.size() || s.head.id & 1;
    std::size_t size = write(apart ? std::span<const std::uint8_t>(copy) : in_place, buffer);
    Bytes expected = expect(s.head, s.question, said, s.room);
    require(size == expected.size() && size <= std::max<std::size_t>(s.head.limit, 512));
    if (size == 0) return;
    require(std::equal(expected.begin(), expected.end(), buffer.begin()));
    std::size_t end = std::max(size, 12 + s.question.size());
    for (std::size_t at = end; at < std::min(end + 64, s.room); ++at) require(buffer[at] == 0xee);
}

Said say(const Scene& s) {
    Said said{.rcode = s.rcode, .authentic = s.authentic, .info = s.info, .info_text = s.info_text};
    std::int64_t elapsed = std::max<std::int64_t>(0, (s.now - s.born) / 1s);
    for (const Record& record : s.records) {
        auto left = std::uint32_t(std::max<std::int64_t>(0, std::int64_t(record.ttl) - elapsed));
        said.records = std::move(said.records) + record.wire(s.age == answer::Age::stale ? 30 : left);
    }
    if (s.age == answer::Age::stale) {
        said.info = s.rcode == 3 ? 19 : 3;
        said.info_text.clear();
    }
    said.answers = s.answers;
    said.authorities = s.records.size() - s.answers;
    return said;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Work work({.for_input = 100'000, .for_octet = 100}, size);
    fuzz::Input in(data, size);
    Scene s = draw(in);
    auto entry = make_entry(s);
    check(s, say(s), [&](auto question, auto& out) {
        return answer::write(s.head, question, *entry, s.now, s.age, out);
    });
    check(s, {.rcode = 2, .info = s.info}, [&](auto question, auto& out) {
        return answer::write_failure(s.head, question, s.info.value_or(cache::Entry::no_info), out);
    });
    check(s, {.rcode = 5, .info = 18},
          [&](auto question, auto& out) { return answer::write_refused(s.head, question, out); });
    Query query;
    query.head = s.head;
    query.rcode = s.authentic ? Rcode::badvers : Rcode(s.rcode);
    query.action = Query::Action::reply;
    check(s, {.rcode = unsigned(query.rcode)},
          [&](auto question, auto& out) { return answer::write(query, question, out); });
    return 0;
}
