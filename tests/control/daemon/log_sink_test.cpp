// A log that nobody reads.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/daemon/log_sink.hpp"

namespace millrace::control {
namespace {

enum class Kind { pipe, anothers_pipe, socket };

/// Both ends of a pipe, also one that the process may not open again, or of a stream socket as journald's.
class LogSinkTest : public testing::TestWithParam<Kind> {
  protected:
    LogSinkTest() {
        int made = GetParam() == Kind::socket ? ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) : ::pipe(ends);
        EXPECT_EQ(made, 0);
        ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
        if (GetParam() == Kind::anothers_pipe) ::setfsuid(65534);
        log = std::make_unique<spdlog::logger>("t", std::make_shared<LogSink>(ends[1]));
        ::setfsuid(::geteuid());
        log->set_pattern("%v");
    }
    ~LogSinkTest() override {
        ::close(ends[0]);
        ::close(ends[1]);
    }
    std::string read_all() {
        std::string text;
        char buffer[65536];
        for (ssize_t got; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;)
            text.append(buffer, std::size_t(got));
        return text;
    }

    int ends[2];
    std::unique_ptr<spdlog::logger> log;
};

TEST_P(LogSinkTest, WritesLines) {
    log->info("one");
    log->info("two");
    EXPECT_EQ(read_all(), "one\ntwo\n");
}

/// With a sink that waits this never ends.
TEST_P(LogSinkTest, DoesNotWaitForAReaderAndSaysWhatIsMissing) {
    const std::string line(1000, 'x');
    constexpr unsigned lines = 2000; // two megabytes: more than a pipe or a socket holds
    for (unsigned i = 0; i < lines; ++i) log->info(line);
    auto got = unsigned(read_all().size() / (line.size() + 1));
    EXPECT_GT(got, 0u);
    ASSERT_LT(got, lines);
    log->info("back");
    EXPECT_EQ(read_all(), "(" + std::to_string(lines - got) + " lines of this log found no reader)\nback\n");
}

INSTANTIATE_TEST_SUITE_P(Kinds, LogSinkTest, testing::Values(Kind::pipe, Kind::anothers_pipe, Kind::socket));

} // namespace
} // namespace millrace::control
