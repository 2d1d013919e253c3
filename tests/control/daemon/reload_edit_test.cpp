// Edits of the running configuration take the way of a file, and the file is not read for them.
#include <filesystem>

#include "control/config/yaml.hpp"
#include "tests/control/daemon/reload_fixture.hpp"

namespace millrace::control {
namespace {

class ReloadEdit : public ReloadTest {
  protected:
    std::string set(const std::string& key, const std::string& value) {
        wait_for_helper();
        result.reset();
        auto edit = [=](const std::string& text, const Config::Live&) { return set_value(text, key, value); };
        reload.edit(key, edit, [this](auto outcome) { result = std::move(outcome); });
        return outcome();
    }
    std::string read_file(const std::string& text) {
        result.reset();
        begin(text);
        return outcome();
    }
    /// The keys that were changed, or the error.
    std::string outcome() {
        io.restart();
        auto working = asio::make_work_guard(io);
        while (!result) {
            io.poll();
            flushes.tick();
            worker.quiescent();
        }
        if (!*result) return result->error();
        std::string keys;
        for (const std::string& key : (*result)->changed) keys += (keys.empty() ? "" : " ") + key;
        return keys;
    }
};

TEST_F(ReloadEdit, IsInEffectAndTheFileIsNotRead) {
    std::ofstream(path) << "no: configuration\n";
    EXPECT_EQ(set("cache.stale", "5s"), "cache.stale");
    EXPECT_EQ(reload.current().stale, 5s);
    EXPECT_EQ(table.floor(0), last) << "what is cached was made with another limit";
    EXPECT_TRUE(reload.document().differs());
    EXPECT_EQ(reload.document().edits, std::vector<std::string>{"cache.stale"});
    EXPECT_EQ(reload.document().text, servers + "cache: {stale: 5s}\n");
}

TEST_F(ReloadEdit, ABadOneChangesNothing) {
    EXPECT_EQ(set("cache.stale", "5lightyears"),
              "not changed: cache.stale: expected a duration from 0s to 7d (units ms, s, m, h, d), found "
              "\"5lightyears\"");
    EXPECT_EQ(set("allow", "10.0.0.0/8"),
              "not changed: allow: expected a list, such as [10.0.0.0/8], found \"10.0.0.0/8\"");
    EXPECT_EQ(set("routes[0].suffix", "x.example").substr(0, 57),
              "not changed: routes[0].suffix: the file has no routes, so");
    EXPECT_EQ(set("cash.stale", "5s").substr(0, 30), "not changed: \"cash\": expected ");
    EXPECT_EQ(set("cache..stale", "5s").substr(0, 26), "not changed: cache..stale:");
    EXPECT_FALSE(reload.document().differs());
    EXPECT_EQ(reload.current().stale, 24h);
}

TEST_F(ReloadEdit, AKeyThatNeedsARestartIsRefused) {
    EXPECT_EQ(set("cache.entries", "5"), "not changed: cache.entries needs a restart: write it into " + path +
                                             " and start millraced again");
    EXPECT_EQ(read_file(servers + "cache: {entries: 5}\n"), "");
    EXPECT_EQ((*result)->needs_restart, std::vector<std::string>{"cache.entries"});
    EXPECT_EQ(set("cache.stale", "5s"), "cache.stale") << "what the file has so already is no hindrance";
}

TEST_F(ReloadEdit, TheFileDropsThemAndSaysSo) {
    set("cache.stale", "6s");
    set("cache.stale", "5s");
    set("cache.prefetch", "7");
    EXPECT_EQ(read_file(servers), "cache.stale cache.prefetch");
    EXPECT_EQ((*result)->dropped, 2u);
    EXPECT_FALSE(reload.document().differs());
    EXPECT_EQ(set("cache.stale", "5s"), "cache.stale");
}

TEST_F(ReloadEdit, ListsAreNotReadForWhatDoesNotConcernThem) {
    std::string list = folder / "list";
    std::ofstream(list) << "blocked.example\n";
    EXPECT_EQ(read_file(servers + "block: [{file: " + list + "}]\n"), "block");
    const auto before = rules.get().local;
    std::ofstream(list) << "blocked.example\nanother.example\n";
    set("cache.prefetch", "7");
    EXPECT_EQ(rules.get().local, before);
    set("local.records", "[\"a.example. A 192.0.2.1\"]");
    EXPECT_NE(rules.get().local, before);
    ASSERT_TRUE(*result);
    EXPECT_EQ((*result)->lists.size(), 1u);
}

TEST_F(ReloadEdit, TheyAreTakenInTheirOrder) {
    wait_for_helper();
    std::vector<std::string> seen;
    for (const char* value : {"1s", "2s", "3s"}) {
        auto edit = [=](const std::string& text, const Config::Live&) {
            return set_value(text, "cache.stale", value);
        };
        reload.edit("cache.stale", edit, [&](const auto&) {
            seen.push_back(yaml::duration_text(reload.current().stale));
            if (seen.size() == 3) result = Reload::Changes{};
        });
    }
    result.reset();
    outcome();
    EXPECT_EQ(seen, (std::vector<std::string>{"1s", "2s", "3s"}));
}

TEST_F(ReloadEdit, WhoLooksIsCalledBackOnThisThread) {
    wait_for_helper();
    auto here = std::this_thread::get_id();
    bool is_looked = false;
    ASSERT_TRUE(reload.look([&, here](const Document& document, const Config& running) {
        EXPECT_NE(std::this_thread::get_id(), here);
        EXPECT_EQ(document.text, servers);
        EXPECT_EQ(running.live.stale, 24h);
        return [&, here] {
            EXPECT_EQ(std::this_thread::get_id(), here);
            is_looked = true;
        };
    }));
    wait_for_helper();
    EXPECT_TRUE(is_looked);
    EXPECT_EQ(set("cache.stale", "5s"), "cache.stale");
}

class SaveTest : public testing::Test {
  protected:
    Document document() { return {path, text, text}; }
    std::string saved(const Document& document) {
        auto done = save_document(document);
        return done ? content() : "error: " + done.error();
    }
    std::string content() {
        std::ifstream file(path);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    void SetUp() override { std::ofstream(path) << text; }

    test::TemporaryFolder folder;
    std::string path = folder / "millrace.yaml";
    std::string text = "# of the operator\n" + servers;
};

TEST_F(SaveTest, TheTextIsInTheFileWithItsMode) {
    std::filesystem::permissions(path, std::filesystem::perms(0640));
    Document edited = document();
    edited.edit("cache.stale", *set_value(text, "cache.stale", "5s"));
    EXPECT_EQ(saved(edited), text + "cache: {stale: 5s}\n");
    EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms(0640));
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder / ""), {}), 1);
}

TEST_F(SaveTest, ALinkStaysOne) {
    std::string real = folder / "real.yaml";
    std::filesystem::rename(path, real);
    std::filesystem::create_symlink(real, path);
    Document edited = document();
    edited.edit("cache.stale", *set_value(text, "cache.stale", "5s"));
    EXPECT_EQ(saved(edited), text + "cache: {stale: 5s}\n");
    EXPECT_TRUE(std::filesystem::is_symlink(path));
}

TEST_F(SaveTest, RefusesToOverwriteWhatItHasNotRead) {
    Document edited = document();
    edited.edit("cache.stale", *set_value(text, "cache.stale", "5s"));
    std::ofstream(path) << "# another hand\n" << servers;
    EXPECT_EQ(saved(edited).substr(0, 7), "error: ");
    EXPECT_EQ(content(), "# another hand\n" + servers);
}

TEST_F(SaveTest, RefusesToLoseComments) {
    text = "upstreams:\n  # Frankfurt\n  - {group: g, servers: [192.0.2.1]}\n";
    std::ofstream(path) << text;
    Document edited = document();
    edited.edit("upstreams", *set_value(text, "upstreams", "[{group: g, servers: [192.0.2.2]}]"));
    EXPECT_NE(saved(edited).find("# Frankfurt"), std::string::npos);
    EXPECT_EQ(content(), text);
    edited.edit("upstreams", Edited{text, {}});
    EXPECT_TRUE(edited.lost.empty()) << "as the file has it again";
}

} // namespace
} // namespace millrace::control
