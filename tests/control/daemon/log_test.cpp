// The log's forms: JSON lines, journald's fields, levels, and how much DPDK may say.
#include <gtest/gtest.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <rte_log.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/daemon/log.hpp"
#include "control/daemon/log_sink.hpp"
#include "control/limits.hpp"
#include "tests/support/datagrams.hpp"
#include "tests/support/temporary_folder.hpp"

namespace millrace::control {
namespace {

std::string as_json(spdlog::level::level_enum level, const std::string& text) {
    spdlog::memory_buf_t line;
    json_formatter()->format({"t", level, text}, line);
    return {line.data(), line.size()};
}

TEST(JsonLog, AnObjectALine) {
    std::string line = as_json(spdlog::level::warn, "port \"x\":\n down");
    EXPECT_EQ(line.find('\n'), line.size() - 1);
    auto object = nlohmann::json::parse(line);
    EXPECT_EQ(object["level"], "warning");
    EXPECT_EQ(object["message"], "port \"x\":\n down");
    EXPECT_TRUE(testing::internal::RE::FullMatch(
        object["time"].get<std::string>(),
        "20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9][0-9][0-9]Z"));
}

TEST(JsonLog, WholeWhateverTheMessage) {
    for (const std::string& text :
         {std::string(10000, 'x'), std::string(10000, '\1'), std::string("\xff\xfe")}) {
        std::string line = as_json(spdlog::level::err, text);
        EXPECT_LE(line.size(), std::size_t(PIPE_BUF) / 2);
        EXPECT_TRUE(nlohmann::json::accept(line));
    }
}

/// With a sink that is not told of the formatter, the line about dropped ones would be none.
TEST(JsonLog, DroppedLinesAreTold) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    spdlog::logger log("t", std::make_shared<LogSink>(ends[1]));
    log.set_formatter(json_formatter());
    for (unsigned i = 0; i < 2000; ++i) log.info(std::string(1000, 'x'));
    char buffer[65536];
    while (::read(ends[0], buffer, sizeof buffer) > 0) {
    }
    log.info("back");
    auto size = ::read(ends[0], buffer, sizeof buffer);
    ASSERT_GT(size, 0);
    std::string lines(buffer, std::size_t(size));
    auto first = nlohmann::json::parse(lines.substr(0, lines.find('\n')));
    EXPECT_NE(first["message"].get<std::string>().find("lines of this log found no reader"),
              std::string::npos);
    EXPECT_EQ(nlohmann::json::parse(lines.substr(lines.find('\n')))["message"], "back");
    ::close(ends[0]);
    ::close(ends[1]);
}

std::string fields(const std::string& priority, const std::string& message) {
    std::uint64_t size = message.size();
    std::string length(sizeof size, 0);
    std::memcpy(length.data(), &size, sizeof size);
    return "PRIORITY=" + priority + "\nSYSLOG_IDENTIFIER=millraced\nMESSAGE\n" + length + message + "\n";
}

TEST(JournalLog, Fields) {
    test::TemporaryFolder folder;
    std::string path = folder / "journal";
    test::Datagrams journal(path);
    spdlog::logger log("t", std::make_shared<JournalSink>(path));
    log.info("one\ntwo=three");
    log.warn("w");
    log.error("e");
    log.critical("c");
    EXPECT_EQ(journal.read(), fields("6", "one\ntwo=three"));
    EXPECT_EQ(journal.read(), fields("4", "w"));
    EXPECT_EQ(journal.read(), fields("3", "e"));
    EXPECT_EQ(journal.read(), fields("2", "c"));
}

/// With a sink that waits this never ends.
TEST(JournalLog, DoesNotWaitAndSaysWhatIsMissing) {
    test::TemporaryFolder folder;
    std::string path = folder / "journal";
    spdlog::logger log("t", std::make_shared<JournalSink>(path));
    log.info("nobody is there yet");
    test::Datagrams journal(path);
    constexpr unsigned lines = 5000; // more than a socket holds
    for (unsigned i = 0; i < lines; ++i) log.info(std::string(1000, 'x'));
    EXPECT_EQ(journal.read(), fields("4", "(1 lines of this log found no reader)"));
    unsigned got = 0;
    while (journal.read()) ++got;
    EXPECT_GT(got, 0u);
    ASSERT_LT(got, lines);
    log.info("back");
    EXPECT_EQ(journal.read(),
              fields("4", "(" + std::to_string(lines - got) + " lines of this log found no reader)"));
    EXPECT_EQ(journal.read(), fields("6", "back"));
}

/// The default logger writes here while it lives.
class DefaultLog : public testing::Test {
  protected:
    DefaultLog() : before_(spdlog::default_logger()) {
        spdlog::set_default_logger(
            std::make_shared<spdlog::logger>("t", std::make_shared<spdlog::sinks::ostream_sink_mt>(out_)));
        spdlog::set_pattern("%l %v");
    }
    ~DefaultLog() override {
        spdlog::set_default_logger(before_);
        set_log_level(Config::LogLevel::info);
    }

    std::ostringstream out_;
    std::shared_ptr<spdlog::logger> before_;
};

TEST_F(DefaultLog, Levels) {
    for (auto level : {Config::LogLevel::error, Config::LogLevel::warning, Config::LogLevel::info}) {
        set_log_level(level);
        spdlog::critical("c");
        spdlog::error("e");
        spdlog::warn("w");
        spdlog::info("i");
    }
    EXPECT_EQ(out_.str(), "critical c\nerror e\ncritical c\nerror e\nwarning w\n"
                          "critical c\nerror e\nwarning w\ninfo i\n");
}

TEST_F(DefaultLog, DpdksOwn) {
    log_of_eal(RTE_LOG_ERR, "EAL: broken");
    log_of_eal(RTE_LOG_WARNING, "EAL: odd");
    log_of_eal(RTE_LOG_NOTICE, "EAL: {}");
    EXPECT_EQ(out_.str(), "error EAL: broken\nwarning EAL: odd\ninfo EAL: {}\n");
}

/// A driver with something to say of each packet.
TEST(LineRate, SoManyAndNoMore) {
    LineRate rate;
    std::uint64_t missing = 0;
    unsigned taken = 0;
    for (unsigned i = 0; i < 3 * limits::eal_log_lines; ++i) taken += rate.take(0s, missing);
    EXPECT_EQ(taken, limits::eal_log_lines);
    EXPECT_FALSE(rate.take(limits::eal_log_interval - 1us, missing));
    EXPECT_TRUE(rate.take(limits::eal_log_interval, missing));
    EXPECT_EQ(missing, 2 * limits::eal_log_lines + 1);
    EXPECT_TRUE(rate.take(limits::eal_log_interval, missing));
    EXPECT_EQ(missing, 0u);
}

} // namespace
} // namespace millrace::control
