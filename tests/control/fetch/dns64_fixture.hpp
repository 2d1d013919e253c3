// What the tests of DNS64 share: upstreams with a zone, and clients of two rules.
#pragma once

#include "control/fetch/dns64.hpp"
#include "control/limits.hpp"
#include "tests/control/fetch/scenarios_fixture.hpp"
#include "tests/support/rules.hpp"

namespace millrace::control {

using dataplane::parse_prefix;

inline constexpr std::uint16_t type_a = LDNS_RR_TYPE_A, type_aaaa = LDNS_RR_TYPE_AAAA;

/// Upstreams that all say the same of a name and type; of other types NODATA, of other names NXDOMAIN.
class Dns64Test : public Scenarios {
  protected:
    using Zone = std::map<std::pair<std::string, std::uint16_t>, ReplySpec>;
    Dns64Test() {
        fetches.set_rules(rules.current());
        for (unsigned i : {0u, 1u, 2u}) {
            network.serve(server(i), [this, i](FakeNetwork& net, const Sent& sent) {
                net.reply(sent, make_reply(sent.message, said(question_name(sent), type_of(sent), i)), 5ms);
            });
        }
        zone[{"a.com.", type_a}] = {.answer = {"a.com. 3600 IN A 8.8.8.8"}};
    }
    ~Dns64Test() override { fetches.set_rules({}); }

    static dataplane::ClientPolicy policy() {
        dataplane::ClientPolicy out;
        out.dns64 = {{*parse_prefix("64:ff9b::/96"),
                      {*parse_prefix("2001:db8:46::/48")},
                      {*parse_prefix("::ffff:0:0/96"), *parse_prefix("2001:db8:bad::/48")}},
                     {*parse_prefix("2001:db8:6400::/40"), {*parse_prefix("2001:db8:47::/48")}}};
        return out;
    }
    void answer_late(unsigned upstream) {
        network.serve(server(upstream), [this, upstream](FakeNetwork& net, const Sent& sent) {
            ReplySpec spec = said(question_name(sent), type_of(sent), upstream);
            net.reply(sent, make_reply(sent.message, spec), 200ms);
        });
    }
    /// The AAAA answer for a.com. is denied at once, found bogus after 100 ms; A records come after 300 ms.
    void find_bogus_late() {
        upstreams.replace({{server(0), true}, server(1), server(2)});
        of_first[{"a.com.", type_aaaa}] = {.rcode = 2, .info = 6};
        for (unsigned i : {0u, 1u, 2u}) {
            network.serve(server(i), [this, i](FakeNetwork& net, const Sent& sent) {
                Time delay = type_of(sent) == type_a ? Time(300ms) : i == 0 ? Time(100ms) : Time(5ms);
                net.reply(sent, make_reply(sent.message, said(question_name(sent), type_of(sent), i)), delay);
            });
        }
    }
    ReplySpec said(const std::string& name, std::uint16_t type, unsigned upstream) {
        if (upstream == 0 && of_first.contains({name, type})) return of_first.at({name, type});
        if (auto found = zone.find({name, type}); found != zone.end()) return found->second;
        bool exists = std::ranges::any_of(zone, [&](const auto& said) { return said.first.first == name; });
        return exists ? nodata : nxdomain;
    }
    static cache::Key question(const std::string& name, std::uint16_t type = type_aaaa, unsigned rule = 1,
                               std::uint8_t flavour = cache::plain) {
        cache::Key key = make_key(name, type, flavour);
        key.set_dns64(rule);
        return key;
    }
    /// As a client of the rule whose number the key has.
    std::uint64_t ask(const cache::Key& key) {
        if (key.dns64() == 0) return FetchTest::ask(key);
        std::string network = key.dns64() == 1 ? "2001:db8:46::" : "2001:db8:47::";
        ++clients_asked;
        return ask_as({*dataplane::parse_address(network + std::to_string(clients_asked % 200 + 1)),
                       std::uint16_t(1024 + clients_asked)},
                      std::uint16_t(clients_asked), key);
    }
    /// Asks, waits, and tells what the client got.
    const Clients::Woken& asked(const cache::Key& key) {
        auto token = ask(key);
        run(500ms);
        return woken(token);
    }
    /// Asks until what is made lives as long as it may: the Fetches that it came of have ended.
    const cache::Entry* settled(const cache::Key& key) {
        asked(key);
        run(limits::followed_ttl);
        asked(key);
        return cached(key);
    }
    std::vector<std::string> lines(const cache::Key& key) const {
        const cache::Entry* entry = cached(key);
        return entry ? record_lines(key, *entry, clock.now) : std::vector<std::string>{};
    }
    std::size_t asked_of(const std::string& name, std::uint16_t type) const {
        return std::size_t(std::ranges::count_if(network.sent, [&](const Sent& sent) {
            return question_name(sent) == name && type_of(sent) == type;
        }));
    }

    test::RulesInEffect rules{policy()};
    unsigned clients_asked = 0;
    Zone zone, of_first;
    cache::Key key = question("a.com"), native = make_key("a.com", type_aaaa);
    const ReplySpec has_ipv6{.answer = {"a.com. 60 IN AAAA 2001:db8::1"}};
};

} // namespace millrace::control
