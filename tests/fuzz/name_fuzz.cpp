// libFuzzer: names from the wire, from text and back, and who is below whom, beside lists of labels.
#include <string>

#include "cache/name.hpp"
#include "tests/fuzz/input.hpp"
#include "tests/fuzz/work.hpp"

using namespace millrace;
using fuzz::require;

namespace {

using Bytes = std::vector<std::uint8_t>;
using Labels = std::vector<std::string>;

/// The folded labels of an uncompressed name and where it ends; false when it is none.
bool split(std::span<const std::uint8_t> bytes, Labels& labels, std::size_t& end) {
    for (end = 0; end < bytes.size() && end < 255; end += 1u + bytes[end]) {
        if (bytes[end] == 0) return ++end <= 255;
        if (bytes[end] > 63 || end + bytes[end] >= bytes.size()) return false;
        std::string& label = labels.emplace_back();
        for (unsigned i = 1; i <= bytes[end]; ++i) {
            auto c = char(bytes[end + i]);
            label += c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
        }
    }
    return false;
}

Bytes join(const Labels& labels) {
    Bytes wire;
    for (const std::string& label : labels) {
        wire.push_back(std::uint8_t(label.size()));
        wire.insert(wire.end(), label.begin(), label.end());
    }
    wire.push_back(0);
    return wire;
}

/// To text and back is the same name, and the text is printable.
void check_text(const cache::Name& name) {
    std::string text = cache::to_string(name.bytes());
    for (char c : text) require(c > 0x20 && c < 0x7f && c != '"');
    require(text.back() == '.');
    auto again = cache::parse_name(text);
    require(again && *again == name);
    if (name.size == 1) return;
    text.pop_back(); // the final dot may be missing
    again = cache::parse_name(text);
    require(again && *again == name);
}

void read(const Bytes& bytes, cache::Name& name, Labels& labels) {
    cache::WireReader in(bytes);
    std::size_t end = 0;
    bool expected = split(bytes, labels, end);
    require(cache::read_name(in, name) == expected && in.ok() == expected);
    if (!expected) {
        name = *cache::parse_name(".");
        labels.clear();
        return;
    }
    Bytes wire = join(labels);
    require(in.position() == end && std::ranges::equal(name.bytes(), wire));
    check_text(name);
}

/// Text of any kind is a canonical name or nothing.
void parse(const Bytes& bytes) {
    auto name = cache::parse_name({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    if (!name) return;
    Labels labels;
    std::size_t end = 0;
    require(split(name->bytes(), labels, end) && end == name->size);
    require(std::ranges::equal(name->bytes(), join(labels))); // folded already
    check_text(*name);
}

bool ends_with(const Labels& name, const Labels& zone) {
    return name.size() >= zone.size() && std::equal(zone.rbegin(), zone.rend(), name.rbegin());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Work work({.for_input = 600'000, .for_octet = 50}, size);
    fuzz::Input in(data, size);
    Bytes first = in.take(in.u16() % 512), second = in.rest();
    cache::Name one, other;
    Labels labels_of_one, labels_of_other;
    read(first, one, labels_of_one);
    read(second, other, labels_of_other);
    require(cache::is_at_or_below(one.bytes(), other.bytes()) == ends_with(labels_of_one, labels_of_other));
    require(cache::is_at_or_below(other.bytes(), one.bytes()) == ends_with(labels_of_other, labels_of_one));
    // Every ancestor has the name below it.
    for (; !labels_of_one.empty(); labels_of_one.erase(labels_of_one.begin()))
        require(cache::is_at_or_below(one.bytes(), join(labels_of_one)));
    parse(first);
    parse(second);
    return 0;
}
