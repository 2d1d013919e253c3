// READ FIRST: a query's way through the dataplane, top to bottom.
#include "dataplane/worker.hpp"

#include <algorithm>

#include <rte_branch_prediction.h>
#include <rte_cycles.h>
#include <rte_prefetch.h>

#include "cache/capitals.hpp"

namespace millrace::dataplane {

namespace {

constexpr int nap_ms = 100; // of an idle worker with a socket; it also bounds how late `stop` is seen

std::span<const std::uint8_t> question_of(const Packet& packet, const Head& head) {
    return {packet.data + dns::header_octets, head.question_size};
}
std::span<std::uint8_t> room_of(const Packet& packet) {
    return {packet.data, packet.room};
}

/// To a counter with one writer.
void add(std::atomic<std::uint64_t>& counter, std::uint64_t n) {
    counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

/// What a hit reads beside the node itself: the key's octets, and the Entry up to its first records.
void prefetch(const cache::Node& node) {
    rte_prefetch0(node.first.bytes);
    auto* entry = reinterpret_cast<const std::uint8_t*>(node.second.entry.load(std::memory_order_relaxed));
    if (!entry) return;
    rte_prefetch0(entry);
    rte_prefetch0(entry + 64);
}

} // namespace

void Worker::run(const std::atomic<bool>& stop) {
    Idler idler(c_.idle, c_.longest_nap, c_.reader, c_.counters);
    c_.reader.online();
    while (!stop.load(std::memory_order_relaxed)) {
        bool busy = turn();
        int descriptor = c_.port.wait_descriptor();
        if (descriptor < 0) {
            descriptor == Port::polled ? idler.after(busy) : idler.rest();
            continue;
        }
        if (c_.control) c_.handoff.end_sleep_of(*c_.control);
        if (busy) continue;
        c_.reader.offline(); // holds nothing while it sleeps: control need not wait for it
        c_.handoff.sleep(descriptor, nap_ms);
        c_.reader.online();
    }
    c_.reader.offline();
}

bool Worker::turn() {
    std::uint64_t begin = rte_rdtsc();
    std::uint64_t hits_before = hits();
    Time now = this->now();
    burst_.now = now;
    gate_.take_rules(); // once: whatever is published meanwhile, the whole turn goes by these
    unsigned woken = answer_wakes(now);

    c_.port.receive(burst_, c_.counters);
    unsigned received = burst_.count;

    // Parse everything first, then touch memory, one step for the whole burst at a time: while one question's
    // index line, node or Entry is on its way from memory, so are the others'.
    for (unsigned i = 0; i < received; ++i) {
        Packet& packet = burst_.packets[i];
        Lookup& l = lookups_[i];
        std::size_t reply;
        Gate::Message message{{packet.data, packet.size}, Transport::udp, packet.client.address, now};
        l.is_wanted = gate_.admit(message, l.query, room_of(packet), reply);
        packet.reply = std::uint16_t(reply);
    }
    for (unsigned i = 0; i < received; ++i) {
        Lookup& l = lookups_[i];
        if (!l.is_wanted) continue;
        l.hash = c_.table.hasher()(l.query.key);
        c_.table.prefetch(l.hash);
    }
    for (unsigned i = 0; i < received; ++i) {
        Lookup& l = lookups_[i];
        if (!l.is_wanted) continue;
        l.ahead = c_.table.look_ahead(l.hash);
        if (l.ahead.node) rte_prefetch0(l.ahead.node);
    }
    for (unsigned i = 0; i < received; ++i) {
        if (lookups_[i].is_wanted && lookups_[i].ahead.node) prefetch(*lookups_[i].ahead.node);
    }

    for (unsigned i = 0; i < received; ++i) {
        if (lookups_[i].is_wanted) answer_or_miss(burst_.packets[i], lookups_[i], now);
    }

    if (received) c_.port.send(burst_, c_.counters);
    c_.reader.quiescent(); // no Entry, Slot or shard is held beyond this point
    add(heartbeats_, 1);
    bool busy = woken || received;
    if (busy) count_time(begin, now, hits() - hits_before);
    return busy;
}

std::uint64_t Worker::hits() const {
    return c_.counters.get(Event::hit) + c_.counters.get(Event::stale_hit);
}

/// Of a turn that had something to do: once for all its hits, so that one alone costs as little as may be.
void Worker::count_time(std::uint64_t begin, Time now, std::uint64_t hits) {
    std::uint64_t cycles = rte_rdtsc() - begin;
    add(busy_cycles_, cycles);
    if (!hits) return;
    auto by_kernel = [now] {
        return std::uint64_t(std::max<Time>(boot_time() - now, Time{}).count()) * 1000;
    };
    c_.counters.hit_time.add(c_.clock ? c_.clock->nanoseconds(cycles) : by_kernel(), hits);
}

void Worker::answer_or_miss(Packet& packet, const Lookup& lookup, Time now) {
    const Query& query = lookup.query;
    cache::Hash hash = lookup.hash;
    const cache::Entry* entry = look_up(lookup);
    bool fresh = entry && now < entry->expiry;
    if (likely(fresh) || (entry && entry->is_answered_stale(now))) {
        c_.counters.add(fresh ? Event::hit : Event::stale_hit);
        if (unlikely(entry->claim_refresh(now, limits::refresh_retry))) {
            ask_for_refresh(packet, query, hash, *entry, now);
        }
        auto age = fresh ? answer::Age::counted : answer::Age::stale;
        return reply_with(packet, query, hash, *entry, now, age);
    }
    bool stale = entry && now < entry->stale_until;
    if (likely(hand_over(packet, query, hash, now))) return c_.counters.add(Verdict::missed);
    c_.counters.add(Event::servfail_full);
    if (stale) return reply_with(packet, query, hash, *entry, now, answer::Age::stale);
    packet.reply = std::uint16_t(answer::write_failure(query.head, question_of(packet, query.head),
                                                       cache::Entry::no_info, room_of(packet)));
    c_.counters.add(Verdict::answered);
}

/// The Entry will expire soon, or has and is served stale. When the ring is full, a later hit asks again.
void Worker::ask_for_refresh(const Packet& packet, const Query& query, cache::Hash hash,
                             const cache::Entry& entry, Time now) {
    Miss miss{query.key, hash, packet.client, query.head.id, 0, now, entry.version};
    c_.counters.add(c_.handoff.send(miss) ? Event::refresh_asked : Event::refresh_dropped);
}

/// The published Entry that may be served: not null, not under the floor. It may have expired.
const cache::Entry* Worker::look_up(const Lookup& lookup) {
    const cache::Node* node = c_.table.locate(lookup.query.key, lookup.hash, lookup.ahead);
    if (!node) return nullptr;
    // Acquire: without it the Entry's fields could be read from before they were written.
    const cache::Entry* entry = node->second.entry.load(std::memory_order_acquire);
    if (!entry || entry->version.generation <= c_.table.floor(lookup.query.key.group)) return nullptr;
    // A hint for eviction; written when it differs, so that hits leave the line shared.
    if (!entry->visited.load(std::memory_order_relaxed)) entry->visited.store(1, std::memory_order_relaxed);
    return entry;
}

void Worker::reply_with(Packet& packet, const Query& query, cache::Hash hash, const cache::Entry& entry,
                        Time now, answer::Age age) {
    auto question = question_of(packet, query.head);
    Gate::Charge charge = gate_.charge_of(packet.client.address, query, hash);
    if (likely(may_reply(packet, query.head, question, charge, entry, now))) {
        packet.reply = std::uint16_t(answer::write(query.head, question, entry, now, age, room_of(packet)));
    }
    c_.counters.add(packet.reply ? Verdict::answered : Verdict::drop_rate);
}

/// False: the answer is over the limit of its kind. Then the packet has a truncated reply, or none.
bool Worker::may_reply(Packet& packet, const Head& head, std::span<const std::uint8_t> question,
                       const Gate::Charge& charge, const cache::Entry& entry, Time now) {
    Gate::Flow flow = gate_.flow(charge, entry, now);
    if (flow == Gate::Flow::slip) {
        packet.reply = std::uint16_t(answer::write_truncated(head, question, room_of(packet)));
    }
    return flow == Gate::Flow::send;
}

/// Gives the question to control, by value; the packet's buffer is free afterwards. False: no credit
/// or no place.
bool Worker::hand_over(const Packet& packet, const Query& query, cache::Hash hash, Time now) {
    if (free_waiters_.empty()) return false;
    std::uint32_t index = free_waiters_.back();
    auto question = question_of(packet, query.head);
    std::uint64_t capitals = cache::capitals_of(question.first(question.size() - dns::type_class_octets));
    Miss miss{query.key, hash, packet.client, query.head.id, index, now, {}, capitals};
    if (!c_.handoff.send(miss)) return false;
    free_waiters_.pop_back();
    Waiter& waiter = waiters_[index];
    c_.port.save(packet, waiter.path);
    waiter.head = query.head;
    waiter.charge = gate_.charge_of(packet.client.address, query, hash);
    waiter.asked = now;
    std::ranges::copy(question, waiter.question.begin());
    return true;
}

unsigned Worker::answer_wakes(Time now) {
    unsigned count = c_.handoff.take(wakes_);
    if (!count) return 0;
    for (unsigned i = 0; i < count; ++i) answer_wake(wakes_[i], now);
    c_.port.send(burst_, c_.counters);
    // The Entries of these Wakes are no longer needed: written, and handed to the port.
    c_.reader.finish(count);
    return count;
}

void Worker::answer_wake(const Wake& wake, Time now) {
    const Waiter& waiter = waiters_[wake.waiter];
    free_waiters_.push_back(wake.waiter); // within its capacity: the credit comes back
    if (wake.kind == Wake::Kind::abandon) return c_.counters.add(Event::wake_abandoned);
    c_.counters.miss_time.add(std::uint64_t((now - waiter.asked).count()) * 1000); // `now` never falls
    // The waiter's reply counts as answered even when it cannot be sent; the loss has a counter of its own.
    if (!c_.port.compose(burst_, waiter.path)) {
        c_.counters.add(Event::wake_answered);
        return c_.counters.add(Event::buffer_exhausted);
    }
    Packet& packet = burst_.packets[burst_.count - 1];
    std::span<const std::uint8_t> question(waiter.question.data(), waiter.head.question_size);
    answer::Age age = wake.kind == Wake::Kind::stale ? answer::Age::stale : answer::Age::counted;
    if (likely(may_reply(packet, waiter.head, question, waiter.charge, *wake.entry, now))) {
        packet.reply =
            std::uint16_t(answer::write(waiter.head, question, *wake.entry, now, age, room_of(packet)));
    }
    c_.counters.add(packet.reply ? Event::wake_answered : Event::wake_abandoned);
}

Time Worker::now() {
    Time read = c_.clock ? c_.clock->now() : boot_time();
    last_now_ = std::max(last_now_, read); // never falls, whatever a refresh of the clock's offset does
    return last_now_;
}

Worker::Worker(const WorkerContext& context)
    : c_(context), gate_(context.rules, context.counters), waiters_(new Waiter[limits::waiters]) {
    free_waiters_.reserve(limits::waiters);
    for (std::uint32_t i = limits::waiters; i-- > 0;) free_waiters_.push_back(i);
}

} // namespace millrace::dataplane
