// The file of names that are kept warm.
#include "control/local/warm_list.hpp"

#include "control/limits.hpp"
#include "tests/control/local/local_fixture.hpp"

namespace millrace::control {
namespace {

class WarmListTest : public LocalBuildTest {
  protected:
    void write(const std::string& text) {
        live.keep_warm = folder / "warm.txt";
        std::ofstream(live.keep_warm) << text;
    }
    std::vector<std::string> questions() {
        std::vector<std::string> out;
        for (std::size_t i = 0; i < warm.size(); ++i) {
            cache::Key key = warm.key(i);
            EXPECT_EQ(key.qclass, 1);
            EXPECT_EQ(key.flavour, cache::plain);
            out.push_back(cache::to_string(key.name.bytes()) + " " + std::to_string(key.qtype));
        }
        return out;
    }
    WarmList warm;
};

TEST_F(WarmListTest, NamesAndTypes) {
    write("# names\n"
          "WWW.example.com\n"
          "\n"
          "example.com.  MX TYPE65\t# mail\r\n"
          "#bad.example\n");
    auto read = read_warm_list(live.keep_warm, warm);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->names, 2u);
    EXPECT_EQ(read->skipped, 0u);
    EXPECT_EQ(questions(), (std::vector<std::string>{"www.example.com. 1", "www.example.com. 28",
                                                     "example.com. 15", "example.com. 65"}));
}

TEST_F(WarmListTest, BadLinesAreSkippedAndNamed) {
    write("a..b\n"
          "a.com NOTYPE\n"
          "b.com AXFR\n"
          "c.com A A A A A A A A A\n" +
          std::string(limits::list_line + 1, 'x') + "\nd.com A\n");
    auto read = read_warm_list(live.keep_warm, warm);
    ASSERT_TRUE(read);
    EXPECT_EQ(questions(), std::vector<std::string>{"d.com. 1"});
    ASSERT_EQ(read->skipped, 5u);
    EXPECT_EQ(read->first[1].line, 2);
    EXPECT_EQ(read->first[1].why, "no name with types that can be looked up: \"a.com NOTYPE\"");
}

TEST_F(WarmListTest, IsReadWithTheConfigurationAndKnownAmongTheLists) {
    write("a.com\n");
    build();
    ASSERT_EQ(lists.size(), 1u);
    EXPECT_EQ(lists[0].file, live.keep_warm);
    EXPECT_EQ(lists[0].names, 1u);
    live.keep_warm = folder / "none";
    EXPECT_EQ(error(), live.keep_warm +
                           ": cache.keep-warm: expected a readable file, found No such file or directory");
    live.keep_warm = folder;
    EXPECT_EQ(error(), live.keep_warm + ": cache.keep-warm: expected a regular file, found something else");
}

TEST_F(WarmListTest, TooManyNamesAreRefused) {
    std::string text;
    for (std::size_t i = 0; i <= limits::warm_names; ++i) text += std::to_string(i) + ".com A\n";
    write(text);
    EXPECT_EQ(error(),
              live.keep_warm + ":100001: cache.keep-warm: expected at most 100000 names, found more");
}

} // namespace
} // namespace millrace::control
