// `control` and `log`.
#include <string>

#include <gtest/gtest.h>

#include "tests/control/config/config_text.hpp"

namespace millrace::control {
namespace {

TEST(DaemonConfig, Defaults) {
    Config config = parsed(upstreams);
    EXPECT_EQ(config.boot.control_access.mode, 0660u);
    EXPECT_EQ(config.boot.control_access.group, "");
    EXPECT_EQ(config.boot.log_format, Config::LogFormat::text);
    EXPECT_EQ(config.live.log_level, Config::LogLevel::info);
}

TEST(DaemonConfig, ReadAndPrinted) {
    Config config = parsed(
        upstreams + "control: {mode: 0600, group: dns-operators}\nlog: {level: error, format: journal}");
    EXPECT_EQ(config.boot.control_access.mode, 0600u);
    EXPECT_EQ(config.boot.control_access.group, "dns-operators");
    EXPECT_EQ(config.boot.log_format, Config::LogFormat::journal);
    EXPECT_EQ(config.live.log_level, Config::LogLevel::error);
    EXPECT_EQ(parsed(to_yaml(config)), config);
    EXPECT_EQ(parsed(in_map("control", "mode: '666'")).boot.control_access.mode, 0666u);
}

TEST(DaemonConfig, Refused) {
    std::string form =
        "expected a mode in quotes, of digits 0, 2, 4 and 6, such as \"0660\"; the owner's is 6";
    for (const char* mode : {"0777", "0060", "0688", "66", "00660", "1660", "rw", "-660"}) {
        EXPECT_EQ(complaint(in_map("control", ("mode: '" + std::string(mode) + "'").c_str())),
                  "t:2: control.mode: " + form + ", found \"" + mode + "\"");
    }
    form = "t:2: control.group: expected the name of a group, or \"\" for the daemon's own, found ";
    EXPECT_EQ(complaint(in_map("control", "group: 'a b'")), form + "\"a b\"");
    std::string longest(33, 'x');
    EXPECT_EQ(complaint(in_map("control", ("group: " + longest).c_str())), form + "\"" + longest + "\"");
    EXPECT_EQ(complaint(in_map("log", "level: debug")),
              "t:2: log.level: expected error or warning or info, found \"debug\"");
    EXPECT_EQ(complaint(in_map("log", "format: syslog")),
              "t:2: log.format: expected text or json or journal, found \"syslog\"");
}

} // namespace
} // namespace millrace::control
