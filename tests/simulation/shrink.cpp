#include "tests/simulation/shrink.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iostream>

#include "tests/simulation/runner.hpp"

namespace millrace::simulation {

namespace {

constexpr double time_limit = 60; // seconds
constexpr unsigned trial_limit = 3000;

class Shrinking {
  public:
    Shrinking(const Plan& plan, const Failure& failure) : plan_(plan), failure_(failure) {}

    Plan run() {
        bool better = true;
        while (better && !is_over()) {
            better = drop_events();
            better = drop_dangers() || better;
            better = simplify_sizes() || better;
            better = shorten_events() || better;
        }
        std::cout << "shrunk in " << trials_ << " runs" << std::endl;
        return plan_;
    }

  private:
    bool is_over() const {
        std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin_;
        return spent.count() > time_limit || trials_ >= trial_limit;
    }

    /// Keeps the candidate if it fails in the same way.
    bool accept(const Plan& candidate) {
        if (is_over()) return false;
        ++trials_;
        auto failure = try_plan(candidate);
        if (!failure || std::strcmp(failure->invariant, failure_.invariant) != 0) return false;
        plan_ = candidate;
        return true;
    }

    bool drop_events() {
        bool better = false;
        for (std::size_t chunk = (plan_.events.size() + 1) / 2; chunk >= 1; chunk /= 2) {
            for (std::size_t at = 0; at < plan_.events.size();) {
                Plan candidate = plan_;
                auto first = candidate.events.begin() + std::ptrdiff_t(at);
                candidate.events.erase(first,
                                       first + std::ptrdiff_t(std::min(chunk, plan_.events.size() - at)));
                bool dropped = accept(candidate);
                better = better || dropped;
                if (!dropped) at += chunk;
                if (is_over()) return better;
            }
        }
        return better;
    }

    bool drop_dangers() {
        bool better = false;
        for (std::size_t i = 0; i < dangers; ++i) {
            if (!plan_.on[i]) continue;
            Plan candidate = plan_;
            candidate.on.reset(i);
            better = accept(candidate) || better;
        }
        return better;
    }

    bool simplify_sizes() {
        bool better = false;
        const Plan simplest;
        for (const Size& size : sizes) {
            for (unsigned value : {simplest.*(size.member), 1u, plan_.*(size.member) / 2}) {
                if (value == plan_.*(size.member) || value < size.least) continue;
                bool grows = value > plan_.*(size.member);
                if (grows && value != simplest.*(size.member)) continue;
                if (plan_.*(size.member) == simplest.*(size.member)) break;
                Plan candidate = plan_;
                candidate.*(size.member) = value;
                if (!accept(candidate)) continue;
                better = true;
                break;
            }
        }
        return better;
    }

    /// Crowds, stalls and outages of half the size; questions without their aspects.
    bool shorten_events() {
        bool better = false;
        for (std::size_t i = 0; i < plan_.events.size(); ++i) {
            auto attempt = [&](auto change) {
                Plan candidate = plan_;
                change(candidate.events[i]);
                bool kept = accept(candidate);
                better = better || kept;
                return kept;
            };
            while (plan_.events[i].count > 1 && attempt([](PlanEvent& e) { e.count /= 2; })) {
            }
            while (plan_.events[i].length > 1ms && attempt([](PlanEvent& e) { e.length /= 2; })) {
            }
            if (plan_.events[i].aspects) attempt([](PlanEvent& e) { e.aspects = 0; });
        }
        return better;
    }

    Plan plan_;
    const Failure& failure_;
    unsigned trials_ = 0;
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

} // namespace

Plan shrink(const Plan& plan, const Failure& failure) {
    return Shrinking(plan, failure).run();
}

} // namespace millrace::simulation
