// What is warned of at start and after a reload.
#include <sstream>

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include "control/daemon/reload.hpp"

namespace millrace::control {
namespace {

std::string warning_of_idle_hardening(bool hardens, bool trusts) {
    Config::Live live;
    live.harden_below_nxdomain = hardens;
    live.upstreams.resize(2);
    Config::Server server{*dataplane::parse_endpoint("198.51.100.1", 53)};
    for (auto& group : live.upstreams) group.servers = {server};
    live.upstreams.back().servers.front().trusted = trusts;
    std::ostringstream text;
    auto before = spdlog::default_logger();
    spdlog::set_default_logger(
        std::make_shared<spdlog::logger>("t", std::make_shared<spdlog::sinks::ostream_sink_mt>(text)));
    warn_of_idle_hardening(live);
    spdlog::set_default_logger(before);
    return text.str();
}

TEST(Warnings, HardeningNeedsAServerThatIsTrusted) {
    EXPECT_NE(warning_of_idle_hardening(true, false).find("harden-below-nxdomain"), std::string::npos);
    EXPECT_EQ(warning_of_idle_hardening(true, true), "");
    EXPECT_EQ(warning_of_idle_hardening(false, false), "");
}

} // namespace
} // namespace millrace::control
