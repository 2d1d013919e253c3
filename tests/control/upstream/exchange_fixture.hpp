// Exchanges over a network without a kernel, with a clock that the test moves: what their tests share.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "control/message/reply_match.hpp"
#include "control/upstream/exchange.hpp"
#include "tests/support/fake_network.hpp"
#include "tests/support/replies.hpp"

namespace millrace::control {

using support::FakeNetwork;
using support::make_key;
using support::make_reply;
using support::ReplySpec;
using support::Sent;
using Octets = std::vector<std::uint8_t>;

inline const dataplane::Endpoint one = *dataplane::parse_endpoint("192.0.2.1", 53);
inline const dataplane::Endpoint two = *dataplane::parse_endpoint("192.0.2.2", 53);
inline const ReplySpec address{.answer = {"a.com. 60 IN A 192.0.2.77"}};

class ExchangeTest : public testing::Test, public ExchangeListener {
  protected:
    struct Failed {
        FetchId fetch;
        unsigned upstream;
        ExchangeFailure failure;
        Time at;
    };

    support::ManualClock clock;
    Time start = clock.now;
    FakeNetwork network{clock};
    support::FakeRandom random;
    std::vector<Upstreams> groups{Upstreams({one, two}, {.outstanding = 3, .silences = 2})};
    std::unique_ptr<Exchanges> exchanges = std::make_unique<Exchanges>(network, random, groups, limits());
    std::vector<std::pair<FetchId, Answer>> answers;
    std::vector<Failed> failures;
    std::vector<unsigned> hints;       ///< of upstreams
    std::vector<ExchangeEvent> events; ///< what traces would show
    unsigned budget = 1000;            ///< resends that may_resend() grants
    std::function<void()> on_event;    ///< what the listener does besides taking notes

    cache::Key key = make_key("a.com", LDNS_RR_TYPE_A);
    FetchId fetch{1, 10};

    static ExchangeLimits limits() {
        ExchangeLimits limits;
        limits.exchanges = 8;
        return limits;
    }
    void SetUp() override {
        exchanges->set_listener(*this);
        for (unsigned upstream : {0u, 1u}) { // servers as they should be, and seen to be so
            groups[0].habits(upstream).heard_opt();
            groups[0].habits(upstream).knew_mixed_case(LetterCase::kept, clock.now);
        }
    }
    void TearDown() override {
        exchanges.reset();
        EXPECT_EQ(network.open_count(), 0u);
        EXPECT_EQ(groups[0].outstanding(0) + groups[0].outstanding(1), 0u);
    }

    void on_answer(FetchId id, Answer&& answer) override {
        answers.emplace_back(id, std::move(answer));
        if (on_event) on_event();
    }
    void on_exchange_failed(FetchId id, unsigned upstream, ExchangeFailure failure) override {
        failures.push_back({id, upstream, failure, clock.now});
        if (on_event) on_event();
    }

    void on_exchange_hint(FetchId, unsigned upstream, Time) override { hints.push_back(upstream); }
    void on_exchange_event(FetchId, unsigned, ExchangeEvent event, Time) override { events.push_back(event); }
    bool may_resend(FetchId) override { return budget > 0 && budget-- > 0; }

    bool open(unsigned upstream = 0, Time life = 3s) {
        return exchanges->open(fetch, key, upstream, clock.now + life, clock.now);
    }
    void run(Time span) { network.run_until(clock.now + span, *exchanges); }
    /// An upstream that replies with `spec` after `delay`, changed by `change`.
    static FakeNetwork::Script answering(ReplySpec spec, Time delay = 20ms,
                                         std::function<void(Octets&)> change = {}) {
        return [=](FakeNetwork& net, const Sent& sent) {
            Octets reply = make_reply(sent.message, spec);
            if (change) change(reply);
            net.reply(sent, reply, delay);
        };
    }
    bool has_happened(ExchangeEvent event) const { return std::ranges::count(events, event) > 0; }
    const ExchangeCounters& counters() const { return exchanges->counters(); }
    const UpstreamCounters& health() const { return groups[0].counters(0); }
};

} // namespace millrace::control
