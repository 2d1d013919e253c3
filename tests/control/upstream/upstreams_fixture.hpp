// Three upstreams, and a clock that the test moves.
#pragma once

#include <vector>

#include <gtest/gtest.h>

#include "control/upstream/upstreams.hpp"
#include "tests/support/clock.hpp"

namespace millrace::control {

using Order = std::vector<unsigned>;

class UpstreamsTest : public testing::Test {
  protected:
    Upstreams upstreams{{*dataplane::parse_endpoint("192.0.2.1", 53),
                         *dataplane::parse_endpoint("192.0.2.2", 53),
                         *dataplane::parse_endpoint("192.0.2.3", 53)},
                        {.outstanding = 2, .failures = 3, .back_off = 5s, .longest_back_off = 15s}};
    Time now = support::clock_start();

    void fail(unsigned upstream, int times) {
        for (int i = 0; i < times; ++i) {
            bool is_trial = upstreams.begin(upstream, now);
            upstreams.judge_silence(upstream, 1s, now, is_trial);
            upstreams.end(upstream, is_trial);
        }
    }
    void succeed(unsigned upstream) {
        bool is_trial = upstreams.begin(upstream, now);
        upstreams.judge_reply(upstream, 0, now, false);
        upstreams.end(upstream, is_trial);
    }
    bool begin(unsigned upstream) { return upstreams.begin(upstream, now); }
    Breaker breaker(unsigned upstream) const { return upstreams.breaker(upstream); }
};

} // namespace millrace::control
