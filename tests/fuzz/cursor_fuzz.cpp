// libFuzzer: WireReader and WireWriter, step by step, beside a reference that is plain arithmetic on indexes.
#include <optional>

#include "cache/wire.hpp"
#include "tests/fuzz/input.hpp"
#include "tests/fuzz/work.hpp"

using namespace millrace;
using fuzz::require;

namespace {

using Bytes = std::vector<std::uint8_t>;

/// Where the WireReader ought to be; none once it has failed.
struct ExpectedCursor {
    const Bytes& bytes;
    std::optional<std::size_t> at = 0;

    /// Steps over `count` octets and gives their number in network byte order, as far as 32 bits hold it.
    std::uint32_t advance(std::size_t count) {
        if (!at || *at + count > bytes.size()) {
            at.reset();
            return 0;
        }
        std::uint32_t value = 0;
        for (std::size_t i = 0; i < count; ++i) value = value << 8 | bytes[*at + i];
        *at += count;
        return value;
    }
    /// RFC 1035 4.1.4: labels up to the root or one pointer, 255 octets at most.
    void advance_name() {
        std::size_t end = at.value_or(0), octets = 1;
        for (; at && end < bytes.size() && bytes[end] != 0; end += 1u + bytes[end]) {
            if (bytes[end] >= 0xc0) {
                advance(end + 2 - *at);
                return;
            }
            octets += 1u + bytes[end];
            if (bytes[end] > 63 || octets > 255) return at.reset();
        }
        if (at) advance(end + 1 - *at);
    }
};

void read(fuzz::Input& in) {
    Bytes script = in.take(in.u8()), bytes = in.rest();
    cache::WireReader reader(bytes);
    ExpectedCursor cursor{bytes};
    fuzz::Input steps(script.data(), script.size());
    while (!steps.empty()) {
        unsigned step = steps.u8();
        std::size_t count = step % 7 == 3 || step % 7 == 4 ? steps.u8() : 0;
        switch (step % 7) {
        case 0: require(reader.u8() == cursor.advance(1)); break;
        case 1: require(reader.u16() == cursor.advance(2)); break;
        case 2: {
            // A number that is cut short counts as 0 or as what was there of it, and the cursor has failed.
            std::uint32_t value = reader.u32(), expected = cursor.advance(4);
            require(!cursor.at || value == expected);
            break;
        }
        case 3: reader.skip(count), cursor.advance(count); break;
        case 4: {
            auto taken = reader.take(count);
            std::size_t from = cursor.at.value_or(0);
            cursor.advance(count);
            require(taken.size() == (cursor.at ? count : 0));
            require(taken.empty() || taken.data() == bytes.data() + from);
            break;
        }
        case 5: reader.skip_name(), cursor.advance_name(); break;
        case 6:
            if (step == 6) reader.fail(), cursor.at.reset();
        }
        require(reader.ok() == cursor.at.has_value());
        require(reader.remaining() == (cursor.at ? bytes.size() - *cursor.at : 0));
        require(!cursor.at || reader.position() == *cursor.at);
    }
}

void write(fuzz::Input& in) {
    std::size_t size = in.u16() % 2048;
    Bytes room(size, 0xee), expected;
    cache::WireWriter writer(room);
    bool ok = true;
    /// Each octet of a number stands for itself: one that does not fit wholly may leave its beginning.
    auto put = [&](std::span<const std::uint8_t> octets, bool whole) {
        if (whole && expected.size() + octets.size() > size) ok = ok && octets.empty();
        for (std::uint8_t octet : octets) {
            ok = ok && expected.size() < size;
            if (ok) expected.push_back(octet);
        }
    };
    while (!in.empty()) {
        unsigned step = in.u8();
        Bytes octets = in.take(step % 4 == 3 ? in.u8() : std::size_t(1) << step % 4);
        octets.resize(step % 4 == 3 ? octets.size() : std::size_t(1) << step % 4);
        put(octets, step % 4 == 3);
        if (step % 4 == 0) writer.u8(octets[0]);
        if (step % 4 == 1) writer.u16(cache::load_u16(octets.data()));
        if (step % 4 == 2) writer.u32(cache::load_u32(octets.data()));
        if (step % 4 == 3) writer.bytes(octets);
        require(writer.ok() == ok && writer.size() == expected.size());
    }
    expected.resize(size, 0xee); // what was not written is as it was
    require(room == expected);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Work work({.for_input = 5'000, .for_octet = 60}, size);
    fuzz::Input in(data, size);
    in.flag() ? read(in) : write(in);
    return 0;
}
