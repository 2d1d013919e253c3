// The control plane from question to Wake, over a network without a kernel and a clock that the test moves:
// the real FetchTable, Fetch, Exchanges, Publisher, Table and Grace. No worker: the test is who waits.
#pragma once

#include <algorithm>
#include <map>

#include <gtest/gtest.h>

#include "control/fetch/flush.hpp"
#include "control/fetch/table.hpp"
#include "control/message/entry_text.hpp"
#include "tests/support/fake_network.hpp"
#include "tests/support/replies.hpp"

namespace millrace::control {

using support::FakeNetwork;
using support::make_key;
using support::make_reply;
using support::ReplySpec;
using support::Sent;
using Hosts = std::vector<std::string>;

/// The name that an upstream is asked for, and a record of that name.
inline std::string question_name(const Sent& sent) {
    cache::WireReader in(sent.message);
    in.skip(12);
    cache::Name name;
    cache::read_name(in, name);
    return cache::to_string(name.bytes());
}
inline std::uint16_t type_of(const Sent& sent) {
    cache::WireReader in(sent.message);
    in.skip(12);
    cache::Name name;
    cache::read_name(in, name);
    return in.u16();
}
inline std::string record(const Sent& sent, const std::string& host, unsigned ttl) {
    return question_name(sent) + " " + std::to_string(ttl) + " IN A " + host;
}

/// Notes each end of a wait, with the addresses that the client would have seen.
class Clients final : public Waker {
  public:
    struct Woken {
        Time at{};
        dataplane::Wake::Kind kind{};
        int rcode = -1;
        Hosts addresses;
        int info = -1; ///< the extended error (RFC 8914)
        unsigned authorities = 0;
        bool authentic = false;
        Time expiry{};
        const cache::Entry* entry = nullptr; ///< to compare, not to read: it may be gone
    };
    explicit Clients(support::ManualClock& clock) : clock_(clock) {}

    void wake(const Waiter& waiter, const cache::Entry* entry, dataplane::Wake::Kind kind) override {
        EXPECT_FALSE(woken.contains(waiter.token)) << "a waiter is woken once";
        Woken& w = woken[waiter.token];
        w = {clock_.now, kind, entry ? entry->rcode : -1, {}, entry ? entry->info : -1};
        if (!entry) return;
        w.entry = entry;
        w.addresses = addresses(keys.at(waiter.token), *entry);
        w.authorities = entry->authorities;
        w.authentic = entry->authentic;
        w.expiry = entry->expiry;
    }
    std::map<std::uint64_t, Woken> woken;
    std::map<std::uint64_t, cache::Key> keys;

  private:
    support::ManualClock& clock_;
};

class FetchTest : public testing::Test {
  protected:
    explicit FetchTest(unsigned servers = 3, FetchPolicy policy = {}, std::size_t entries = 1000,
                       std::uint32_t most_exchanges = 512)
        : table({.entries = entries, .bytes = std::max<std::size_t>(1 << 22, 1024 * entries)}, grace),
          exchanges(network, random, groups, {.exchanges = most_exchanges}),
          fetches(table, publisher, exchanges, std::span(groups).first(cache::limits::groups), clients,
                  policy) {
        upstreams = Upstreams(make_servers(servers));
        for (unsigned i = 0; i < servers; ++i) { // as they should be, and seen to be so
            upstreams.habits(i).heard_opt();
            upstreams.habits(i).knew_mixed_case(LetterCase::kept, clock.now);
        }
    }
    ~FetchTest() override {
        fetches.close();
        EXPECT_EQ(fetches.live(), 0u);
        EXPECT_EQ(fetches.waiting(), 0u);
        EXPECT_EQ(clients.woken.size(), clients.keys.size()) << "every waiter is answered or abandoned";
        EXPECT_EQ(exchanges.open_count(), 0u);
        EXPECT_EQ(network.open_count(), 0u);
    }

    static std::vector<Config::Server> make_servers(unsigned count) {
        std::vector<Config::Server> servers;
        for (unsigned i = 0; i < count; ++i) servers.push_back(server(i));
        return servers;
    }
    static dataplane::Endpoint server(unsigned i) {
        return *dataplane::parse_endpoint("198.51.100." + std::to_string(i + 1), 53);
    }

    /// From here on server `i` gives these addresses, whatever is asked, after `delay`.
    void serve(unsigned i, const Hosts& hosts, Time delay, unsigned ttl = 60) {
        network.serve(server(i), [=](FakeNetwork& net, const Sent& sent) {
            ReplySpec spec;
            for (const std::string& host : hosts) spec.answer.push_back(record(sent, host, ttl));
            net.reply(sent, make_reply(sent.message, spec), delay);
        });
    }
    /// ... or replies like this.
    void script(unsigned i, const ReplySpec& spec, Time delay) {
        network.serve(server(i), [=](FakeNetwork& net, const Sent& sent) {
            net.reply(sent, make_reply(sent.message, spec), delay);
        });
    }
    void silence(unsigned i) {
        network.serve(server(i), [](FakeNetwork&, const Sent&) {});
    }

    /// Asks as a client of its own; the number names the waiter.
    std::uint64_t ask(const cache::Key& key, bool tcp = false) {
        std::uint64_t token = ++last_token_;
        dataplane::Endpoint client{*dataplane::parse_address("10.0.0." + std::to_string(1 + token % 200)),
                                   std::uint16_t(1024 + token)};
        return ask_as(client, std::uint16_t(token), key, tcp, token);
    }
    std::uint64_t ask_as(dataplane::Endpoint client, std::uint16_t id, const cache::Key& key,
                         bool tcp = false, std::uint64_t token = 0) {
        if (!token) token = ++last_token_;
        clients.keys[token] = key;
        Waiter waiter{tcp ? Waiter::tcp_source : 0, token, client, id, clock.now};
        fetches.resolve(key, hash(key), waiter, clock.now);
        return token;
    }
    void run(Time span) { network.run_until(clock.now + span, fetches); }

    cache::Hash hash(const cache::Key& key) const { return table.hasher()(key); }
    const cache::Entry* cached(const cache::Key& key) const { return table.find(key, hash(key)); }
    Hosts cached_addresses(const cache::Key& key) const {
        const cache::Entry* entry = cached(key);
        return entry ? addresses(key, *entry) : Hosts{};
    }
    const Clients::Woken& woken(std::uint64_t token) { return clients.woken[token]; }
    std::size_t queries_to(unsigned i) const {
        return std::size_t(std::ranges::count(network.sent, server(i), &Sent::to));
    }

    support::ManualClock clock;
    Time start = clock.now;
    FakeNetwork network{clock};
    support::FakeRandom random;
    cache::Grace grace;
    cache::Table table;
    Publisher publisher{table, grace, {}};
    std::vector<Upstreams> groups{limits::groups, Upstreams({})};
    Upstreams& upstreams = groups[0];
    Exchanges exchanges;
    Clients clients{clock};
    FetchTable fetches;
    Flushes flushes{table, grace, fetches};
    cache::Key a = make_key("a.com", LDNS_RR_TYPE_A), b = make_key("b.com", LDNS_RR_TYPE_A);

  private:
    std::uint64_t last_token_ = 0;
};

} // namespace millrace::control
