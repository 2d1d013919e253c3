#include "tests/stress/owner.hpp"

#include <algorithm>
#include <utility>

namespace millrace::stress {

using cache::Publication;

namespace {

constexpr Time first_answer = 2ms, next_revision = 5ms, ghost_time = 10ms; // at most
constexpr Time longest_life = 2s, short_life = 5ms;
constexpr Time between_stocks = 200ms;
constexpr std::uint64_t evictions_of_round = 200;
constexpr unsigned flushes_of_round = 30;
constexpr unsigned misses_per_tick = 32, starts_per_tick = 4, timers_per_tick = 64;
constexpr unsigned last_revision = 2;
constexpr std::size_t most_flushes = 8, most_ghosts = 4096, most_live = 4096;
constexpr std::size_t lists_octets = 65536; // access lists wait in limbo, too, and ask for no room

} // namespace

Owner::Owner(const Options& options, cache::Table& table, cache::Grace& grace, const Names& names,
             Checks& checks, Acknowledged& acknowledged, test::RulesInEffect& rules,
             std::span<const std::unique_ptr<WorkerThread>> readers)
    : table_(table), grace_(grace), rules_(rules), reserve_(grace, table_limits.bytes / 64), names_(names),
      checks_(checks), readers_(readers), flusher_(table, grace, checks, acknowledged, readers),
      chance_(options.seed), published_(names.size()) {
    cache::EntryDraft draft;
    draft.rcode = 2;
    servfail_ = cache::Entry::make(draft);
}

void Owner::tick() {
    now_ = boot_time();
    for (unsigned i = 0; i < readers_.size(); ++i) take_misses(i);
    // Besides what is asked for: so that names are replaced while they are being read.
    bool room = live_.size() < most_live && grace_.limbo_bytes() < table_limits.bytes / 4;
    for (unsigned i = 0; i < starts_per_tick && room; ++i) {
        unsigned name = Names::pick(chance_);
        start(name, retire(name, false));
    }
    run_timers();
    run_ghosts();
    if (chance_() % 4 == 0) flush_something();
    flusher_.tick();
    look_after();
}

void Owner::drain() {
    Time end = boot_time() + 20s;
    auto waits = [](const auto& reader) { return reader->grace().outstanding() > 0; };
    do {
        now_ = boot_time();
        for (unsigned i = 0; i < readers_.size(); ++i) take_misses(i);
        run_timers();
        flusher_.tick();
        grace_.reclaim();
        reserve_.reclaim();
    } while ((!live_.empty() || flusher_.waiting() || grace_.limbo_entries() || reserve_.entries() ||
              std::ranges::any_of(readers_, waits)) &&
             now_ < end);
    // A Miss may have been handed over while the others were counted; readers ask for nothing any more.
    for (const auto& reader : readers_) {
        const dataplane::Counters& n = reader->counters();
        checks_.add(Event::hits, n.get(dataplane::Event::hit));
        checks_.add(Event::misses, n.get(dataplane::Verdict::missed));
        checks_.add(Event::wakes, n.get(dataplane::Event::wake_answered));
        if (n.get(dataplane::Verdict::missed) == n.get(dataplane::Event::wake_answered)) continue;
        checks_.violated(Rule::ended, std::to_string(n.get(dataplane::Verdict::missed)) + " missed, " +
                                          std::to_string(n.get(dataplane::Event::wake_answered)) + " woken");
    }
    take_stock();
}

void Owner::take_misses(unsigned reader) {
    std::array<dataplane::Miss, misses_per_tick> misses;
    unsigned count = readers_[reader]->handoff().take(misses);
    for (unsigned i = 0; i < count; ++i) {
        unsigned name = Names::index_of(misses[i].key);
        if (misses[i].is_refresh()) {
            refresh(name, misses[i].refresh);
        } else {
            ask(name, {reader, misses[i].waiter});
        }
    }
}

void Owner::refresh(unsigned name, cache::Version version) {
    checks_.add(Event::refreshes);
    if (!live_.contains(name) && published_[name] == version) start(name, {});
}

void Owner::ask(unsigned name, const Waiter& waiter) {
    std::vector<Waiter> waiters{waiter};
    const cache::Entry* entry = table_.find(names_[name].key, names_[name].hash);
    if (entry && now_ < entry->expiry && entry->version.generation > table_.floor(0))
        return wake(waiters, entry);
    auto live = live_.find(name);
    if (live != live_.end() && live->second.version.revision == 0)
        return live->second.waiters.push_back(waiter);
    if (live != live_.end() && live->second.held && now_ < live->second.held.entry()->expiry) {
        return wake(waiters, live->second.held.entry(), &live->second.held);
    }
    retire(name, false); // it has answered: nobody waits for it
    start(name, std::move(waiters));
}

void Owner::start(unsigned name, std::vector<Waiter> waiters) {
    cache::Generation generation = ++last_generation_;
    bool in_table = table_.start(names_[name].key, names_[name].hash, generation);
    live_.insert_or_assign(name, Fetch{name, {generation, 0}, std::move(waiters), {}, in_table});
    timers_.emplace(some_time(first_answer), std::pair(name, generation));
}

/// The live Fetch of the name, if any, is superseded. Returns who waited for it.
std::vector<Owner::Waiter> Owner::retire(unsigned name, bool by_floor) {
    auto node = live_.extract(name);
    if (node.empty()) return {};
    Fetch& fetch = node.mapped();
    std::vector<Waiter> waiters = std::exchange(fetch.waiters, {});
    table_.finish(names_[name].key, names_[name].hash, fetch.version.generation);
    fetch.floored = by_floor;
    fetch.held = {};
    if (ghosts_.size() < most_ghosts) ghosts_.emplace(some_time(ghost_time), std::move(fetch));
    return waiters;
}

void Owner::run_timers() {
    for (unsigned i = 0; i < timers_per_tick && !timers_.empty() && timers_.begin()->first <= now_; ++i) {
        auto [name, generation] = timers_.extract(timers_.begin()).mapped();
        auto live = live_.find(name);
        if (live == live_.end() || live->second.version.generation != generation) continue;
        Fetch& fetch = live->second;
        publish(fetch, false);
        if (++fetch.version.revision <= last_revision) {
            timers_.emplace(some_time(next_revision), std::pair(name, generation));
        } else {
            table_.finish(names_[name].key, names_[name].hash, generation);
            live_.erase(live);
        }
    }
}

/// A ghost is refused for as long as its successor lives, and for ever under a floor.
void Owner::run_ghosts() {
    while (!ghosts_.empty() && ghosts_.begin()->first <= now_) {
        Fetch ghost = std::move(ghosts_.extract(ghosts_.begin()).mapped());
        auto live = live_.find(ghost.name);
        if (ghost.floored || (live != live_.end() && live->second.in_table)) publish(ghost, true);
    }
}

void Owner::publish(Fetch& fetch, bool is_void) {
    const Name& name = names_[fetch.name];
    cache::EntryPtr entry = make_entry({fetch.name, fetch.version}, now_, some_life());
    const cache::Entry* raw = entry.get();
    bool occupied = table_.find(name.key, name.hash);
    Publication verdict = table_.publish(name.key, name.hash, entry);
    judge(fetch, is_void, verdict);
    if (verdict == Publication::accepted) {
        placed_ += !occupied;
        published_[fetch.name] = fetch.version;
        fetch.held = {};
        return wake(fetch.waiters, raw);
    }
    cache::Reserve::Hold hold = reserve_.hold(entry);
    wake(fetch.waiters, hold ? hold.entry() : servfail_.get(), hold ? &hold : nullptr);
    bool in_table = published_[fetch.name].generation == fetch.version.generation;
    if (hold && !is_void && !in_table) fetch.held = std::move(hold);
}

/// One in four is over almost at once.
Time Owner::some_life() {
    Time longest = chance_() % 4 ? longest_life : short_life;
    return Time(std::int64_t(chance_() % std::uint64_t(longest.count())));
}

void Owner::judge(const Fetch& fetch, bool is_void, Publication verdict) {
    switch (verdict) {
    case Publication::accepted: checks_.add(Event::publishes); break;
    case Publication::superseded: checks_.add(Event::superseded); break;
    case Publication::full: checks_.add(Event::full); return;
    }
    if (is_void == (verdict == Publication::superseded)) return;
    checks_.violated(Rule::judged, "generation " + std::to_string(fetch.version.generation) + " of name " +
                                       std::to_string(fetch.name) +
                                       (is_void ? " was superseded and accepted" : " was live and refused"));
}

void Owner::wake(std::vector<Waiter>& waiters, const cache::Entry* entry, cache::Reserve::Hold* hold) {
    for (const Waiter& waiter : std::exchange(waiters, {})) {
        readers_[waiter.reader]->grace().sent();
        readers_[waiter.reader]->handoff().send({entry, waiter.index, dataplane::Wake::Kind::answer});
        readers_[waiter.reader]->handoff().sleeper().end_sleep();
        if (hold) hold->sent_to(waiter.reader);
    }
}

/// In rounds: names now and then, until the table has grown to where it evicts; then zones, which makes it
/// rebuild, and everything.
void Owner::flush_something() {
    if (flusher_.waiting() >= most_flushes) return;
    if (chance_() % 8 == 0) return flush({Scope::Kind::name, Names::pick(chance_)});
    if (flushes_left_ > 0) {
        bool everything = --flushes_left_ % 10 == 0;
        flush({everything ? Scope::Kind::everything : Scope::Kind::zone, unsigned(chance_() % zone_count)});
        round_evicted_ = table_.evicted();
    } else if (table_.evicted() - round_evicted_ >= evictions_of_round) {
        flushes_left_ = flushes_of_round;
    }
}

void Owner::flush(const Scope& scope) {
    flusher_.flush(scope, last_generation_);
    std::vector<unsigned> names;
    for (const auto& [name, fetch] : live_) {
        if (scope.covers(name)) names.push_back(name);
    }
    for (unsigned name : names) {
        std::vector<Waiter> waiters = retire(name, scope.kind == Scope::Kind::everything);
        if (!waiters.empty()) start(name, std::move(waiters));
    }
}

void Owner::look_after() {
    table_.upkeep(now_);
    grace_.reclaim();
    reserve_.reclaim();
    checks_.note_limbo(grace_.limbo_bytes());
    constexpr std::size_t bound = table_limits.bytes + lists_octets;
    if (table_.bytes() > bound) {
        checks_.violated(Rule::bounded, std::to_string(table_.bytes()) + " octets, of which in limbo " +
                                            std::to_string(grace_.limbo_bytes()) + "; the bound is " +
                                            std::to_string(bound));
    }
    if (now_ < stock_due_) return;
    stock_due_ = now_ + between_stocks;
    take_stock();
    replace_access();
}

/// Other prefixes each time, but always those of the readers' clients.
void Owner::replace_access() {
    std::vector<dataplane::Prefix> allowed(chance_() % 16, *dataplane::parse_prefix("192.0.2.0/24"));
    allowed.push_back(*dataplane::parse_prefix("127.0.0.0/8"));
    rules_.replace_clients({std::move(allowed), {}}, grace_);
}

/// Every Entry in the table is the newest published of its name, and their number is what it has to be.
void Owner::take_stock() {
    checks_.add(Event::evictions, table_.evicted() - std::exchange(evicted_, table_.evicted()));
    checks_.add(Event::rebuilds, table_.rebuilt() - std::exchange(rebuilt_, table_.rebuilt()));
    std::uint64_t found = 0, expected = placed_ - flusher_.emptied() - table_.evicted();
    for (unsigned i = 0; i < names_.size(); ++i) {
        const cache::Entry* entry = table_.find(names_[i].key, names_[i].hash);
        if (!entry) continue;
        ++found;
        if (entry->version != published_[i]) {
            checks_.violated(Rule::accounted,
                             "name " + std::to_string(i) + " holds another version than published last");
        }
    }
    if (found == expected && table_.entries() == expected) return;
    checks_.violated(Rule::accounted, std::to_string(expected) + " Entries expected, " +
                                          std::to_string(found) + " found, the table says " +
                                          std::to_string(table_.entries()));
}

} // namespace millrace::stress
