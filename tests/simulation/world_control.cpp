// Control's side of the world: the parts of a tick, one step each, and what the product calls back.
#include "tests/simulation/world.hpp"

#include <algorithm>

#include "control/limits.hpp"
#include "dataplane/answer.hpp"

namespace millrace::simulation {

using cache::Version;
using control::Waiter;
using dataplane::Verdict;

namespace {

constexpr unsigned deliveries_per_tick = 256;

} // namespace

void World::control_step() {
    scene_.longest_pause = std::max(scene_.longest_pause, scene_.now - control_last_);
    control_last_ = scene_.now;
    if (stopping_ && !closed_) shut_down();
    Part part = part_;
    part_ = Part((unsigned(part) + 1) % unsigned(Part::count_));
    do_part(part);
    if (part_ != Part::misses) {
        Time gap = scene_.chance.between(0us, 12us, Topic::control_gap, ++ticks_);
        control_next_ = std::max(control_next_, scene_.now + gap);
    } else {
        schedule_control();
    }
}

void World::begin_step() {
    entry_checks_.begin_step();
    priority_checks_.begin_step();
}

void World::do_part(Part part) {
    begin_step();
    switch (part) {
    case Part::misses: take_misses(); break;
    case Part::network:
        for (unsigned i = 0; i < deliveries_per_tick && network_.deliver_one(); ++i) {
            after_control(); // each message is a step of its own
            begin_step();
        }
        while (probes_.end_one()) {
        }
        break;
    case Part::rankings: take_rankings(); break;
    case Part::fetches:
        priority_checks_.begin_tick();
        fetches_.tick(scene_.now);
        break;
    case Part::flushes: flushes_.tick(); break;
    case Part::upkeep: table_.upkeep(scene_.now); break;
    case Part::reclaim: grace_.reclaim(); break;
    case Part::zombie: raise_zombie(); break;
    case Part::count_: break;
    }
    after_control();
}

/// Looks at the table when anything has changed it, and at the bounds.
void World::after_control() {
    entry_checks_.note_generations(fetches_.last_generation());
    priority_checks_.end_step(fetches_.last_generation());
    const control::PublishCounters& p = publisher_.counters();
    std::uint64_t changes = 0;
    for (std::uint64_t count :
         {fetches_.last_generation(), p.published, p.superseded, p.full, table_.evicted(), table_.rebuilt(),
          std::uint64_t(table_.entries()), std::uint64_t(fetches_.live())}) {
        changes = changes * 1000003 + count;
    }
    bool changed = std::exchange(changes_, changes) != changes;
    if (changed || scene_.steps % 64 == 0) entry_checks_.look();
    auto& s = scene_;
    s.require(fetches_.waiting() == checks_.waits(), "the FetchTable knows who waits", "the counts differ");
    std::uint32_t probes = 0;
    for (const control::Upstreams& upstreams : groups_) {
        for (unsigned i = 0; i < upstreams.size(); ++i) probes += upstreams.is_probed(i);
    }
    s.require(fetches_.live() || exchanges_.open_count() == probes, "no exchange outlives its Fetch",
              "no Fetch, yet an exchange");
    s.require(exchanges_.open_count() <= s.plan.exchanges, "exchanges are bounded", "too many");
    s.require(network_.open().size() <= exchanges_.most_sockets(), "no socket outlives its exchange",
              "too many");
    s.require(probes_.open() == ranker_.prober().open() && probes_.open() <= control::limits::probes,
              "probes are bounded", "too many, or some that nobody knows of");
    std::size_t most_slots = s.plan.entries + s.plan.entries / (cache::limits::dead_share - 1);
    s.require(table_.entries() <= s.plan.entries && table_.slots() <= most_slots, "the table is bounded",
              "slots");
    s.require(table_.bytes() <= table_.limits().bytes, "the table is bounded", "bytes");
    s.require(publisher_.reserve().bytes() <= table_.limits().bytes / 64, "the reserve is bounded", "bytes");
}

void World::schedule_control() {
    bool waiting = flushes_open_ || grace_.limbo_bytes() || std::ranges::any_of(workers_, [](const auto& w) {
                       return w->taken != w->counters.get(Verdict::missed);
                   });
    Time due = std::min({fetches_.next_timer(), network_.next_arrival(), probes_.next_end(),
                         scene_.now + (waiting ? busy_tick : idle_tick)});
    Time gap = scene_.chance.between(1us, 100us, Topic::control_gap, ++ticks_);
    control_next_ = std::max({control_next_, scene_.now, due}) + gap;
}

/// Control sleeps no longer than 100 us while there is something to do, unless it is stopped.
void World::hurry_control() {
    if (control_next_ > scene_.now + idle_tick + 100us) return;
    Time gap = scene_.chance.between(1us, 100us, Topic::control_gap, ++ticks_);
    control_next_ = std::min(control_next_, scene_.now + gap);
}

/// As Workers::drain.
void World::take_misses() {
    std::array<dataplane::Miss, control::limits::miss_batch> misses;
    for (unsigned n = 0; n < workers_.size(); ++n) {
        unsigned index = (first_worker_ + n) % unsigned(workers_.size());
        SimulatedWorker& worker = *workers_[index];
        for (unsigned taken = 0; taken < control::limits::misses_per_tick;) {
            unsigned count = worker.handoff.take(misses);
            for (unsigned i = 0; i < count; ++i) {
                take_miss(worker, index, misses[i]);
            }
            taken += count;
            if (count < misses.size()) break;
        }
    }
    ++first_worker_;
}

void World::take_miss(SimulatedWorker& worker, unsigned index, const dataplane::Miss& miss) {
    std::uint32_t key = entry_checks_.find_key(miss.key);
    cache::Generation before = fetches_.last_generation();
    if (miss.is_refresh()) {
        fetches_.refresh(miss.key, miss.hash, miss.refresh, scene_.now);
    } else {
        ++worker.taken;
        std::size_t waits = checks_.waits();
        bool is_told_stale = is_told_at_once(miss.key, miss.hash);
        checks_.on_miss(index, miss.waiter, miss.key, key);
        asking_ = true;
        Waiter waiter{index, miss.waiter, miss.client, miss.id, miss.arrived};
        fetches_.resolve(miss.key, miss.hash, waiter, scene_.now);
        asking_ = false;
        require_told(is_told_stale, waits);
    }
    entry_checks_.note_start(key, before, fetches_.last_generation());
}

/// Whether there is something for a client that need not be asked for first.
bool World::is_told_at_once(const cache::Key& key, cache::Hash hash) const {
    return scene_.plan.at_once && table_.find_usable(key, hash, scene_.now);
}

void World::require_told(bool is_told, std::size_t waits_before) {
    scene_.require(!is_told || checks_.waits() <= waits_before, "stale data is told at once",
                   "somebody waits though there is some");
}

void World::take_rankings() {
    ranker_.tick();
    while (auto order = ranker_.take()) {
        begin_step();
        entry_checks_.expect_order(order->fetch.generation, order->addresses);
        std::uint64_t late = fetches_.counters().ranked_late;
        fetches_.on_ranked(order->fetch, order->addresses);
        scene_.tally.add(Seen::rankings, fetches_.counters().ranked_late == late);
        after_control();
    }
}

/// A question over TCP: control has read it itself (TcpServer).
void World::ask_stream(std::uint32_t number) {
    begin_step();
    buffer_.resize(512);
    Question& question = questions_[number];
    std::size_t size = write_query(question.query, buffer_);
    dataplane::Query query;
    dataplane::Query::parse({buffer_.data(), size}, dataplane::Transport::tcp, query);
    scene_.tally.add(Seen::tcp_queries);
    checks_.on_stream_miss();
    std::uint32_t key = entry_checks_.key_of(question);
    cache::Generation before = fetches_.last_generation();
    std::size_t waits = checks_.waits() - 1;
    Waiter waiter{Waiter::tcp_source, number, endpoint_of(question), question.query.id, scene_.now};
    query.key.group = rules_.get().routes->group_of(query.key.name.bytes(), query.key.qtype);
    query.key.set_dns64(rules_.get().access->dns64_of(waiter.client.address, query.key));
    cache::Hash hash = table_.hasher()(query.key);
    bool is_told_stale = is_told_at_once(query.key, hash);
    fetches_.resolve(query.key, hash, waiter, scene_.now);
    require_told(is_told_stale, waits);
    entry_checks_.note_start(key, before, fetches_.last_generation());
    after_control();
    hurry_control();
}

void World::wake(const Waiter& waiter, const cache::Entry* entry, dataplane::Wake::Kind kind) {
    entry_checks_.note_generations(fetches_.last_generation());
    bool is_replaced = asking_ && !closed_ && kind == dataplane::Wake::Kind::abandon;
    scene_.tally.add(Seen::retransmissions_replaced, is_replaced);
    if (!waiter.is_tcp()) {
        checks_.on_wake(waiter.source, std::uint32_t(waiter.token), entry, kind);
        workers_[waiter.source]->reader->sent();
        workers_[waiter.source]->handoff.send({entry, std::uint32_t(waiter.token), kind});
        return poke(waiter.source);
    }
    auto number = std::uint32_t(waiter.token);
    const Question& question = questions_[number];
    checks_.on_stream_wake(entry_checks_.key_of(question), entry, kind);
    if (!entry) return;
    Octets out(4096);
    std::size_t size = write_query(question.query, out);
    dataplane::Query query;
    dataplane::Query::parse({out.data(), size}, dataplane::Transport::tcp, query);
    using Age = dataplane::answer::Age;
    Age age = kind == dataplane::Wake::Kind::stale ? Age::stale : Age::counted;
    std::span<const std::uint8_t> asked(out.data() + header_octets, query.head.question_size);
    out.resize(dataplane::answer::write(query.head, asked, *entry, scene_.now, age, out));
    checks_.on_stream_reply(number, out);
}

void World::on_answer(control::FetchId fetch, control::Answer&& answer) {
    entry_checks_.on_accepted(fetch, answer);
    priority_checks_.on_answer(fetch, answer);
    std::uint32_t key = entry_checks_.key_of_generation(fetch.generation);
    bool useful = answer.kind == control::Kind::positive || answer.kind == control::Kind::nodata;
    if (scene_.has(Danger::zombies) && key != EntryChecks::no_key && useful) answers_[key] = {fetch, answer};
    fetch_table_->on_answer(fetch, std::move(answer));
}

void World::on_exchange_failed(control::FetchId fetch, unsigned upstream, control::ExchangeFailure failure) {
    priority_checks_.on_end(fetch, upstream);
    fetch_table_->on_exchange_failed(fetch, upstream, failure);
}

void World::on_exchange_hint(control::FetchId fetch, unsigned upstream, Time now) {
    priority_checks_.on_end(fetch, upstream);
    fetch_table_->on_exchange_hint(fetch, upstream, now);
}

void World::on_exchange_event(control::FetchId fetch, unsigned upstream, control::ExchangeEvent event,
                              Time now) {
    fetch_table_->on_exchange_event(fetch, upstream, event, now);
}

/// What is left of Fetches that are over comes back, as if nobody had stopped it. No part of the product does
/// this while all of them are right; each has to refuse it nevertheless.
void World::raise_zombie() {
    if (closed_ || answers_.empty() || !scene_.chance.is(150, Topic::zombie, ++zombies_)) return;
    if (scene_.chance.is(300, Topic::zombie, 2, zombies_)) return answer_late();
    auto index = std::uint32_t(scene_.chance.below(entry_checks_.keys(), Topic::zombie, 1, zombies_));
    auto found = answers_.find(index);
    if (found != answers_.end()) publish_again(entry_checks_.state(index), found->second.answer);
}

/// A reply for a Fetch that has had it already; its place may be another's by now.
void World::answer_late() {
    std::vector<const Heard*> heard;
    for (std::uint32_t key = 0; key < entry_checks_.keys(); ++key) {
        auto found = answers_.find(key);
        if (found != answers_.end()) heard.push_back(&found->second);
    }
    const Heard& one = *heard[scene_.chance.below(heard.size(), Topic::zombie, 3, zombies_)];
    scene_.say("generation ", one.fetch.generation, " is answered once more");
    fetch_table_->on_answer(one.fetch, control::Answer(one.answer));
}

/// A publication under a version that must be refused: of a generation that was superseded, of the version
/// that is published, or at the floor.
void World::publish_again(const KeyState& key, const control::Answer& answer) {
    const cache::Node* node = table_.locate(key.key, key.hash);
    // Rebuilt meanwhile, or the table was full: what was started there is not known to the slot.
    if (!node || !key.started || node->second.started != key.started) return;
    Version version{key.started, 7};
    bool is_floored = table_.floor(key.key.group) >= key.started;
    if (!is_floored && key.entry && zombies_ % 2) {
        version = key.entry->version;
    } else if (!is_floored) {
        version.generation -= 1;
    }
    auto published = publisher_.publish(key.key, key.hash, answer, version, scene_.now + 5s);
    scene_.require(published.verdict != cache::Publication::accepted,
                   "a superseded result is never published", "a zombie's was");
    scene_.tally.add(Seen::zombies_refused, published.verdict == cache::Publication::superseded);
}

void World::shut_down() {
    scene_.say("shutdown: ", fetches_.live(), " fetches, ", fetches_.waiting(), " waiters");
    scene_.tally.add(Seen::shutdowns_with_fetches, fetches_.live() > 0);
    scene_.tally.add(Seen::shutdowns_with_waiters, fetches_.waiting() > 0);
    closed_ = true;
    begin_step();
    fetches_.close();
    after_control();
    hurry_control();
}

} // namespace millrace::simulation
