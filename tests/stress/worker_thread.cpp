#include "tests/stress/worker_thread.hpp"

#include <algorithm>
#include <future>
#include <utility>

#include <sys/timerfd.h>
#include <unistd.h>

namespace millrace::stress {

using dataplane::Burst;
using dataplane::Packet;

AskingPort::AskingPort(const World& world, std::uint64_t seed, bool naps)
    : world_(world), chance_(seed), buffers_(new std::uint8_t[dataplane::limits::burst * room]),
      seen_(world.names.size()) {
    if (!naps) return;
    timer_ = dataplane::Descriptor(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    itimerspec every{{0, 500'000}, {0, 500'000}};
    timerfd_settime(timer_.get(), 0, &every, nullptr);
}

Packet AskingPort::packet(unsigned index) {
    static const dataplane::Endpoint client{*dataplane::parse_address("127.0.0.1"), 4711};
    return {&buffers_[index * room], 0, room, 0, client, nullptr};
}

void AskingPort::receive(Burst& burst, dataplane::Counters&) {
    std::uint64_t ticks;
    if (timer_ && read(timer_.get(), &ticks, sizeof ticks) < 0) return;
    if (!asks_.load(std::memory_order_relaxed)) return std::this_thread::yield();
    // The owner is behind, and would be for good if we went on: there would be little but refusals
    // to look at.
    if (std::exchange(refused_, false)) std::this_thread::sleep_for(1ms);
    // Fewer than fit, most of the time: the shorter the turn, the more often it ends.
    burst.count = unsigned(chance_() % (chance_() % 4 ? 5 : dataplane::limits::burst + 1));
    cache::Generation floor = world_.table.floor(0);
    for (unsigned i = 0; i < burst.count; ++i) {
        asked_[i] = {Names::pick(chance_), std::uint16_t(chance_()), floor, std::nullopt};
        const test::Bytes& query = world_.names[asked_[i].name].query;
        burst.packets[i] = packet(i);
        burst.packets[i].size = std::uint16_t(query.size());
        std::ranges::copy(query, burst.packets[i].data);
        cache::store_u16(burst.packets[i].data, asked_[i].id);
    }
    world_.checks.add(Event::lookups, burst.count);
}

void AskingPort::save(const Packet& packet, dataplane::ReturnPath& path) {
    Asked asked = asked_[std::size_t(packet.data - buffers_.get()) / room];
    asked.at_least = seen_[asked.name];
    static_assert(sizeof asked <= dataplane::limits::return_octets && std::is_trivially_copyable_v<Asked>);
    std::memcpy(path.octets.data(), &asked, sizeof asked);
}

bool AskingPort::compose(Burst& burst, const dataplane::ReturnPath& path) {
    std::memcpy(&asked_[burst.count], path.octets.data(), sizeof(Asked));
    burst.packets[burst.count] = packet(burst.count);
    ++burst.count;
    return true;
}

void AskingPort::send(Burst& burst, dataplane::Counters&) {
    for (unsigned i = 0; i < burst.count; ++i) {
        if (burst.packets[i].reply) check(asked_[i], {burst.packets[i].data, burst.packets[i].reply});
    }
    burst.count = 0;
}

void AskingPort::check(const Asked& asked, std::span<const std::uint8_t> reply) {
    const test::Bytes& query = world_.names[asked.name].query;
    std::size_t behind_question = query.size() - test::opt().size();
    bool echoed =
        reply.size() > behind_question && cache::load_u16(reply.data()) == asked.id &&
        std::equal(query.begin() + dns::header_octets, query.begin() + std::ptrdiff_t(behind_question),
                   reply.begin() + dns::header_octets);
    unsigned flags = cache::load_u16(reply.data() + 2), answers = cache::load_u16(reply.data() + 6);
    if (echoed && flags == 0x8182 && answers == 0) { // SERVFAIL: no room left, or no credit
        refused_ = true;
        return;
    }
    std::optional<Content> content;
    std::size_t behind_records = reply.size() - test::opt().size();
    if (echoed && flags == 0x8180) {
        content = read_records(reply.first(behind_records).subspan(behind_question), answers);
        // Without credits a stale Entry is the answer, and its OPT says so in six octets more.
        if (!content)
            content = read_records(reply.first(behind_records - 6).subspan(behind_question), answers);
    }
    if (content) return check_content(asked, *content);
    world_.checks.violated(Rule::whole, "reply of " + std::to_string(reply.size()) + " octets to name " +
                                            std::to_string(asked.name) + ", flags " + std::to_string(flags) +
                                            ", " + std::to_string(answers) + " answers");
}

/// Still before quiescent() and finish(): an acknowledgement that can be seen here was given although we had
/// read, and not yet let go of, what it speaks of.
void AskingPort::check_content(const Asked& asked, const Content& content) {
    const Acknowledged& acknowledged = world_.acknowledged;
    cache::Generation flushed = std::max(acknowledged.everything.load(std::memory_order_relaxed),
                                         acknowledged.names[asked.name].load(std::memory_order_relaxed));
    if (content.name != asked.name) return complain(Rule::own_name, asked, content);
    if (content.version.generation <= flushed) complain(Rule::flushed, asked, content);
    if (asked.at_least) {
        if (content.version < *asked.at_least) complain(Rule::forwards, asked, content);
        return;
    }
    if (content.version < seen_[asked.name]) complain(Rule::forwards, asked, content);
    if (content.version.generation <= asked.floor) complain(Rule::above_floor, asked, content);
    seen_[asked.name] = content.version;
}

void AskingPort::complain(Rule rule, const Asked& asked, const Content& content) const {
    auto text = [](const cache::Version& v) {
        return std::to_string(v.generation) + "." + std::to_string(v.revision);
    };
    std::string sent = (asked.at_least ? " woken" : " answered") + std::string(" with name ") +
                       std::to_string(content.name) + " version " + text(content.version);
    world_.checks.violated(rule, "name " + std::to_string(asked.name) + sent + "; newest seen " +
                                     text(seen_[asked.name]) + ", floor " + std::to_string(asked.floor) +
                                     ", flushed up to " + std::to_string(flushed_up_to(asked.name)));
}

cache::Generation AskingPort::flushed_up_to(unsigned name) const {
    const Acknowledged& a = world_.acknowledged;
    return std::max({a.everything.load(std::memory_order_relaxed),
                     a.zones[Names::zone_of(name)].load(std::memory_order_relaxed),
                     a.names[name].load(std::memory_order_relaxed)});
}

WorkerThread::WorkerThread(const World& world, cache::Grace& grace, std::uint64_t seed, bool naps)
    : grace_(*grace.add_reader()), port_(world, seed, naps),
      worker_({port_, world.table, grace_, handoff_, counters_, world.rules}) {}

WorkerThread::~WorkerThread() {
    if (thread_.joinable()) stop();
}

void WorkerThread::start() {
    std::promise<void> ready;
    thread_ = std::thread([&] {
        victim_ = std::make_unique<Victim>(false);
        ready.set_value();
        worker_.run(stop_);
    });
    ready.get_future().wait();
}

void WorkerThread::stop() {
    stop_ = true;
    handoff_.sleeper().nudge();
    thread_.join();
}

} // namespace millrace::stress
