#include "tests/simulation/world.hpp"

#include <algorithm>

#include "control/limits.hpp"
#include "tests/simulation/servers.hpp"

namespace millrace::simulation {

using dataplane::Event;
using dataplane::Verdict;

namespace {

cache::Key probe_of_servers() {
    cache::Key key;
    key.name = name_of(Servers::probed_name);
    key.qtype = dns::type_a;
    key.qclass = dns::class_in;
    return key;
}

std::vector<dataplane::Routes::Route> routes_of(const Plan& plan) {
    std::vector<dataplane::Routes::Route> routes;
    for (unsigned zone = 0; zone < plan.routed; ++zone) routes.push_back({zone_of(zone), 1});
    return routes;
}

constexpr Time settling = 12s; // after the plan's last event: every deadline and every stall is over by then

} // namespace

World::SimulatedWorker::SimulatedWorker(World& world, unsigned index)
    : reader(world.grace_.add_reader()), port(world.scene_, world.questions_, index, world) {
    worker.emplace(dataplane::WorkerContext{port, world.table_, *reader, handoff, counters, world.rules_,
                                            &world.clock_});
    next = world.scene_.now + idle_turn;
}

World::World(const Plan& plan, Tally& tally, Trace& trace)
    : scene_(plan, tally, trace), random_(plan.seed, plan.has(Danger::few_ports)), network_(scene_),
      clock_(dataplane::TscClock::standing_still),
      rules_(std::make_unique<const dataplane::Rules>(
          std::make_shared<const dataplane::Access>(client_policy()), nullptr,
          std::make_shared<const dataplane::Routes>(routes_of(plan)))),
      table_({plan.entries, 2 * cache::Table::shard_octets() + plan.bytes}, grace_, cache::Hasher(plan.seed)),
      publisher_(table_, grace_, ttl_policy()), groups_{group(scene_.servers), group(Servers::others_mask)},
      probes_(scene_), ranker_(scene_, probes_),
      exchanges_(network_, random_, groups_, {.exchanges = plan.exchanges}),
      fetches_(table_, publisher_, exchanges_, groups_, *this, fetch_policy()),
      flushes_(table_, grace_, fetches_), fetch_table_(exchanges_.set_listener(*this)),
      entry_checks_(scene_, table_, network_, [this] { return inflight(); }),
      priority_checks_(scene_, entry_checks_, groups_, exchanges_),
      checks_(scene_, entry_checks_, questions_) {
    clock_.set(scene_.now);
    fetches_.set_ranker(&ranker_);
    fetches_.set_rules(dataplane::CurrentRules(rules_));
    network_.set_spy(
        [this](unsigned server, const Asked& asked) { priority_checks_.on_sent(server, asked); });
    begin_watch(checks_);
    for (unsigned i = 0; i < plan.workers; ++i) {
        auto& worker = *workers_.emplace_back(std::make_unique<SimulatedWorker>(*this, i));
        checks_.add_worker(*worker.worker, worker.counters, *worker.reader);
        worker.reader->online();
    }
    for (const PlanEvent& event : plan.events) {
        if (event.action == PlanEvent::Action::crowd)
            crowd(event);
        else
            events_.push_back(event);
    }
    std::ranges::stable_sort(events_, {}, &PlanEvent::at);
    control_next_ = control_last_ = scene_.now;
}

control::Upstreams World::group(unsigned servers) const {
    const Plan& plan = scene_.plan;
    return control::Upstreams(
        Servers::configured(scene_, servers),
        {.outstanding = plan.outstanding, .rate = plan.rate, .probe = probe_of_servers()});
}

dataplane::ClientPolicy World::client_policy() const {
    auto prefix = [](std::string_view text) { return *dataplane::parse_prefix(text); };
    dataplane::ClientPolicy policy{.allow = {prefix("10.0.0.0/8")}};
    const std::vector first{prefix("10.64.0.0/10")}, both{prefix("10.64.0.0/10"), prefix("10.128.0.0/10")};
    for (unsigned rule = 1; rule <= scene_.plan.dns64; ++rule) {
        dataplane::Dns64& dns64 = policy.dns64.emplace_back();
        dns64.prefix = prefix(nat64_prefix(scene_.nat64_of(rule)));
        dns64.clients = rule == 1 ? first : both;
        dns64.exclude = {prefix("::ffff:0:0/96")};
        bool excludes = scene_.plan.excluded >> (rule - 1) & 1;
        if (excludes) dns64.exclude.push_back(prefix(rule == 1 ? "fd00::/8" : "2a14::/16"));
        if (rule == 1 && scene_.plan.dns64_group) dns64.groups = {0};
    }
    return policy;
}

control::TtlPolicy World::ttl_policy() const {
    control::TtlPolicy policy;
    policy.stale = std::chrono::seconds(scene_.plan.stale_seconds);
    policy.min_ttl = std::chrono::seconds(scene_.plan.min_ttl_seconds);
    policy.stale_at_once = scene_.plan.at_once;
    return policy;
}

control::FetchPolicy World::fetch_policy() const {
    control::FetchPolicy policy;
    policy.fanout.active = scene_.plan.active;
    policy.fanout.batch = scene_.plan.batch;
    policy.merge = {control::Config::MergePolicy(scene_.merge), scene_.quorum};
    policy.ttl = ttl_policy();
    policy.max_addresses = scene_.plan.max_addresses;
    return policy;
}

std::vector<std::pair<cache::Generation, cache::Key>> World::inflight() const {
    std::vector<std::pair<cache::Generation, cache::Key>> list;
    for (const auto& fetch : fetches_.inflight(control::limits::fetches))
        list.emplace_back(fetch.generation, fetch.key);
    return list;
}

World::~World() {
    end_watch();
}

void World::run() {
    Time last = events_.empty() ? 0s : events_.back().at;
    Time end = scene_.start + last + settling;
    while (!stopping_ && scene_.now < end && !is_quiet()) run_until(std::min(end, scene_.now + 100ms));
    scene_.require(stopping_ || is_quiet(), "everything comes to an end", "something is still under way");
    finish();
}

/// As Daemon::run ends: fetches closed, rings drained, workers stopped; then nothing may be left.
void World::finish() {
    scene_.tally.add(Seen::shutdowns, stopping_);
    stopping_ = true;
    hurry_control();
    while (!closed_) run_until(scene_.now + 10ms); // it may be stopped for a while
    run_until(scene_.now + 300ms);                 // clients still ask, and are refused
    next_event_ = events_.size();
    for (auto& worker : workers_) worker->stall.reset();
    // Whoever is stalled comes back, and drains its ring.
    Time end = scene_.now + settling;
    auto is_over = [this] {
        return is_quiet() && grace_.limbo_bytes() == 0 && publisher_.reserve().bytes() == 0;
    };
    while (scene_.now < end && !is_over()) run_until(scene_.now + 100ms);
    checks_.check_end();
    auto& s = scene_;
    s.require(fetches_.live() == 0 && fetches_.waiting() == 0, "close() leaves nothing", "Fetches");
    s.require(exchanges_.open_count() == 0 && network_.open().empty(), "close() leaves nothing", "exchanges");
    s.require(grace_.limbo_entries() == 0 && grace_.limbo_bytes() == 0, "limbo empties once workers run on",
              "");
    s.require(flushes_open_ == 0, "every flush is acknowledged", "one is not");
    s.require(traces_open_ == 0, "every trace is told", "one is not");
    s.require(publisher_.reserve().bytes() == 0, "the reserve empties once workers run on", "");
    for (auto& worker : workers_) {
        worker->reader->offline();
        std::uint64_t expected = 0;
        for (const Question& q : questions_) {
            expected += &worker == &workers_[q.worker] && !(q.query.aspects & over_tcp) && q.arrived;
        }
        s.require(worker->counters.received() == expected, "every packet has one verdict",
                  "they do not add up");
    }
    for (const control::Upstreams& upstreams : groups_) {
        for (unsigned i = 0; i < upstreams.size(); ++i) {
            s.require(upstreams.outstanding(i) == 0, "close() leaves nothing",
                      "questions outstanding at an upstream");
        }
    }
    bool is_calm = s.plan.is_calm();
    s.tally.add(Seen::calm_runs, is_calm);
    s.require(!is_calm || std::ranges::all_of(questions_, &Question::is_content),
              "in a calm world everybody gets an answer", "somebody did not");
    count_everything();
}

// Time.

Time World::next_step() const {
    Time next = control_next_;
    if (next_event_ < events_.size()) next = std::min(next, scene_.start + events_[next_event_].at);
    for (const auto& worker : workers_) {
        if (!worker->in_turn) next = std::min(next, worker->next);
    }
    return next;
}

void World::run_until(Time end) {
    while (next_step() <= end) step();
    advance_to(end);
}

void World::advance_to(Time now) {
    scene_.now = std::max(scene_.now, now);
    clock_.set(scene_.now);
    network_.advance();
}

void World::step() {
    advance_to(next_step());
    ++scene_.steps;
    if (next_event_ < events_.size() && scene_.start + events_[next_event_].at <= scene_.now) {
        return run_event(events_[next_event_++]);
    }
    if (control_next_ <= scene_.now) return control_step();
    for (unsigned i = 0; i < workers_.size(); ++i) {
        if (!workers_[i]->in_turn && workers_[i]->next <= scene_.now) return turn(i);
    }
}

bool World::is_quiet() const {
    if (next_event_ < events_.size() || flushes_open_ || fetches_.live() || fetches_.waiting()) return false;
    return std::ranges::all_of(workers_, [](const auto& w) {
        return !w->port.has_queries() && w->taken == w->counters.get(Verdict::missed) &&
               w->reader->outstanding() == 0;
    });
}

void World::run_event(const PlanEvent& event) {
    using Action = PlanEvent::Action;
    switch (event.action) {
    case Action::query: return ask(event, event.client, event.name, event.id);
    case Action::flush_name:
    case Action::flush_zone:
    case Action::flush_all: return flush(event);
    case Action::reload: return reload(event);
    case Action::trace: return trace(event);
    case Action::stall_worker: {
        SimulatedWorker& worker = *workers_[event.worker % workers_.size()];
        scene_.tally.add(Seen::worker_stalls);
        if (Point(event.point) != Point::between_turns) {
            worker.stall = Stall{Point(event.point), event.length};
        } else {
            scene_.say("worker ", event.worker, " is stopped for ", event.length.count(), "us");
            worker.next = std::max(worker.next, scene_.now + event.length);
        }
        return;
    }
    case Action::stall_control:
        scene_.say("control is stopped for ", event.length.count(), "us");
        scene_.tally.add(Seen::control_stalls);
        control_next_ = std::max(control_next_, scene_.now + event.length);
        return;
    case Action::outage:
        scene_.tally.add(Seen::outages);
        return network_.fail_server(event.server % Servers::pool, scene_.now + event.length, event.point % 2);
    case Action::shutdown: stopping_ = true; return hurry_control();
    case Action::crowd:
    case Action::count_: return;
    }
}

// Workers.

void World::turn(unsigned index) {
    SimulatedWorker& worker = *workers_[index];
    if (worker.asleep) worker.reader->online();
    worker.asleep = false;
    worker.in_turn = true;
    std::uint64_t missed = worker.counters.get(Verdict::missed);
    checks_.begin_turn(index);
    bool busy = worker.worker->turn();
    checks_.end_turn(index);
    worker.in_turn = false;
    ++worker.turns;
    if (worker.counters.get(Verdict::missed) != missed) hurry_control();
    bool naps =
        !busy && scene_.has(Danger::naps) && scene_.chance.is(500, Topic::worker_nap, index, worker.turns);
    if (naps) {
        scene_.tally.add(Seen::naps);
        worker.reader->offline();
        worker.asleep = true;
        worker.next = scene_.now + 100ms;
    } else {
        Time gap = busy ? Time(30us) : idle_turn;
        worker.next = scene_.now + scene_.chance.between(1us, gap, Topic::worker_gap, index, worker.turns);
    }
}

/// There is something for the worker to do.
void World::poke(unsigned index) {
    SimulatedWorker& worker = *workers_[index];
    bool stopped = worker.next > scene_.now + (worker.asleep ? 100ms : idle_turn);
    if (stopped || worker.in_turn) return;
    Time soon = scene_.now + scene_.chance.between(1us, 40us, Topic::worker_gap, index, worker.turns, 1);
    worker.next = std::min(worker.next, soon);
}

/// Inside a turn: if the worker is to be stopped here, everybody else goes on meanwhile.
void World::at(unsigned index, Point point) {
    SimulatedWorker& worker = *workers_[index];
    if (!worker.stall || worker.stall->point != point) return;
    Time length = worker.stall->length;
    worker.stall.reset();
    scene_.tally.add(Seen::worker_stalls_in_a_turn);
    scene_.say("worker ", index, " is stopped while ", to_string(point), " for ", length.count(), "us");
    hurry_control();
    run_until(scene_.now + length);
    scene_.say("worker ", index, " goes on");
}

void World::on_reply(unsigned worker, std::uint32_t question, std::span<const std::uint8_t> reply,
                     bool woken) {
    checks_.on_reply(worker, question, reply, woken);
}

void World::count_everything() {
    Tally& t = scene_.tally;
    t.add(Seen::steps, scene_.steps);
    for (const auto& worker : workers_) {
        const dataplane::Counters& c = worker->counters;
        t.add(Seen::hits, c.get(Event::hit));
        t.add(Seen::stale_hits, c.get(Event::stale_hit));
        t.add(Seen::answered_by_wake, c.get(Event::wake_answered));
        t.add(Seen::abandoned_by_wake, c.get(Event::wake_abandoned));
        t.add(Seen::servfail_without_credit, c.get(Event::servfail_full));
        t.add(Seen::no_buffer, c.get(Event::buffer_exhausted));
    }
    const control::FetchCounters& f = fetches_.counters();
    t.add(Seen::fetches, f.fetches);
    t.add(Seen::coalesced, f.coalesced);
    t.add(Seen::refreshes, f.refreshes);
    t.add(Seen::refreshes_dropped, f.refreshes_dropped);
    t.add(Seen::rankings_late, f.ranked_late);
    t.add(Seen::answered_late, f.answered_late);
    t.add(Seen::failed_fetches, f.failed);
    t.add(Seen::disagreements, f.disagreements);
    t.add(Seen::waiters_refused, f.refused);
    t.add(Seen::stale_by_wake, f.stale);
    const control::PublishCounters& p = publisher_.counters();
    t.add(Seen::publications, p.published);
    t.add(Seen::superseded, p.superseded);
    t.add(Seen::merges, p.merged);
    t.add(Seen::failure_entries, p.failures);
    const control::ExchangeCounters& e = exchanges_.counters();
    for (const control::Upstreams& upstreams : groups_) {
        for (unsigned i = 0; i < upstreams.size(); ++i) {
            t.add(Seen::breakers_opened, upstreams.counters(i).opened);
            t.add(Seen::probes, upstreams.counters(i).probes);
        }
    }
    t.add(Seen::upstream_queries, e.sent);
    t.add(Seen::upstream_resends, e.resent);
    t.add(Seen::upstream_tcp, e.tcp);
    t.add(Seen::upstream_accepted, e.accepted);
    t.add(Seen::upstream_late, e.late);
    t.add(Seen::upstream_mismatched, e.mismatched);
    t.add(Seen::upstream_malformed, e.malformed);
    t.add(Seen::upstream_timeouts, e.timeouts);
    t.add(Seen::upstream_unreachable, e.unreachable);
    t.add(Seen::upstream_cancelled, e.cancelled);
    t.add(Seen::exchanges_refused, e.refused_full);
    t.add(Seen::collections_displaced, e.displaced);
    t.add(Seen::evictions, table_.evicted());
    t.add(Seen::rebuilds, table_.rebuilt());
}

void run_plan(const Plan& plan, Tally& tally, Trace& trace) {
    {
        World world(plan, tally, trace);
        world.run();
    }
    std::size_t left = forget_watched();
    if (left)
        Scene(plan, tally, trace).fail("every Entry is freed in the end", std::to_string(left) + " are not");
}

} // namespace millrace::simulation
