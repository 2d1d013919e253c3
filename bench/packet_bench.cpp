// The hot functions of the packet path that need no table, one by one: a frame's layers parsed, turned round
// and sealed, its next hop found, a query parsed, its key hashed, its reply written, the time. Pure, so
// bench/callgrind counts their instructions where noise hides a change.
#include <benchmark/benchmark.h>

#include "bench/cycles.hpp"
#include "bench/iterations.hpp"
#include "dataplane/answer.hpp"
#include "dataplane/clock.hpp"
#include "dataplane/frame.hpp"
#include "dataplane/next_hops.hpp"
#include "tests/dataplane/frames.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/messages.hpp"

namespace millrace {
namespace {

using namespace dataplane;
using test::operator+;

test::Bytes edns_query() {
    return test::header(1, test::rd, 1, 0, 0, 1) + test::question("www.example.com") + test::opt();
}

/// v6: 0 or 1.
void frame_parse(benchmark::State& state) {
    Service service = tests::service();
    auto frame = tests::build({.v6 = state.range(0) == 1, .payload = edns_query()});
    unsigned parsed = 0;
    bench::LoopCycles cycles;
    for (auto _ : state) {
        benchmark::DoNotOptimize(frame.data());
        auto found = Frame::parse(frame, service);
        parsed += found && found->payload_size > 0;
    }
    cycles.report(state);
    if (parsed != state.iterations()) state.SkipWithError("not every frame was taken");
}
BENCHMARK(frame_parse)->Apply(bench::iterations)->ArgName("v6")->Arg(0)->Arg(1);

/// The headers of a reply of 45 octets, over those of its query.
void frame_turn_round_and_seal(benchmark::State& state) {
    Service service = tests::service(), client;
    client.addresses = {*parse_address(tests::client_v4), *parse_address(tests::client_v6)};
    auto query = tests::build({.v6 = state.range(0) == 1, .source_port = 53, .payload = edns_query()});
    auto frame = query;
    auto parsed = *Frame::parse(frame, service);
    bench::LoopCycles cycles;
    for (auto _ : state) {
        unsigned begin = parsed.turn_round(frame.data());
        seal(frame.data() + begin, parsed.l2, parsed.l3, 45);
        benchmark::ClobberMemory();
        // The next one turns a query round again, not a reply.
        std::memcpy(frame.data(), query.data(), parsed.payload);
    }
    cycles.report(state);
    unsigned begin = parsed.turn_round(frame.data());
    seal(frame.data() + begin, parsed.l2, parsed.l3, 45);
    std::span<const std::uint8_t> reply(frame.data() + begin, parsed.payload - begin + 45);
    if (!Frame::parse(reply, client)) state.SkipWithError("a reply that its client would drop");
}
BENCHMARK(frame_turn_round_and_seal)->Apply(bench::iterations)->ArgName("v6")->Arg(0)->Arg(1);

/// routes: /24 of IPv4, by one of four gateways. Clients are anywhere among them.
void next_hop_find(benchmark::State& state) {
    const std::vector<std::string> interfaces = {"dns0"};
    KernelView kernel;
    kernel.links = {{1, "dns0"}};
    auto routes = std::make_shared<KernelRoutes>();
    auto at = [](std::uint32_t number) {
        std::uint32_t octets = __builtin_bswap32(number);
        return Address::v4(&octets);
    };
    auto count = std::uint32_t(state.range(0));
    for (std::uint32_t i = 0; i < 4; ++i)
        kernel.neighbours.push_back({1, at(i + 1), Mac{{2, 0, 0, 0, 0, 1}}});
    for (std::uint32_t i = 0; i < count; ++i) routes->add({at((i + 1) << 8), 120}, 0, {{1, at(i % 4 + 1)}});
    routes->seal();
    kernel.routes = std::move(routes);
    NextHops next_hops(kernel, interfaces);
    std::vector<Address> clients;
    for (std::uint32_t i = 0; i < 4096; ++i) clients.push_back(at(((i * 2654435761U) % count + 1) << 8 | 7));
    unsigned found = 0, next = 0;
    bench::LoopCycles cycles;
    for (auto _ : state) found += next_hops.find(0, clients[next++ % clients.size()]) != nullptr;
    cycles.report(state);
    if (found != state.iterations()) state.SkipWithError("not every client has a way");
}
BENCHMARK(next_hop_find)->Apply(bench::iterations)->ArgName("routes")->Arg(2)->Arg(100'000);

void query_parse(benchmark::State& state) {
    auto message = edns_query();
    Query query;
    bench::LoopCycles cycles;
    for (auto _ : state) {
        benchmark::DoNotOptimize(message.data());
        Query::parse(message, Transport::udp, query);
        benchmark::DoNotOptimize(query);
    }
    cycles.report(state);
    bool is_right = query.action == Query::Action::look_up && query.key == test::key_of("www.example.com") &&
                    query.head.edns;
    if (!is_right) state.SkipWithError("not understood");
}
BENCHMARK(query_parse)->Apply(bench::iterations);

void key_hash(benchmark::State& state) {
    cache::Hasher hasher(1);
    auto key = test::key_of("www.example.com");
    cache::Hash hash = 0;
    bench::LoopCycles cycles;
    for (auto _ : state) {
        benchmark::DoNotOptimize(key);
        benchmark::DoNotOptimize(hash = hasher(key));
    }
    cycles.report(state);
    if (hash != cache::Hasher(1)(key)) state.SkipWithError("not the key's hash");
}
BENCHMARK(key_hash)->Apply(bench::iterations);

constexpr Time now = 9s; // of which an Entry born at 0 has lived them all

/// What a reply to edns_query() has to be.
struct Expected {
    std::uint16_t rcode = 0, answers = 0, authorities = 0;
    bool truncated = false;
    std::size_t records = 0; ///< octets
};

bool is_right(const test::Bytes& reply, std::size_t size, std::size_t question, const Expected& expected) {
    std::size_t without_records = dns::header_octets + question + test::opt().size();
    return size == without_records + expected.records &&
           ((cache::load_u16(&reply[2]) & dns::truncated) != 0) == expected.truncated &&
           (reply[3] & 0xf) == expected.rcode && cache::load_u16(&reply[6]) == expected.answers &&
           cache::load_u16(&reply[8]) == expected.authorities;
}

/// The reply from `entry`, for a client that takes `limit` octets; returns it.
test::Bytes write(benchmark::State& state, const cache::Entry& entry, std::uint16_t limit,
                  const Expected& expected) {
    auto message = edns_query();
    Query query;
    Query::parse(message, Transport::udp, query);
    query.head.limit = limit;
    message.resize(2048);
    std::span<const std::uint8_t> question(message.data() + dns::header_octets, query.head.question_size);
    std::size_t size = 0;
    bench::LoopCycles cycles;
    for (auto _ : state) {
        size = answer::write(query.head, question, entry, now, answer::Age::counted, message);
        benchmark::DoNotOptimize(size);
        benchmark::ClobberMemory();
    }
    cycles.report(state);
    if (!is_right(message, size, question.size(), expected)) state.SkipWithError("a wrong reply");
    message.erase(message.begin(), message.begin() + std::ptrdiff_t(dns::header_octets + question.size()));
    return message;
}

void answer_write(benchmark::State& state) {
    auto count = std::uint16_t(state.range(0));
    auto entry = test::entry_of({1, 0}, std::vector<std::uint8_t>(count, 1), 0s, 300s);
    auto records = write(state, *entry, 1232, {.answers = count, .records = count * std::size_t(16)});
    for (std::size_t i = 0; i < count; ++i) {
        if (cache::load_u32(&records[i * 16 + 6]) != (300s - now) / 1s) state.SkipWithError("a wrong TTL");
    }
}
BENCHMARK(answer_write)->Apply(bench::iterations)->ArgName("addresses")->Arg(1)->Arg(2)->Arg(13);

void answer_write_negative(benchmark::State& state) {
    // The root's SOA: its owner, names and numbers are as short as can be.
    test::Bytes soa = {0, 0, 6, 0, 1, 0, 0, 1, 44, 0, 22};
    soa.resize(soa.size() + 22);
    constexpr std::uint16_t ttl_at[] = {5};
    cache::EntryDraft draft;
    draft.rcode = 3;
    draft.authorities = 1;
    draft.records = soa;
    draft.ttl_offsets = ttl_at;
    auto records =
        write(state, *cache::Entry::make(draft), 1232, {.rcode = 3, .authorities = 1, .records = soa.size()});
    if (cache::load_u32(&records[5]) != (300s - now) / 1s) state.SkipWithError("a wrong TTL");
}
BENCHMARK(answer_write_negative)->Apply(bench::iterations);

void answer_write_truncated(benchmark::State& state) {
    auto entry = test::entry_of({1, 0}, std::vector<std::uint8_t>(60, 1), 0s, 300s);
    write(state, *entry, 512, {.truncated = true});
}
BENCHMARK(answer_write_truncated)->Apply(bench::iterations);

void clock_now(benchmark::State& state) {
    TscClock clock(2'500'000'000);
    Time before = clock.now();
    benchmark::IterationCount backwards = 0;
    bench::LoopCycles cycles;
    for (auto _ : state) {
        Time read = clock.now();
        backwards += read < before;
        before = read;
    }
    cycles.report(state);
    if (backwards > 0) state.SkipWithError("time ran backwards");
}
BENCHMARK(clock_now)->Apply(bench::iterations);

} // namespace
} // namespace millrace

BENCHMARK_MAIN();
