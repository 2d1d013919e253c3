#include "tests/stress/flusher.hpp"

namespace millrace::stress {

Flusher::Flusher(cache::Table& table, cache::Grace& grace, Checks& checks, Acknowledged& acknowledged,
                 std::span<const std::unique_ptr<WorkerThread>> readers)
    : table_(table), grace_(grace), checks_(checks), acknowledged_(acknowledged), readers_(readers) {}

void Flusher::flush(Scope scope, cache::Generation last) {
    if (scope.kind == Scope::Kind::everything) {
        for (unsigned group = 0; group < cache::limits::groups; ++group) table_.raise_floor(group, last);
    }
    jobs_.push_back({scope, last});
}

void Flusher::tick() {
    if (jobs_.empty()) return;
    Job& job = jobs_.front();
    auto matches = [&](const cache::KeyRef& key, const cache::Entry&) {
        return job.scope.covers(Names::index_of(key.key()));
    };
    if (job.at.shard < table_.shard_count()) {
        std::size_t steps = 128;
        emptied_ += table_.flush(job.at, steps, job.last, matches);
        return;
    }
    if (!job.period) {
        job.begun = boot_time();
        job.period = grace_.begin();
    }
    if (!grace_.passed(*job.period)) return;
    acknowledge(job);
    jobs_.pop_front();
}

void Flusher::acknowledge(const Job& job) {
    for (const auto& reader : readers_) {
        Time stopped =
            reader->naps() ? Time(0) : reader->victim().stopped_since(); // who naps is not waited for
        if (stopped != Time(0) && stopped < job.begun) {
            checks_.violated(Rule::acknowledged, "a flush that began when a reader had stood still for " +
                                                     std::to_string((job.begun - stopped).count()) + " us");
        }
    }
    auto store = [&](std::atomic<cache::Generation>& known, Event event) {
        known.store(job.last, std::memory_order_relaxed);
        checks_.add(event);
    };
    switch (job.scope.kind) {
    case Scope::Kind::name: return store(acknowledged_.names[job.scope.index], Event::name_flushes);
    case Scope::Kind::zone: return store(acknowledged_.zones[job.scope.index], Event::zone_flushes);
    case Scope::Kind::everything: return store(acknowledged_.everything, Event::whole_flushes);
    }
}

} // namespace millrace::stress
