// DNS64: addresses within addresses (RFC 6052), and whom and what the rules concern.
#include <gtest/gtest.h>

#include "dataplane/gate.hpp"
#include "tests/support/clock.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/rules.hpp"

namespace millrace::dataplane {
namespace {

Prefix prefix(const char* text) {
    return *parse_prefix(text);
}
Address address(const char* text) {
    return *parse_address(text);
}

TEST(Dns64, EmbedsAsInTheExamplesOfTheStandard) { // RFC 6052 2.4
    const struct {
        const char *prefix, *address;
    } rows[] = {
        {"2001:db8::/32", "2001:db8:c000:221::"},
        {"2001:db8:100::/40", "2001:db8:1c0:2:21::"},
        {"2001:db8:122::/48", "2001:db8:122:c000:2:2100::"},
        {"2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"},
        {"2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"},
        {"2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"},
        {"64:ff9b::/96", "64:ff9b::192.0.2.33"},
    };
    const std::array<std::uint8_t, 4> v4{192, 0, 2, 33};
    for (const auto& row : rows) {
        Dns64 rule{prefix(row.prefix)};
        EXPECT_TRUE(Dns64::is_nat64(rule.prefix)) << row.prefix;
        EXPECT_EQ(to_string(rule.embed(v4)), to_string(address(row.address))) << row.prefix;
        EXPECT_EQ(rule.extract(address(row.address)), v4) << row.prefix;
        EXPECT_FALSE(rule.extract(address("2001:db9::1"))) << row.prefix;
    }
    EXPECT_FALSE(Dns64{prefix("2001:db8::/32")}.extract(address("2001:db8:c000:221::1"))) << "the suffix";
    EXPECT_FALSE(Dns64{prefix("2001:db8:122::/48")}.extract(address("2001:db8:122:c000:102:2100::")))
        << "octet 8";
}

TEST(Dns64, PrefixesThatCanBeOnes) {
    for (const char* text : {"2001:db8::/33", "2001:db8::/128", "::/0", "10.0.0.0/8", "0.0.0.0/0",
                             "2001:db8:122:344:100::/96"}) {
        EXPECT_FALSE(Dns64::is_nat64(prefix(text))) << text;
    }
}

TEST(Dns64, NamesOfAddresses) {
    auto name = [](const std::string& text) { return *cache::parse_name(text); };
    const std::string digits = "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4";
    EXPECT_EQ(address_of_reverse(name(digits + ".ip6.arpa").bytes()), address("4321:0:1:2:3:4:567:89ab"));
    EXPECT_FALSE(address_of_reverse(name(digits + ".ip6.arpb").bytes()));
    EXPECT_FALSE(address_of_reverse(name("g" + digits.substr(1) + ".ip6.arpa").bytes()));
    EXPECT_FALSE(address_of_reverse(name("bb.9" + digits.substr(5) + ".a.ip6.arpa").bytes())) << "two digits";
    EXPECT_FALSE(address_of_reverse(name("ip6.arpa").bytes()));
    EXPECT_EQ(reverse_of(std::array<std::uint8_t, 4>{192, 0, 2, 33}), name("33.2.0.192.in-addr.arpa"));
}

class Dns64Gate : public testing::Test {
  protected:
    static ClientPolicy policy() {
        ClientPolicy out{{prefix("::/0"), prefix("0.0.0.0/0")}};
        out.dns64 = {{prefix("64:ff9b::/96"), {prefix("2001:db8:46::/48")}},
                     {prefix("2001:db8:64::/96"), {prefix("2001:db8:46::/47"), prefix("10.0.0.0/8")}},
                     {prefix("64:ff9b::/96"), {prefix("2001:db8:50::/48")}, {}, {1}}};
        return out;
    }
    /// The rule that a question is looked up under.
    unsigned rule_of(const test::Bytes& message, const char* client) {
        Query query;
        std::size_t size = 0;
        test::Bytes out(1232);
        gate.take_rules();
        bool passed =
            gate.admit({message, Transport::udp, address(client), support::clock_start()}, query, out, size);
        return passed ? query.key.dns64() : 99;
    }
    test::RulesInEffect rules{policy()};
    Counters counters;
    cache::Grace grace;
    Gate gate{rules.now, counters};
};

TEST_F(Dns64Gate, TheFirstRuleForTheClientCounts) {
    auto question = test::query("a.com", 28);
    EXPECT_EQ(rule_of(question, "2001:db8:46::1"), 1u);
    EXPECT_EQ(rule_of(question, "2001:db8:47::1"), 2u);
    EXPECT_EQ(rule_of(question, "10.0.0.1"), 2u);
    EXPECT_EQ(rule_of(question, "2001:db8:48::1"), 0u);
    EXPECT_EQ(rule_of(question, "2001:db8:50::1"), 0u) << "of another group of upstreams";
    cache::Key of_group = test::key_of("a.com", 28);
    of_group.group = 1;
    EXPECT_EQ(rules.access().dns64_of(address("2001:db8:50::1"), of_group), 3u);
    rules.replace_clients(ClientPolicy{{prefix("::/0")}}, grace);
    EXPECT_EQ(rule_of(question, "2001:db8:46::1"), 0u) << "none are left";
    EXPECT_FALSE(rules.access().dns64_rule(1));
}

TEST_F(Dns64Gate, OtherQuestionsAreAnybodys) {
    const char* client = "2001:db8:46::1";
    auto of = [&](const std::string& name, unsigned type, unsigned flavour = cache::plain) {
        cache::Key key = test::key_of(name, std::uint16_t(type));
        key.flavour = std::uint8_t(flavour);
        return rules.access().dns64_of(address(client), key);
    };
    EXPECT_EQ(of("a.com", 28, cache::dnssec_ok), 1u);
    EXPECT_EQ(of("a.com", 28, cache::checking_disabled), 0u) << "he makes what he needs himself";
    EXPECT_EQ(of("a.com", 1), 0u);
    EXPECT_EQ(of("a.com", 255), 0u);
    EXPECT_EQ(of("ipv4only.arpa", 1), 1u);
    EXPECT_EQ(of("ipv4only.arpa", 15), 0u);
    const std::string zeros = "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.";
    EXPECT_EQ(of("1.2.0.0.0.a.0." + zeros.substr(0, 34) + "b.9.f.f.4.6.0.0.ip6.arpa", 12), 1u);
    EXPECT_EQ(of("1.2.0.0.0.a.0." + zeros.substr(0, 34) + "b.9.f.f.5.6.0.0.ip6.arpa", 12), 0u);
    EXPECT_EQ(of("a.com", 12), 0u);
}

/// 2001:db8:64::/96 lies in a zone that nobody is asked about (RFC 6303 4.6).
TEST_F(Dns64Gate, ReverseNamesOfAPrefixPassSpecialUseZones) {
    LocalNames::Builder names;
    names.add(cache::parse_name("8.b.d.0.1.0.0.2.ip6.arpa")->bytes(), LocalNames::Builder::both,
              names.deny(0, false, LocalNames::Action::nxdomain, cache::Entry::no_info, test::bare_entry(3)));
    rules.replace_local(names.build(), grace);
    const std::string name = "1.2.0.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.4.6.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    EXPECT_EQ(rule_of(test::query(name, 12), "10.0.0.1"), 2u);
    EXPECT_EQ(rule_of(test::query(name, 12), "2001:db8:48::1"), 99u) << "denied here";
}

} // namespace
} // namespace millrace::dataplane
