#include "control/local/special_names.hpp"

#include <string>

#include <fmt/format.h>

#include "control/local/entry.hpp"
#include "control/message/record_text.hpp"

namespace millrace::control {

namespace {

using dataplane::LocalNames;
using Builder = LocalNames::Builder;
using Typed = std::vector<std::pair<std::uint16_t, cache::EntryPtr>>;

constexpr std::uint32_t ttl = 10800; // RFC 6303 3
constexpr std::uint16_t no_info = cache::Entry::no_info;

/// No such name exists, nor any below it: invalid, test (RFC 6761 6.2, 6.4), local (RFC 6762 22.1), onion
/// (RFC 7686 2).
constexpr const char* absent[] = {"invalid", "test", "local", "onion"};

/// Zones that exist and are empty: RFC 6303 4, RFC 7793 (carrier-grade NAT), RFC 8375 6, RFC 9462 8.2.
constexpr const char* empty[] = {
    "10.in-addr.arpa",
    "168.192.in-addr.arpa",
    "0.in-addr.arpa",
    "127.in-addr.arpa",
    "254.169.in-addr.arpa",
    "2.0.192.in-addr.arpa",
    "100.51.198.in-addr.arpa",
    "113.0.203.in-addr.arpa",
    "255.255.255.255.in-addr.arpa",
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "d.f.ip6.arpa",
    "8.e.f.ip6.arpa",
    "9.e.f.ip6.arpa",
    "a.e.f.ip6.arpa",
    "b.e.f.ip6.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa",
    "home.arpa",
    "resolver.arpa",
};

cache::EntryPtr record(const std::string& line) {
    RecordHandle parsed = parse_local_record(line);
    const ldns_rr* one = parsed.get();
    return make_local_records({&one, 1});
}

cache::EntryPtr nodata() {
    return make_denial(LDNS_RCODE_NOERROR, ttl);
}

/// With SOA and NS at its apex (RFC 6303 3).
Typed apex() {
    Typed entries;
    entries.emplace_back(LDNS_RR_TYPE_SOA, make_local_soa(ttl));
    entries.emplace_back(LDNS_RR_TYPE_NS, record(fmt::format(". {} IN NS localhost.", ttl)));
    entries.emplace_back(0, nodata());
    return entries;
}

} // namespace

void add_special_names(Builder& names, unsigned source) {
    auto nxdomain = names.deny(source, false, LocalNames::Action::nxdomain, no_info,
                               make_denial(LDNS_RCODE_NXDOMAIN, ttl));
    auto add = [&](const std::string& name, unsigned reach, Builder::RuleId rule) {
        names.add(cache::parse_name(name)->bytes(), reach, rule);
    };
    for (const char* zone : absent) add(zone, Builder::both, nxdomain);
    auto at_apex = names.records(source, false, no_info, apex());
    auto add_empty = [&](const std::string& zone) {
        add(zone, Builder::exact, at_apex);
        add(zone, Builder::below, nxdomain);
    };
    for (const char* zone : empty) add_empty(zone);
    for (unsigned i = 16; i < 32; ++i) add_empty(fmt::format("{}.172.in-addr.arpa", i));
    for (unsigned i = 64; i < 128; ++i) add_empty(fmt::format("{}.100.in-addr.arpa", i));
    // Designated resolvers are found by SVCB at this name: there are none (RFC 9462 4).
    add("_dns.resolver.arpa", Builder::exact,
        names.deny(source, false, LocalNames::Action::nodata, no_info, nodata()));

    // RFC 6761 6.3, and the reverse of it.
    Typed loopback;
    loopback.emplace_back(LDNS_RR_TYPE_A, record(fmt::format(". {} IN A 127.0.0.1", ttl)));
    loopback.emplace_back(LDNS_RR_TYPE_AAAA, record(fmt::format(". {} IN AAAA ::1", ttl)));
    loopback.emplace_back(0, nodata());
    add("localhost", Builder::both, names.records(source, false, no_info, std::move(loopback)));
    Typed reverse;
    reverse.emplace_back(LDNS_RR_TYPE_PTR, record(fmt::format(". {} IN PTR localhost.", ttl)));
    reverse.emplace_back(0, nodata());
    add("1.0.0.127.in-addr.arpa", Builder::exact, names.records(source, false, no_info, std::move(reverse)));
}

} // namespace millrace::control
