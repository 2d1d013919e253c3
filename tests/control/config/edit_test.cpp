// Values changed in the text of a configuration, and that all the rest of it stays.
#include "control/config/edit.hpp"

#include <fstream>
#include <iterator>

#include "control/config/differences.hpp"
#include "tests/control/config/config_text.hpp"

namespace millrace::control {
namespace {

std::string text_of(const EditResult& result) {
    return result ? result->text : "error: " + result.error();
}

TEST(Edit, AValueIsReplacedWhereItStands) {
    EXPECT_EQ(text_of(set_value("a:\n  b:   5s     # why\n  c: 1\n", "a.b", "7m")),
              "a:\n  b:   7m     # why\n  c: 1\n");
    EXPECT_EQ(text_of(set_value("a: {b: 1, c: \"x, y\"} # z", "a.c", "2")), "a: {b: 1, c: 2} # z");
    EXPECT_EQ(text_of(set_value("a: 'it''s' # z\n", "a", "[1, 2]")), "a: [1, 2] # z\n");
    EXPECT_EQ(text_of(set_value("l:\n- x\n- \"y\" # y\n", "l[1]", "z")), "l:\n- x\n- z # y\n");
    EXPECT_EQ(text_of(set_value("l: [a, b, c]\n", "l[1]", "z")), "l: [a, z, c]\n");
    EXPECT_EQ(text_of(set_value("g:\n  - n: a\n    s: [1]\n  - n: b\n    s: [2]\n", "g[1].s", "[3]")),
              "g:\n  - n: a\n    s: [1]\n  - n: b\n    s: [3]\n");
}

TEST(Edit, PlacesAreInOctets) {
    EXPECT_EQ(text_of(set_value("# \xc3\xa9\r\na: 1 # \xc3\xbc\r\nb: {c: 2}\r\n", "b.c", "3")),
              "# \xc3\xa9\r\na: 1 # \xc3\xbc\r\nb: {c: 3}\r\n");
    EXPECT_EQ(text_of(set_value("# \xc3\xa9\na: 1\n", "a", "2")), "# \xc3\xa9\na: 2\n");
}

TEST(Edit, WhatIsMissingIsMade) {
    EXPECT_EQ(text_of(set_value("# head\na: 1\n", "c.d.e", "5")), "# head\na: 1\nc: {d: {e: 5}}\n");
    EXPECT_EQ(text_of(set_value("a:\n  b: 1 # one\n# next\nz: 2\n", "a.c", "5")),
              "a:\n  b: 1 # one\n  c: 5\n# next\nz: 2\n");
    EXPECT_EQ(text_of(set_value("a: {}\n", "a.c", "5")), "a: {c: 5}\n");
    EXPECT_EQ(text_of(set_value("a: {b: 1}\n", "a.c", "5")), "a: {b: 1, c: 5}\n");
    EXPECT_EQ(text_of(set_value("a:   # nothing yet\nb: 2\n", "a.c", "5")),
              "a: {c: 5}   # nothing yet\nb: 2\n");
    EXPECT_EQ(text_of(set_value("# only this\n", "a", "1")), "# only this\na: 1\n");
    EXPECT_EQ(text_of(set_value("", "a", "1")), "a: 1\n");
    EXPECT_EQ(text_of(set_value("a: 1", "b", "1")), "a: 1\nb: 1");
}

TEST(Edit, ItemsComeAndGo) {
    EXPECT_EQ(text_of(append_item("l: []\n", "l", "x")), "l: [x]\n");
    EXPECT_EQ(text_of(append_item("l: [a,\n    b] # end\n", "l", "x")), "l: [a,\n    b, x] # end\n");
    EXPECT_EQ(text_of(append_item("l:\n  - a\n  - b # two\nm: 1\n", "l", "x")),
              "l:\n  - a\n  - b # two\n  - x\nm: 1\n");
    EXPECT_EQ(text_of(append_item("l:\n- a\nm: 1\n", "l", "x")), "l:\n- a\n- x\nm: 1\n");
    EXPECT_EQ(text_of(append_item("a: 1\n", "l", "x")), "a: 1\nl: [x]\n");
    EXPECT_EQ(text_of(remove_item("l: [a, b, c]\n", "l[0]")), "l: [b, c]\n");
    EXPECT_EQ(text_of(remove_item("l: [a, b, c]\n", "l[2]")), "l: [a, b]\n");
    EXPECT_EQ(text_of(remove_item("l:\n  - a # A\n  - b # B\n", "l[0]")), "l:\n  - b # B\n");
    EXPECT_EQ(text_of(remove_item("l: [a]\n", "l[0]")), "l: []\n");
    EXPECT_EQ(text_of(remove_item("l:\n  - a\nm: 1\n", "l[0]")), "l: []\nm: 1\n");
    EXPECT_EQ(text_of(remove_item("l:\n- a it's   # note\n- b\n", "l[0]")), "l:\n- b\n");
}

TEST(Edit, AServerThatIsItsAddressAloneBecomesAMap) {
    std::string key = "upstreams[0].servers[1].weight";
    EXPECT_EQ(text_of(set_value("upstreams:\n  - servers: [\"[::1]:53\", \"[::2]:53\"] # two\n", key, "5")),
              "upstreams:\n  - servers: [\"[::1]:53\", {address: \"[::2]:53\", weight: 5}] # two\n");
    EXPECT_EQ(text_of(set_value("upstreams:\n- servers:\n  - 192.0.2.1\n  - 2001:db8::1 # b\n", key, "5")),
              "upstreams:\n- servers:\n  - 192.0.2.1\n  - {address: 2001:db8::1, weight: 5} # b\n");
    EXPECT_EQ(text_of(set_value("upstreams: [{servers: [a, {address: b}]}]\n", key, "5")),
              "upstreams: [{servers: [a, {address: b, weight: 5}]}]\n");
    EXPECT_FALSE(set_value("upstreams: [{servers: [a]}]\n", key, "5"));
}

TEST(Edit, CommentsThatGoAreNamed) {
    auto whole = set_value("l:\n  # first\n  - a\n  - b # two\n", "l", "[x]");
    ASSERT_TRUE(whole);
    EXPECT_EQ(whole->text, "l: [x] # two\n");
    EXPECT_EQ(whole->lost, std::vector<std::string>{"# first"});
    auto item = remove_item("l:\n  - a # A\n  # of b\n  - b # B\n", "l[0]");
    ASSERT_TRUE(item);
    EXPECT_EQ(item->text, "l:\n  # of b\n  - b # B\n");
    EXPECT_TRUE(item->lost.empty()) << "what stands behind the item on its line goes with it";
}

TEST(Edit, CommentsBehindTabsAreSome) {
    auto edited = set_value("allow: [10.0.0.0/8,\t# office\n  'x']\n", "allow", "[]");
    ASSERT_TRUE(edited) << edited.error();
    EXPECT_EQ(edited->lost, std::vector<std::string>{"# office"});
}

TEST(Edit, RefusesWhatItCannotDoAlone) {
    for (const char* key : {"", ".", "a..b", "a.", "a[", "a[x]", "a[1", "[0]", "a b", "a: b"})
        EXPECT_FALSE(set_value("a: 1\n", key, "1")) << key;
    EXPECT_FALSE(set_value("a: &x 1\nb: *x\n", "a", "2")) << "the alias would change as well";
    EXPECT_FALSE(set_value("a: one\n  two\n", "a", "2")) << "goes on in the next line";
    EXPECT_FALSE(set_value("a: |\n  one\n", "a", "2"));
    EXPECT_FALSE(set_value("a: 1\n", "a", "[1")) << "no YAML";
    EXPECT_FALSE(set_value("a: 1\n", "a", "1\nb: 2")) << "more than one value";
    EXPECT_FALSE(set_value("a: {b: 1}\n", "a.b", "1, c: 2"));
    EXPECT_FALSE(set_value("a: 1\n", "a", "2 # why")) << "with each change one more";
    EXPECT_TRUE(set_value("a: 1\n", "a", "\"2 # why\""));
    EXPECT_FALSE(set_value("a: 1\n", "b", std::string(1 << 20, '1')));
    EXPECT_FALSE(set_value("a: 1\n", "a.b", "1"));
    EXPECT_FALSE(set_value("a: [1]\n", "a[1]", "1"));
    EXPECT_FALSE(remove_item("a: 1\n", "a"));
    EXPECT_TRUE(has_key("a: {b: 1}\n", "a.b"));
    EXPECT_FALSE(has_key("a: {b: }\n", "a.b"));
    EXPECT_FALSE(has_key("a: 1\n", "a.b"));
}

TEST(Edit, WhatIsRefusedIsSaidHowToWrite) {
    auto why = [](const char* text, const char* key, const char* value) {
        auto edited = set_value(text, key, value);
        return edited ? "done: " + edited->text : edited.error();
    };
    EXPECT_EQ(why("a: 1\n", "routes[0].suffix", "x.example"),
              "the file has no routes, so no item of it can be set; set it whole, such as routes "
              "'[{suffix: x.example}]'");
    EXPECT_EQ(why("a: {b: 1}\n", "a.c[2]", "x"),
              "the file has no a.c, so no item of it can be set; set it whole, such as a.c '[x]'");
    EXPECT_EQ(why("a: {l: [1]}\n", "a.l[1]", "2"),
              "a.l has 1 items, counted from 0; for one more set a.l whole");
    EXPECT_EQ(why("l: [{a: 1}]\n", "l.a", "2"),
              "l is a list: l[0] is its first item, of which l[0].a may be a key");
    EXPECT_EQ(why("a: {b: 1}\n", "a.b[0]", "2"), "a.b is no list");
    EXPECT_EQ(why("a: {b: 1}\n", "a.b.c", "2"), "a.b is no map");
}

/// Each key of the sample as it is printed, set to what it is: the document stays the same, and its comments.
TEST(Edit, EveryKeyOfTheSampleCanBeSet) {
    std::ifstream file(sample_path());
    const std::string sample{std::istreambuf_iterator<char>(file), {}};
    Config config = parsed(sample);
    auto comments = [](const std::string& text) { return std::ranges::count(text, '#'); };
    for (const auto& [key, value] : values_of(config)) {
        auto edited = set_value(sample, key, value);
        ASSERT_TRUE(edited) << key << ": " << edited.error();
        EXPECT_EQ(parsed(edited->text), config) << key;
        EXPECT_EQ(comments(edited->text) + std::ssize(edited->lost), comments(sample)) << key;
    }
}

} // namespace
} // namespace millrace::control
