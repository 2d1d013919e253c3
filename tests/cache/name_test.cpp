#include "cache/name.hpp"

#include <gtest/gtest.h>

namespace millrace::cache {
namespace {

std::vector<std::uint8_t> bytes(std::string_view text) {
    return {text.begin(), text.end()};
}

TEST(Wire, ACursorStaysFailed) {
    auto data = bytes("\x01\x02\x03");
    WireReader in(data);
    EXPECT_EQ(in.u16(), 0x0102);
    EXPECT_EQ(in.u16(), 0);
    EXPECT_FALSE(in.ok());
    EXPECT_EQ(in.u8(), 0) << "one octet is left, but the cursor has failed";
    EXPECT_EQ(in.remaining(), 0u);
}

TEST(Wire, AWriterDropsWhatDoesNotFit) {
    std::array<std::uint8_t, 4> room{};
    WireWriter out(room);
    out.u16(0x0102);
    out.u32(0xffffffff);
    EXPECT_FALSE(out.ok());
    out.u8(7);
    EXPECT_EQ(room, (std::array<std::uint8_t, 4>{1, 2, 0xff, 0xff}));
}

TEST(Wire, SkipNameStopsAtPointerAndRoot) {
    for (auto [wire, end] : {std::pair{std::string("\x01"
                                                   "a\xc0\x0c!",
                                                   5),
                                       4u},
                             {std::string("\x01"
                                          "a\0!",
                                          4),
                              3u}}) {
        auto data = bytes(wire);
        WireReader in(data);
        in.skip_name();
        EXPECT_TRUE(in.ok());
        EXPECT_EQ(in.position(), end);
    }
}

TEST(Name, FoldsLettersOnly) {
    auto data = bytes(std::string("\x05WwW[@\x03"
                                  "COM\0",
                                  11));
    WireReader in(data);
    Name name;
    ASSERT_TRUE(read_name(in, name));
    EXPECT_EQ(to_string(name.bytes()), "www[@.com.");
}

TEST(Name, RefusesWhatAQuestionMayNotHold) {
    std::string too_long;
    for (int i = 0; i < 4; ++i) too_long += '\x3f' + std::string(63, 'a');
    struct Row {
        const char* what;
        std::string wire;
    } rows[] = {{"pointer", std::string("\xc0\x0c", 2)},
                {"0x40 label", std::string("\x41" + std::string(65, 'a') + '\0')},
                {"0x80 label", std::string("\x81" + std::string(129, 'a') + '\0')},
                {"256 octets", too_long + '\0'},
                {"cut in a label", std::string("\x05"
                                               "ab")},
                {"no root", std::string("\x01"
                                        "a")},
                {"nothing", ""}};
    for (const Row& row : rows) {
        auto data = bytes(row.wire);
        WireReader in(data);
        Name name;
        EXPECT_FALSE(read_name(in, name)) << row.what;
        EXPECT_FALSE(in.ok()) << row.what;
    }
}

TEST(Name, LongestNameFits) {
    std::string longest;
    for (int i = 0; i < 3; ++i) longest += '\x3f' + std::string(63, 'A');
    longest += '\x3d' + std::string(61, 'A') + '\0';
    auto data = bytes(longest);
    WireReader in(data);
    Name name;
    ASSERT_TRUE(read_name(in, name));
    EXPECT_EQ(name.size, 255);
    EXPECT_EQ(parse_name(to_string(name.bytes())), name);
}

TEST(Name, TextRoundTrip) {
    for (const char* text : {".", "example.", "www.example.com.", "a\\.b.c.", "\\000\\255x.y."}) {
        auto name = parse_name(text);
        ASSERT_TRUE(name) << text;
        auto again = parse_name(to_string(name->bytes()));
        ASSERT_TRUE(again) << text;
        EXPECT_EQ(*again, *name) << text;
    }
    EXPECT_EQ(to_string(parse_name("WWW.Example")->bytes()), "www.example.");
    EXPECT_EQ(to_string(parse_name("a\\.b.c")->bytes()), "a\\046b.c.");
    for (const char* bad : {"", "..", "a..b", ".a", "a\\", "a\\25", "a\\256", "\\2x5"})
        EXPECT_FALSE(parse_name(bad)) << bad;
    EXPECT_FALSE(parse_name(std::string(64, 'a')));
}

TEST(Name, AtOrBelow) {
    auto below = [](const char* name, const char* zone) {
        return is_at_or_below(parse_name(name)->bytes(), parse_name(zone)->bytes());
    };
    EXPECT_TRUE(below("www.example.com", "example.com"));
    EXPECT_TRUE(below("example.com", "example.com"));
    EXPECT_TRUE(below("example.com", "."));
    EXPECT_FALSE(below("notexample.com", "example.com"));
    EXPECT_FALSE(below("com", "example.com"));
}

} // namespace
} // namespace millrace::cache
