// Endpoints in text and in the kernel's form; link-local addresses are known with their zone alone.
#include <gtest/gtest.h>

#include <netinet/in.h>

#include "dataplane/address.hpp"

namespace millrace::dataplane {
namespace {

constexpr std::uint32_t lo = 1; // in every network namespace

TEST(Endpoint, IsReadAsItIsPrinted) {
    for (const char* text : {"192.0.2.1:53", "[2001:db8::1]:5353", "[fe80::1%lo]:53", "[fe80::1]:53"}) {
        auto endpoint = parse_endpoint(text, 99);
        ASSERT_TRUE(endpoint) << text;
        EXPECT_EQ(to_string(*endpoint), text);
    }
    EXPECT_EQ(parse_endpoint("fe80::1%lo", 53), parse_endpoint("[fe80::1%1]:53", 99));
    EXPECT_EQ(parse_endpoint("fe80::1%lo", 53)->zone, lo);
}

TEST(Endpoint, AZoneIsAnInterfaceAndGoesWithALinkLocalAddress) {
    for (const char* text :
         {"fe80::1%", "fe80::1%nowhere0", "fe80::1%0", "fe80::1%4294967295", "fe80::1%1x", "fe80::1%lo:53",
          "2001:db8::1%lo", "192.0.2.1%lo", "fe80::1%lo%lo", "fec0::1%lo"}) {
        EXPECT_FALSE(parse_endpoint(text, 53)) << text;
    }
    EXPECT_FALSE(parse_address("fe80::1%lo"));
    EXPECT_NE(parse_endpoint("fe80::1%lo", 53), parse_endpoint("fe80::1", 53));
}

TEST(Endpoint, AnUnknownZoneIsPrintedAsItsNumber) {
    Endpoint endpoint{*parse_address("fe80::1"), 53, 4'000'000'000};
    EXPECT_EQ(to_string(endpoint), "[fe80::1%4000000000]:53");
}

TEST(Endpoint, TheKernelIsToldTheZone) {
    sockaddr_storage raw;
    Endpoint endpoint = *parse_endpoint("[fe80::1%lo]:53", 99);
    to_sockaddr(endpoint, raw);
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&raw);
    EXPECT_EQ(v6->sin6_scope_id, lo);
    EXPECT_EQ(from_sockaddr(raw), endpoint);
    to_sockaddr(*parse_endpoint("[2001:db8::1]:53", 99), raw);
    v6->sin6_scope_id = lo; // whatever it says of others
    EXPECT_EQ(from_sockaddr(raw).zone, 0u);
}

} // namespace
} // namespace millrace::dataplane
