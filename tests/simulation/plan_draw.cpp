// A Plan from a seed. Sizes are drawn so that small runs, in which a failure is easy to understand, are as
// likely as large ones; only few seeds are so large that they exhaust a worker's credits or its rings.
#include <algorithm>

#include "tests/simulation/chance.hpp"
#include "tests/simulation/ledger.hpp"
#include "tests/simulation/nat64.hpp"
#include "tests/simulation/plan.hpp"

namespace millrace::simulation {

namespace {

class Drawing {
  public:
    explicit Drawing(std::uint64_t seed) : draws_(seed) { plan_.seed = seed; }

    Plan run() {
        bool is_calm = draws_.is(40);
        unsigned likely = is_calm ? 0 : draws_.between(200, 800); // how many dangers there are is drawn, too
        for (std::size_t i = 0; i < dangers; ++i) plan_.on[i] = draws_.is(likely);
        draw_sizes();
        if (!is_calm) draw_limits();
        names_ = draws_.spread(1, plan_.entries < 100 ? 64 : 160);
        draw_queries();
        if (draws_.is(600)) draw_operator();
        if (!is_calm) draw_troubles();
        if (draws_.is(300)) plan_.max_addresses = draws_.between(1, 3);
        draw_policies();
        std::ranges::stable_sort(plan_.events, {}, &PlanEvent::at);
        return std::move(plan_);
    }

  private:
    PlanEvent& add(PlanEvent::Action action, Time at) {
        PlanEvent& event = plan_.events.emplace_back();
        event.action = action;
        event.at = at;
        return event;
    }

    void draw_sizes() {
        plan_.workers = draws_.between(1, 3);
        plan_.servers = draws_.between(1, 5);
        plan_.intensity = draws_.spread(10, 400);
        plan_.active = draws_.between(1, 3);
        plan_.batch = draws_.between(1, 3);
        plan_.merge = draw_merge();
        plan_.quorum = draws_.between(1, 3);
        plan_.stale_seconds = draws_.is(300) ? 0 : draws_.spread(1, 64);
        if (draws_.is(150)) plan_.min_ttl_seconds = draws_.between(1, 4);
        if (draws_.is(400)) plan_.routed = draws_.between(1, zones - 1);
        clients_ = draws_.spread(1, 4000);
        end_ = draws_.between(1s, 9s);
    }

    void draw_policies() {
        if (draws_.is(400)) plan_.priorities = draws_.between(2, 3);
        if (draws_.is(300)) plan_.weights = draws_.between(2, 8);
        plan_.at_once = draws_.is(250);
        if (!draws_.is(450)) return;
        plan_.dns64 = draws_.between(1, 2);
        if (draws_.is(600)) plan_.nat64 = draws_.between(0, nat64_count - 1);
        plan_.dns64_group = draws_.is(300);
        if (draws_.is(500)) plan_.excluded = draws_.between(1, 3);
        for (PlanEvent& event : plan_.events) { // who has IPv6 alone asks for little else
            bool asks = event.action == PlanEvent::Action::query && !(event.aspects & text);
            if (asks && draws_.is(400)) event.aspects |= aaaa;
        }
    }

    void draw_limits() {
        if (draws_.is(300)) {
            plan_.entries = draws_.spread(4, 64);
        } else if (draws_.is(300)) {
            plan_.bytes = draws_.between(8 << 10, 64 << 10);
        } else if (draws_.is(300)) {
            plan_.entries = 5000; // two shards
        }
        if (draws_.is(120)) plan_.exchanges = draws_.spread(2, 64);
        if (draws_.is(120)) plan_.outstanding = draws_.spread(1, 32);
        if (draws_.is(60)) plan_.rate = draws_.spread(8, 256);
    }

    void draw_troubles() {
        if (draws_.is(25)) draw_crowd();
        if (draws_.is(500)) draw_stalls();
        if (draws_.is(400)) draw_outages();
        if (draws_.is(250)) add(PlanEvent::Action::shutdown, draws_.between(end_ / 4, end_));
    }

    /// Mostly union: it is the default, and it does most.
    unsigned draw_merge() { return draws_.is(600) ? 0 : draws_.between(1, 3); }

    /// Half of the runs have their queries in a few moments, where they meet.
    void draw_queries() {
        unsigned count = draws_.spread(4, 384);
        bool clustered = draws_.is(500), plain = draws_.is(300);
        for (unsigned i = 0; i < count; ++i) {
            Time at = draws_.between(0s, end_);
            if (clustered) at = at / 5 / (end_ / 20) * (end_ / 4) + draws_.between(0s, 60ms);
            PlanEvent& e = add(PlanEvent::Action::query, at);
            // The square of a uniform draw: some names are asked for often.
            e.name = unsigned(draws_.below(names_) * draws_.below(names_) / names_);
            e.client = unsigned(draws_.below(clients_));
            e.id = (i * 40503 + 77) % 65536; // each another
            e.worker = unsigned(draws_.below(plan_.workers));
            e.aspects = plain ? 0u : draw_aspects();
            if (plan_.on.any() && draws_.is(50)) draw_retransmission(e);
        }
    }

    unsigned draw_aspects() {
        unsigned aspects = 0;
        if (draws_.is(250)) aspects |= aaaa;
        if (draws_.is(50)) aspects |= text;
        if (draws_.is(500)) aspects |= edns;
        if (draws_.is(150)) aspects |= edns | dnssec;
        if (draws_.is(50)) aspects |= unchecked;
        if (draws_.is(80)) aspects |= over_tcp;
        return aspects;
    }

    void draw_retransmission(PlanEvent first) {
        first.at += draws_.between(1ms, 1500ms);
        plan_.events.push_back(first);
    }

    /// More questions than a worker has credits, for names that nobody answers in time, or while control
    /// stands still so that the ring to it runs full.
    void draw_crowd() {
        Time at = draws_.between(0s, end_ / 2), length = draws_.between(100ms, 800ms);
        PlanEvent& crowd = add(PlanEvent::Action::crowd, at);
        crowd.length = length;
        crowd.count = draws_.between(4200, 5000);
        crowd.span = draws_.between(40, 80);
        crowd.worker = unsigned(draws_.below(plan_.workers));
        if (draws_.is(500)) {
            add(PlanEvent::Action::stall_control, at).length = length + 100ms;
        } else {
            for (unsigned i = 0; i < plan_.servers; ++i) {
                PlanEvent& outage = add(PlanEvent::Action::outage, at);
                outage.server = i;
                outage.length = 3s;
            }
        }
    }

    void draw_operator() {
        using Action = PlanEvent::Action;
        auto some = [&](unsigned likely, unsigned most) {
            return draws_.is(likely) ? draws_.between(1, most) : 0;
        };
        for (unsigned i = some(700, 6); i > 0; --i) {
            add(Action::flush_name, draw_moment()).name = unsigned(draws_.below(names_));
        }
        for (unsigned i = some(400, 3); i > 0; --i) {
            add(Action::flush_zone, draw_moment()).name = unsigned(draws_.below(zones + 1));
        }
        for (unsigned i = some(400, 3); i > 0; --i) add(Action::flush_all, draw_moment());
        for (unsigned i = some(400, 3); i > 0; --i) {
            PlanEvent& reload = add(Action::reload, draw_moment());
            reload.server = 1 + unsigned(draws_.below(255)); // of a pool of eight
            reload.span = draw_merge();
            reload.count = draws_.between(1, 3);
            reload.point = unsigned(draws_.below(8));
        }
        for (unsigned i = some(300, 3); i > 0; --i) {
            add(Action::trace, draw_moment()).name = unsigned(draws_.below(names_));
        }
    }

    /// Most things that operators do hit more when they come shortly after a question.
    Time draw_moment() {
        if (draws_.is(300)) return draws_.between(0s, end_);
        const PlanEvent& asked = plan_.events[draws_.below(plan_.events.size())];
        return asked.at + draws_.between(0s, draws_.is(500) ? Time(5ms) : Time(400ms));
    }

    void draw_stalls() {
        for (unsigned i = draws_.between(1, 4); i > 0; --i) {
            PlanEvent& stall = add(PlanEvent::Action::stall_worker, draw_moment());
            stall.worker = unsigned(draws_.below(plan_.workers));
            stall.point = unsigned(draws_.below(std::uint64_t(Point::count_)));
            stall.length = draws_.is(500) ? draws_.between(1ms, 50ms) : draws_.between(50ms, 3s);
        }
        for (unsigned i = draws_.between(0, 2); i > 0; --i) {
            add(PlanEvent::Action::stall_control, draw_moment()).length = draws_.between(1ms, 700ms);
        }
    }

    void draw_outages() {
        for (unsigned i = draws_.between(1, 4); i > 0; --i) {
            PlanEvent& outage = add(PlanEvent::Action::outage, draws_.between(0s, end_));
            outage.server = unsigned(draws_.below(plan_.servers + 2)) % 8;
            outage.point = unsigned(draws_.below(2));
            outage.length = draws_.between(10ms, 4s);
        }
    }

    Sequence draws_;
    Plan plan_;
    unsigned names_ = 1, clients_ = 1;
    Time end_{};
};

} // namespace

Plan Plan::draw(std::uint64_t seed) {
    return Drawing(seed).run();
}

} // namespace millrace::simulation
