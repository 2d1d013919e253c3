// Which endpoints are this program's own.
#include <vector>

#include <gtest/gtest.h>

#include "control/config/own_endpoints.hpp"

namespace millrace::control {
namespace {

using dataplane::Endpoint;

bool is_own(const std::vector<std::string>& listeners, const std::string& at) {
    std::vector<Endpoint> own;
    for (const std::string& listener : listeners) own.push_back(*dataplane::parse_endpoint(listener, 53));
    return answers_at(own, *dataplane::parse_endpoint(at, 53));
}

TEST(OwnEndpoints, AreThoseThatAreConfigured) {
    EXPECT_TRUE(is_own({"192.0.2.1:53", "[2001:db8::1]:5300"}, "[2001:db8::1]:5300"));
    EXPECT_FALSE(is_own({"192.0.2.1:53"}, "192.0.2.1:54"));
    EXPECT_FALSE(is_own({"127.0.0.1:53"}, "127.0.0.2:53"));
}

TEST(OwnEndpoints, AWildcardIsEveryAddressOfTheMachine) {
    EXPECT_TRUE(is_own({"0.0.0.0:5300"}, "127.0.0.1:5300"));
    EXPECT_TRUE(is_own({"0.0.0.0:5300"}, "127.1.2.3:5300")) << "no interface names it";
    EXPECT_FALSE(is_own({"0.0.0.0:5300"}, "127.0.0.1:53"));
    EXPECT_FALSE(is_own({"0.0.0.0:5300"}, "192.0.2.200:5300")) << "another machine's";
    EXPECT_FALSE(is_own({"0.0.0.0:5300"}, "[::1]:5300")) << "of IPv4 alone";
    EXPECT_TRUE(is_own({"[::]:5300"}, "[::1]:5300"));
    EXPECT_FALSE(is_own({"[::]:5300"}, "127.0.0.1:5300"));
    EXPECT_FALSE(is_own({"[::]:5300"}, "[2001:db8::200]:5300"));
    EXPECT_FALSE(is_own({"[::]:5300"}, "[fe80::1%lo]:5300")) << "a neighbour's, maybe";
}

} // namespace
} // namespace millrace::control
