// Three upstreams, and a clock that the test moves.
#pragma once

#include <vector>

#include <gtest/gtest.h>

#include "control/upstream/upstreams.hpp"
#include "tests/support/clock.hpp"
#include "tests/support/fake_network.hpp"

namespace millrace::control {

using Order = std::vector<unsigned>;

class UpstreamsTest : public testing::Test {
  protected:
    Upstreams upstreams{{*dataplane::parse_endpoint("192.0.2.1", 53),
                         *dataplane::parse_endpoint("192.0.2.2", 53),
                         *dataplane::parse_endpoint("192.0.2.3", 53)},
                        {.outstanding = 2, .silences = 3, .back_off = 1s, .longest_back_off = 3s}};
    Time now = support::clock_start();
    support::FakeRandom random;

    Order ranked() { return upstreams.ranked(random); }

    using ProbeEnd = Upstreams::ProbeEnd;

    /// Questions that hear nothing.
    void silence(unsigned upstream, int times) {
        for (int i = 0; i < times; ++i) {
            upstreams.begin(upstream);
            upstreams.judge_timeout(upstream, 1s, now);
            upstreams.end(upstream);
        }
    }
    void reply(unsigned upstream, unsigned rcode = 0) {
        upstreams.begin(upstream);
        upstreams.judge_reply(upstream, rcode, now);
        upstreams.end(upstream);
    }
    /// The probe that is due to this server. Heard, its reply was judged before, as any other.
    void probe(unsigned upstream, ProbeEnd end) {
        ASSERT_EQ(upstreams.probe_due(now), upstream);
        upstreams.begin_probe(upstream);
        if (end == ProbeEnd::heard) upstreams.judge_reply(upstream, 0, now);
        upstreams.judge_probe(upstream, end, now);
    }
    void open(unsigned upstream) {
        silence(upstream, 3);
        probe(upstream, ProbeEnd::silent);
        ASSERT_EQ(breaker(upstream), Breaker::open);
    }
    Breaker breaker(unsigned upstream) const { return upstreams.breaker(upstream); }
};

} // namespace millrace::control
