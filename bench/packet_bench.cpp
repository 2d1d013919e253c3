// The hot functions of the packet path that need no table, one by one: a frame's layers parsed, turned round
// and sealed, a query parsed, its key hashed, its reply written, the time. Pure, so bench/callgrind counts
// their instructions where noise hides a change.
#include <benchmark/benchmark.h>

#include "bench/iterations.hpp"
#include "dataplane/answer.hpp"
#include "dataplane/clock.hpp"
#include "dataplane/frame.hpp"
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
    for (auto _ : state) {
        benchmark::DoNotOptimize(frame.data());
        auto found = Frame::parse(frame, service);
        parsed += found && found->payload_size > 0;
    }
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
    for (auto _ : state) {
        unsigned begin = parsed.turn_round(frame.data());
        seal(frame.data() + begin, parsed.l2, parsed.l3, 45);
        benchmark::ClobberMemory();
        // The next one turns a query round again, not a reply.
        std::memcpy(frame.data(), query.data(), parsed.payload);
    }
    unsigned begin = parsed.turn_round(frame.data());
    seal(frame.data() + begin, parsed.l2, parsed.l3, 45);
    std::span<const std::uint8_t> reply(frame.data() + begin, parsed.payload - begin + 45);
    if (!Frame::parse(reply, client)) state.SkipWithError("a reply that its client would drop");
}
BENCHMARK(frame_turn_round_and_seal)->Apply(bench::iterations)->ArgName("v6")->Arg(0)->Arg(1);

void query_parse(benchmark::State& state) {
    auto message = edns_query();
    Query query;
    for (auto _ : state) {
        benchmark::DoNotOptimize(message.data());
        Query::parse(message, Transport::udp, 0, query);
        benchmark::DoNotOptimize(query);
    }
    if (query.action != Query::Action::look_up) state.SkipWithError("not understood");
}
BENCHMARK(query_parse)->Apply(bench::iterations);

void key_hash(benchmark::State& state) {
    cache::Hasher hasher(1);
    auto key = test::key_of("www.example.com");
    for (auto _ : state) {
        benchmark::DoNotOptimize(key);
        benchmark::DoNotOptimize(hasher(key));
    }
}
BENCHMARK(key_hash)->Apply(bench::iterations);

/// The reply from `entry`, for a client that takes `limit` octets.
void write(benchmark::State& state, const cache::Entry& entry, std::uint16_t limit, bool truncated) {
    auto message = edns_query();
    Query query;
    Query::parse(message, Transport::udp, 0, query);
    query.head.limit = limit;
    message.resize(2048);
    std::span<const std::uint8_t> question(message.data() + header_octets, query.head.question_size);
    std::size_t size = 0;
    for (auto _ : state) {
        size = answer::write(query.head, question, entry, 9s, answer::Age::counted, message);
        benchmark::DoNotOptimize(size);
        benchmark::ClobberMemory();
    }
    if (size == 0 || size > limit || bool(message[2] & 2) != truncated) state.SkipWithError("a wrong reply");
}
void answer_write(benchmark::State& state) {
    write(state, *test::entry_of({1, 0}, std::vector<std::uint8_t>(std::size_t(state.range(0)), 1), 0s, 300s),
          1232, false);
}
BENCHMARK(answer_write)->Apply(bench::iterations)->ArgName("addresses")->Arg(1)->Arg(2)->Arg(13);

void answer_write_negative(benchmark::State& state) {
    // SOA of the root, names compressed to nothing.
    test::Bytes soa = {0, 0, 6, 0, 1, 0, 0, 1, 0, 0, 22};
    soa.resize(soa.size() + 22);
    write(state, *test::bare_entry(3, soa), 1232, false);
}
BENCHMARK(answer_write_negative)->Apply(bench::iterations);

void answer_write_truncated(benchmark::State& state) {
    write(state, *test::entry_of({1, 0}, std::vector<std::uint8_t>(60, 1), 0s, 300s), 512, true);
}
BENCHMARK(answer_write_truncated)->Apply(bench::iterations);

void clock_now(benchmark::State& state) {
    TscClock clock(2'500'000'000);
    for (auto _ : state) benchmark::DoNotOptimize(clock.now());
}
BENCHMARK(clock_now)->Apply(bench::iterations);

} // namespace
} // namespace millrace

BENCHMARK_MAIN();
