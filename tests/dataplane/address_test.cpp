// Endpoints in text and in the kernel's form; link-local addresses are known with their zone alone.
#include <gtest/gtest.h>

#include <cstring>

#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

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

/// In a network namespace whose interface number 1 is called "2". Where that is not permitted, nowhere.
TEST(Endpoint, AnInterfaceThatIsCalledByANumberIsMeantByItsName) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    auto zone_in_namespace = [] {
        ifreq request{};
        std::strcpy(request.ifr_name, "lo");
        std::strcpy(request.ifr_newname, "2");
        int socket = unshare(CLONE_NEWNET) == 0 ? ::socket(AF_INET, SOCK_DGRAM, 0) : -1;
        if (socket < 0 || ioctl(socket, SIOCSIFNAME, &request) != 0) std::_Exit(1);
        auto endpoint = parse_endpoint("fe80::1%2", 53);
        std::_Exit(endpoint ? int(endpoint->zone) : 0);
    };
    EXPECT_EXIT(zone_in_namespace(), testing::ExitedWithCode(1), "");
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

TEST(Prefix, IsOfOneFamily) {
    struct {
        const char* prefix;
        const char* address;
        bool contains;
    } rows[] = {{"0.0.0.0/0", "203.0.113.9", true},
                {"0.0.0.0/0", "::1", false},
                {"0.0.0.0/0", "::203.0.113.9", false},
                {"::/0", "203.0.113.9", false},
                {"::/80", "203.0.113.9", false},
                {"::/0", "2001:db8::1", true},
                {"::/80", "::1", true},
                {"::/96", "::203.0.113.9", true},
                {"10.0.0.0/8", "10.1.2.3", true},
                {"10.0.0.0/8", "11.0.0.0", false}};
    for (const auto& row : rows) {
        EXPECT_EQ(parse_prefix(row.prefix)->contains(*parse_address(row.address)), row.contains)
            << row.prefix << " " << row.address;
    }
}

/// RFC 4291 2.2 and 2.3: in IPv6's form, IPv4's 32 bits are the last of 128.
TEST(Prefix, OfMappedAddressesCountsAsItIsWritten) {
    EXPECT_EQ(parse_prefix("::ffff:10.0.0.0/104"), parse_prefix("10.0.0.0/8"));
    EXPECT_EQ(parse_prefix("::ffff:0:0/96"), parse_prefix("0.0.0.0/0"));
    for (const char* text : {"::ffff:10.0.0.0/8", "::ffff:0:0/0", "::ffff:0:0/32", "::ffff:0:0/95",
                             "::ffff:0:0/129", "10.0.0.0/104", "0.0.0.0/33"}) {
        EXPECT_FALSE(parse_prefix(text)) << text;
    }
    for (const char* text : {"10.0.0.0/8", "0.0.0.0/0", "::/0", "::/80", "2001:db8::/32", "::ffff:0:0:0/96"})
        EXPECT_EQ(to_string(*parse_prefix(text)), text);
}

TEST(Prefix, OfAnInterfaceHasHostBits) {
    for (const char* text : {"192.0.2.53/24", "10.0.0.0/8", "2001:db8::53/64", "::1/128", "192.0.2.1/32"})
        EXPECT_EQ(to_string(*parse_interface_address(text)), text);
    EXPECT_EQ(parse_interface_address("192.0.2.53/24")->bits, 96u + 24u);
    for (const char* text : {"192.0.2.53", "192.0.2.53/33", "2001:db8::53/129", "192.0.2.53/", "/24", "x/24"})
        EXPECT_FALSE(parse_interface_address(text)) << text;
    EXPECT_FALSE(parse_prefix("192.0.2.53/24"));
}

} // namespace
} // namespace millrace::dataplane
