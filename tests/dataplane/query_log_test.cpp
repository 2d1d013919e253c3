// What is copied for the log, and what is not.
#include "dataplane/query_log.hpp"

#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "dataplane/logged_port.hpp"
#include "tests/support/memory_port.hpp"

namespace millrace::dataplane {
namespace {

const Endpoint client = *parse_endpoint("192.0.2.7:4000", 0);
const std::vector<std::uint8_t> query{0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, 1, 0, 1};

std::vector<std::uint8_t> response(unsigned rcode) {
    std::vector<std::uint8_t> out = query;
    out[2] |= 0x80;
    out[3] = std::uint8_t(out[3] | rcode);
    return out;
}

std::unique_ptr<LogRules> everything() {
    auto rules = std::make_unique<LogRules>();
    rules->kinds.fill(true);
    return rules;
}

LoggedMessage of(LoggedKind kind, const Endpoint& peer = client) {
    return {peer, 5ms, {}, 0, kind, Transport::udp};
}

/// What is taken out after `messages` were put in.
std::size_t logged(std::unique_ptr<LogRules> rules,
                   const std::vector<std::pair<LoggedMessage, std::vector<std::uint8_t>>>& messages) {
    cache::Replaceable<LogRules> all(std::move(rules));
    QueryLog log(all);
    for (const auto& [what, octets] : messages) log.add(what, octets);
    LoggedMessage what;
    std::vector<std::uint8_t> octets;
    std::size_t count = 0;
    while (log.ring().take(what, octets)) ++count;
    return count;
}

TEST(QueryLog, GivesBackWhatWasPutIn) {
    cache::Replaceable<LogRules> rules(everything());
    QueryLog log(rules);
    LoggedMessage what = of(LoggedKind::client_response), out;
    what.answered = 7ms;
    what.transport = Transport::tcp;
    std::vector<std::vector<std::uint8_t>> messages;
    for (std::size_t size : {12u, 16u, 17u, 80u, 81u, 1232u, 65535u}) {
        std::vector<std::uint8_t> octets(size);
        for (std::size_t i = 0; i < size; ++i) octets[i] = std::uint8_t(i * 7 + size);
        log.add(what, octets);
        messages.push_back(octets);
    }
    std::vector<std::uint8_t> octets;
    for (const auto& expected : messages) {
        ASSERT_TRUE(log.ring().take(out, octets));
        EXPECT_EQ(octets, expected);
        EXPECT_EQ(out.size, expected.size());
        EXPECT_EQ(out.peer, client);
        EXPECT_EQ(out.asked, Time(5ms));
        EXPECT_EQ(out.answered, Time(7ms));
        EXPECT_EQ(out.kind, LoggedKind::client_response);
        EXPECT_EQ(out.transport, Transport::tcp);
    }
    EXPECT_FALSE(log.ring().take(out, octets));
    EXPECT_EQ(log.ring().dropped(), 0u);
}

TEST(QueryLog, AFullRingDropsAndCounts) {
    cache::Replaceable<LogRules> rules(everything());
    QueryLog log(rules);
    std::size_t added = 0;
    for (; log.ring().dropped() == 0; ++added) log.add(of(LoggedKind::client_query), query);
    log.add(of(LoggedKind::client_query), query);
    EXPECT_EQ(log.ring().dropped(), 2u);
    LoggedMessage what;
    std::vector<std::uint8_t> octets;
    std::size_t taken = 0;
    for (; log.ring().take(what, octets); ++taken) EXPECT_EQ(octets, query);
    EXPECT_EQ(taken, added - 1);
    log.add(of(LoggedKind::client_query), query);
    EXPECT_TRUE(log.ring().take(what, octets)) << "it goes on";
}

TEST(QueryLog, KindsThatAreNotWanted) {
    auto rules = everything();
    rules->kinds[std::size_t(LoggedKind::client_query)] = false;
    EXPECT_EQ(logged(std::move(rules),
                     {{of(LoggedKind::client_query), query}, {of(LoggedKind::upstream_query), query}}),
              1u);
}

TEST(QueryLog, WhatIsShorterThanAHeaderIsNoMessage) {
    EXPECT_EQ(logged(everything(), {{of(LoggedKind::client_query), std::vector<std::uint8_t>(11)}}), 0u);
}

TEST(QueryLog, RcodesConcernResponsesAlone) {
    auto rules = everything();
    rules->rcodes = 1 << 0 | 1 << 3; // 0, which is what queries have there, too
    EXPECT_EQ(logged(std::move(rules), {{of(LoggedKind::client_query), query},
                                        {of(LoggedKind::upstream_query), query},
                                        {of(LoggedKind::client_response), response(0)},
                                        {of(LoggedKind::client_response), response(2)},
                                        {of(LoggedKind::upstream_response), response(3)}}),
              2u);
}

TEST(QueryLog, ClientsConcernClientsAlone) {
    auto rules = everything();
    rules->all_clients = false;
    rules->clients = AddressSet({*parse_prefix("198.51.100.0/24")});
    Endpoint wanted = *parse_endpoint("198.51.100.9:4000", 0);
    EXPECT_EQ(logged(std::move(rules), {{of(LoggedKind::client_query), query},
                                        {of(LoggedKind::client_query, wanted), query},
                                        {of(LoggedKind::client_response, wanted), response(0)},
                                        {of(LoggedKind::upstream_query), query}}),
              3u);
}

TEST(QueryLog, ASampleHasQueriesWithTheirResponses) {
    auto some = everything();
    some->part = LogRules::all / 10;
    cache::Replaceable<LogRules> rules(std::move(some));
    QueryLog log(rules);
    LoggedMessage what;
    std::vector<std::uint8_t> octets;
    std::multiset<std::pair<Endpoint, std::uint16_t>> seen;
    constexpr unsigned asked = 20000;
    for (unsigned i = 0; i < asked; ++i) {
        Endpoint peer = client;
        peer.port = std::uint16_t(1024 + i % 50);
        peer.address.octets[15] = std::uint8_t(i % 7);
        std::vector<std::uint8_t> message = query, reply = response(0);
        message[0] = reply[0] = std::uint8_t(i >> 8);
        message[1] = reply[1] = std::uint8_t(i);
        log.add(of(LoggedKind::client_query, peer), message);
        log.add(of(LoggedKind::client_response, peer), reply);
        while (log.ring().take(what, octets))
            seen.insert({what.peer, std::uint16_t(octets[0] << 8 | octets[1])});
    }
    for (const auto& one : seen) EXPECT_EQ(seen.count(one), 2u);
    EXPECT_GT(seen.size(), asked * 2 / 10 / 2);
    EXPECT_LT(seen.size(), asked * 2 / 10 * 2);
}

TEST(QueryLog, TwoThreads) {
    cache::Replaceable<LogRules> rules(everything());
    QueryLog log(rules);
    constexpr unsigned count = 50000;
    std::thread producer([&] {
        for (unsigned i = 0; i < count; ++i) {
            std::vector<std::uint8_t> message(12 + i % 200, std::uint8_t(i));
            log.add(of(LoggedKind::client_query), message);
        }
    });
    LoggedMessage what;
    std::vector<std::uint8_t> octets;
    std::uint64_t taken = 0;
    while (taken + log.ring().dropped() < count) {
        if (!log.ring().take(what, octets)) {
            std::this_thread::yield();
            continue;
        }
        ++taken;
        ASSERT_GE(octets.size(), 12u);
        for (std::uint8_t octet : octets) ASSERT_EQ(octet, octets.front());
    }
    producer.join();
}

TEST(QuerySample, OneInSoMany) {
    QuerySample sample;
    std::vector<std::uint8_t> message = query;
    Burst burst;
    burst.count = 3;
    for (Packet& packet : burst.packets)
        packet = {message.data(), std::uint16_t(message.size()), 0, 0, client, nullptr};
    LoggedMessage what;
    std::vector<std::uint8_t> octets;
    auto taken = [&](unsigned bursts) {
        unsigned count = 0;
        for (unsigned i = 0; i < bursts; ++i) {
            sample.look_at(burst);
            for (; sample.ring().take(what, octets); ++count) EXPECT_EQ(octets, query);
        }
        return count;
    };
    EXPECT_EQ(taken(100), 0u) << "none, as long as nobody wants any";
    sample.set_stride(1);
    EXPECT_EQ(taken(100), 300u);
    sample.set_stride(10);
    unsigned some = taken(10000);
    EXPECT_GT(some, 2500u);
    EXPECT_LT(some, 3500u);
}

TEST(LoggedPort, QueriesAndRepliesWithTheirTimes) {
    support::MemoryPort inner;
    cache::Replaceable<LogRules> rules(everything());
    QueryLog log(rules);
    TscClock clock(TscClock::standing_still);
    QuerySample sample;
    LoggedPort port(inner, sample, &log, &clock);
    Counters counters;
    Burst burst;
    inner.queries.push_back({client, query});
    inner.queries.push_back({client, query});
    burst.now = 10ms;
    port.receive(burst, counters);
    ASSERT_EQ(burst.count, 2u);
    ReturnPath path;
    port.save(burst.packets[1], path);
    burst.packets[0].reply = burst.packets[0].size;
    clock.set(11ms);
    port.send(burst, counters);
    ASSERT_EQ(inner.replies.size(), 1u);

    inner.queries.push_back({client, query}); // a later one, which is not answered yet
    burst.now = 30ms;
    port.receive(burst, counters);
    ASSERT_TRUE(port.compose(burst, path));
    ASSERT_EQ(burst.count, 2u);
    std::ranges::copy(response(3), burst.packets[1].data);
    burst.packets[1].reply = std::uint16_t(query.size());
    clock.set(31ms);
    port.send(burst, counters);
    EXPECT_EQ(inner.replies.size(), 2u);

    LoggedMessage what;
    std::vector<std::uint8_t> octets;
    for (int i = 0; i < 2; ++i) {
        ASSERT_TRUE(log.ring().take(what, octets));
        EXPECT_EQ(what.kind, LoggedKind::client_query);
        EXPECT_EQ(what.asked, Time(10ms));
        EXPECT_EQ(octets, query);
    }
    ASSERT_TRUE(log.ring().take(what, octets));
    EXPECT_EQ(what.kind, LoggedKind::client_response);
    EXPECT_EQ(what.asked, Time(10ms));
    EXPECT_EQ(what.answered, Time(11ms));
    ASSERT_TRUE(log.ring().take(what, octets));
    EXPECT_EQ(what.kind, LoggedKind::client_query);
    EXPECT_EQ(what.asked, Time(30ms));
    ASSERT_TRUE(log.ring().take(what, octets));
    EXPECT_EQ(what.kind, LoggedKind::client_response);
    EXPECT_EQ(what.asked, Time(10ms)) << "that of the query, which was long ago";
    EXPECT_EQ(what.answered, Time(31ms));
    EXPECT_EQ(octets, response(3));
    EXPECT_FALSE(log.ring().take(what, octets));
}

TEST(LoggedPort, ASampleHasQueriesWithTheirResponsesAlsoLateOnes) {
    support::MemoryPort inner;
    auto some = everything();
    some->part = LogRules::all / 10;
    cache::Replaceable<LogRules> rules(std::move(some));
    QueryLog log(rules);
    QuerySample sample;
    LoggedPort port(inner, sample, &log, nullptr);
    Counters counters;
    Burst burst;
    std::multiset<std::pair<LoggedKind, unsigned>> seen;
    constexpr unsigned turns = 3000; // of two queries, the second of which is answered in a burst of its own
    for (unsigned id = 0; id < 2 * turns; id += 2) {
        auto with_id = [](std::vector<std::uint8_t> message, unsigned its) {
            message[0] = std::uint8_t(its >> 8);
            message[1] = std::uint8_t(its);
            return message;
        };
        inner.queries = {{client, with_id(query, id)}, {client, with_id(query, id + 1)}};
        port.receive(burst, counters);
        ReturnPath path;
        port.save(burst.packets[1], path);
        burst.packets[0].reply = burst.packets[0].size;
        port.send(burst, counters);
        burst.count = 0;
        port.send(burst, counters); // nothing came of what was to be composed
        ASSERT_TRUE(port.compose(burst, path));
        std::ranges::copy(with_id(response(0), id + 1), burst.packets[0].data);
        burst.packets[0].reply = std::uint16_t(query.size());
        port.send(burst, counters);
        LoggedMessage what;
        std::vector<std::uint8_t> octets;
        while (log.ring().take(what, octets)) seen.insert({what.kind, octets[0] << 8U | octets[1]});
    }
    std::array<unsigned, 2> taken{};
    for (unsigned id = 0; id < 2 * turns; ++id) {
        auto queries = seen.count({LoggedKind::client_query, id});
        EXPECT_EQ(seen.count({LoggedKind::client_response, id}), queries) << id;
        taken[id % 2] += unsigned(queries);
    }
    for (unsigned count : taken) {
        EXPECT_GT(count, turns / 10 / 2);
        EXPECT_LT(count, turns / 10 * 2);
    }
}

} // namespace
} // namespace millrace::dataplane
