// A polling lcore, once started, neither allocates nor makes system calls: the real Worker on a real
// ethdev port, with an allocator that counts and a seccomp filter that traps every system call of
// the worker's thread.
//
// The port is net_ring, whose driver makes no calls of its own. Meanwhile control publishes new keys, so that
// the table grows, is flushed and rebuilt under the worker's eyes. Not built with sanitizers: they allocate.
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <thread>

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <rte_eal.h>
#include <rte_eth_ring.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "dataplane/eal_plan.hpp"
#include "dataplane/ethdev.hpp"
#include "dataplane/ethdev_port.hpp"
#include "dataplane/worker.hpp"
#include "tests/dataplane/frames.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/rules.hpp"

namespace {

thread_local bool guarded = false;
std::atomic<unsigned> allocations{0}, calls{0};

template <class Function>
Function next(Function, const char* name) {
    return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

} // namespace

// The C++ operators end in these too.
extern "C" {
void* malloc(std::size_t size) {
    static auto real = next(&malloc, "malloc");
    if (guarded) ++allocations;
    return real(size);
}
void* calloc(std::size_t count, std::size_t size) {
    static auto real = next(&calloc, "calloc");
    if (guarded) ++allocations;
    return real(count, size);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
    static auto real = next(&posix_memalign, "posix_memalign");
    if (guarded) ++allocations;
    return real(memory, alignment, size);
}
void* realloc(void* old, std::size_t size) {
    static auto real = next(&realloc, "realloc");
    if (guarded) ++allocations;
    return real(old, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
    static auto real = next(&aligned_alloc, "aligned_alloc");
    if (guarded) ++allocations;
    return real(alignment, size);
}
void free(void* memory) {
    static auto real = next(&free, "free");
    if (guarded && memory) ++allocations;
    real(memory);
}
}

namespace millrace::dataplane {
namespace {

using test::header;
using test::key_of;
using test::operator+;

void on_trap(int, siginfo_t*, void*) {
    ++calls;
}

/// From here on every system call of this thread but the handler's return is trapped and counted, not made.
void trap_system_calls() {
    struct sigaction action {};
    action.sa_sigaction = on_trap;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSYS, &action, nullptr);
    sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_rt_sigreturn, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_exit, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    sock_fprog program{sizeof filter / sizeof *filter, filter};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

class PollingTest : public testing::Test {
  protected:
    static constexpr unsigned names = 6000; // several shards, and more than one per place of a burst

    PollingTest() {
        to_port = rte_ring_create("to", 256, 0, 0);
        from_port = rte_ring_create("from", 256, 0, 0);
        int id = rte_eth_from_rings("wire", &to_port, 1, &from_port, 1, 0);
        unsigned lcore = rte_get_main_lcore();
        ethdev.emplace(*Ethdev::start(std::uint16_t(id), "wire", {&lcore, 1}));
        int pair[2];
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
        beyond = Descriptor(pair[1]);
        kernel = std::move(*KernelPort::make(Descriptor(pair[0]), {"wire", 1, 1'000'000, -1}));
        port.emplace(EthdevPort::Setup{std::uint16_t(id), 0, ethdev->pool(0), &service, ethdev->offload(),
                                       &kernel->queue(0), &next_hops, 0, &upstreams.queue(0)});
        upstreams.set_remotes({{*parse_address("192.0.2.1"), 53}}, grace);
        upstreams.set_open(40000, true);
    }

    /// To the clients by one of two gateways, on a VLAN.
    static std::unique_ptr<const NextHops> ways() {
        static const std::vector<std::string> interfaces = {"dns0"};
        KernelView kernel;
        kernel.links = {{3, "dns0"}, {4, "dns0.7", KernelLink::Vlan{3, 0x8100, 7}}};
        Address first = *parse_address("fe80::1"), second = *parse_address("fe80::2");
        kernel.neighbours = {{4, first, {{2, 0, 0, 0, 0, 1}}}, {4, second, {{2, 0, 0, 0, 0, 2}}}};
        auto routes = std::make_shared<KernelRoutes>();
        routes->add(*parse_prefix("198.18.0.0/15"), 0, {{4, first}, {4, second}});
        routes->seal();
        kernel.routes = std::move(routes);
        return std::make_unique<const NextHops>(kernel, interfaces);
    }

    /// Puts a question on the wire, if there is room.
    void send_question(const std::string& name) { send(tests::build({.payload = test::query(name)})); }
    void send(const tests::Bytes& frame) {
        rte_mbuf* mbuf = rte_pktmbuf_alloc(ethdev->pool(0));
        if (!mbuf) return;
        std::memcpy(rte_pktmbuf_append(mbuf, std::uint16_t(frame.size())), frame.data(), frame.size());
        if (rte_ring_enqueue(to_port, mbuf) != 0) rte_pktmbuf_free(mbuf);
    }
    unsigned drain_replies() {
        unsigned count = 0;
        for (void* object; rte_ring_dequeue(from_port, &object) == 0; ++count) {
            rte_pktmbuf_free(static_cast<rte_mbuf*>(object));
        }
        return count;
    }
    /// What is no question goes to the kernel, and comes back from there, as from an echo.
    void visit_kernel(unsigned round) {
        if (round % 16 == 8) send(tests::build({.destination_port = 80}));
        kernel->turn();
        tests::Bytes room(2048);
        ssize_t size = ::recv(beyond.get(), room.data(), room.size(), 0);
        if (size > 0) (void)::send(beyond.get(), room.data(), std::size_t(size), 0);
    }
    /// Control asks an upstream by the port, whose reply comes by it.
    void visit_upstream(unsigned round) {
        if (round % 16 != 4) return;
        Endpoint server{*parse_address("192.0.2.1"), 53}, own{*parse_address("198.18.0.60"), 40000};
        upstreams.send({}, own, server, tests::Bytes(40, 1), 0);
        send(tests::build({.source = "192.0.2.1",
                           .destination = "198.18.0.60",
                           .source_port = 53,
                           .destination_port = 40000}));
        UpstreamReply reply;
        tests::Bytes room(UpstreamQueue::reply_room);
        while (upstreams.queue(0).take_reply(reply, room.data())) {
        }
    }
    /// Limits that count every query and pass it.
    static ClientPolicy policy() {
        return {{*parse_prefix("198.18.0.0/15")},
                {.queries = 1'000'000, .errors = 1'000'000, .responses = 1'000'000}};
    }
    static std::unique_ptr<const LocalNames> rules() {
        LocalNames::Builder names;
        auto rule = names.deny(0, true, LocalNames::Action::nxdomain, 15, test::bare_entry(3));
        names.add(cache::parse_name("blocked.example")->bytes(), LocalNames::Builder::both, rule);
        return names.build();
    }
    /// As an operator does.
    void reload() {
        in_effect.replace_clients(policy(), grace);
        in_effect.replace_local(rules(), grace);
        next_hops.replace(ways(), grace);
    }
    static std::string name(unsigned i) { return "name-" + std::to_string(i) + ".example"; }

    Service service = tests::service();
    rte_ring *to_port, *from_port;
    std::optional<Ethdev> ethdev;
    std::optional<EthdevPort> port;
    Descriptor beyond; ///< the other end of the kernel interface
    std::unique_ptr<KernelPort> kernel;
    cache::Grace grace;
    cache::Grace::Reader& reader = *grace.add_reader();
    cache::Table table{{.entries = 100000, .bytes = 1 << 26}, grace};
    Handoff handoff;
    Counters counters;
    test::RulesInEffect in_effect{ClientPolicy{{*parse_prefix("198.18.0.0/15")}}};
    Routes::Route route{*cache::parse_name("corp.example"), 1};
    cache::Replaceable<NextHops> next_hops{ways()};
    UpstreamPath upstreams{{1, {*parse_address("198.18.0.60")}, {}, 1500, &next_hops, 0}};
    TscClock clock{rte_get_tsc_hz()};
};

TEST_F(PollingTest, NoAllocationAndNoSystemCallAfterStart) {
    in_effect.replace_local(rules(), grace);
    in_effect.replace_routes(std::make_shared<const Routes>(std::span(&route, 1)), grace);
    in_effect.replace_clients(policy(), grace);
    Worker worker({*port, table, reader, handoff, counters, in_effect.now, &clock});
    std::atomic<bool> stop{false}, trapped{false};
    std::thread lcore([&] {
        rte_thread_register();
        reader.online();
        for (int i = 0; i < 10; ++i)
            worker.turn(); // the thread's first calls into the libraries are resolved
        trap_system_calls();
        guarded = true;
        while (!stop.load(std::memory_order_relaxed)) worker.turn();
        guarded = false;
        bool clean = calls.load() == 0;
        syscall(SYS_getppid);
        trapped = clean && calls.load() == 1; // and the trap itself works
        reader.offline();
        syscall(SYS_exit, 0);
    });
    // Control: every question is a miss once; then its name is published and the waiter woken; then it
    // is a hit.
    cache::Generation generation = 0;
    std::vector<Miss> misses(64);
    unsigned replies = 0;
    Time last = boot_time() + 20s;
    for (unsigned i = 0; counters.get(Event::hit) <= names && boot_time() < last; ++i) {
        send_question(i % 16 == 0 ? "www.blocked.example" : name(i % names));
        visit_kernel(i);
        visit_upstream(i);
        unsigned count = handoff.take(misses);
        for (unsigned m = 0; m < count; ++m) {
            auto entry = test::entry_of({++generation, 0}, {1}, boot_time(), 600s);
            const cache::Entry* published = entry.get();
            table.start(misses[m].key, misses[m].hash, generation);
            ASSERT_EQ(table.publish(misses[m].key, misses[m].hash, entry), cache::Publication::accepted);
            table.finish(misses[m].key, misses[m].hash, generation);
            reader.sent();
            handoff.send({published, misses[m].waiter, Wake::Kind::answer});
        }
        if (i % 4000 == 3999) { // half of the names go, so that shards are rebuilt under the worker
            auto half = [](const cache::KeyRef& key, const cache::Entry&) { return key.hash % 2 == 0; };
            for (std::size_t s = 0; s < table.shard_count(); ++s)
                test::flush_shard(table, s, generation, half);
        }
        if (i % 1000 == 999) reload();
        table.upkeep(boot_time());
        grace.reclaim();
        replies += drain_replies();
    }
    Time end = boot_time() + 5s;
    while (reader.outstanding() && boot_time() < end) drain_replies();
    stop = true;
    while (!trapped && boot_time() < end + 5s) std::this_thread::yield();
    lcore.detach(); // it left by a bare exit: joining it would need a system call that it may not make
    EXPECT_GT(table.rebuilt(), 0u);
    EXPECT_EQ(allocations, 0u);
    EXPECT_TRUE(trapped) << calls << " system calls";
    EXPECT_GT(counters.get(Event::hit), names);
    EXPECT_GT(counters.get(Event::wake_answered), names / 2);
    EXPECT_GT(counters.get(Event::blocked), names / 16);
    EXPECT_GT(counters.get(Verdict::to_kernel), names / 32);
    EXPECT_GT(counters.get(Event::from_kernel), names / 32);
    EXPECT_GT(std::min(counters.get(Verdict::to_control), counters.get(Event::from_control)), names / 32);
    EXPECT_GT(replies, names);
    EXPECT_EQ(counters.get(Event::unrouted), 0u);
}

} // namespace
} // namespace millrace::dataplane

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    std::string lcores = "--lcores=0@" + std::to_string(millrace::dataplane::Machine::inspect().cpus.at(0));
    const char* eal[] = {
        "polling_test",   "--no-huge",           "-m",          "256", "--no-shconf", "--no-pci",
        "--no-telemetry", "--log-level=warning", lcores.c_str()};
    if (rte_eal_init(int(std::size(eal)), const_cast<char**>(eal)) < 0) return 1;
    int failed = RUN_ALL_TESTS();
    std::fflush(nullptr);
    std::_Exit(failed); // the lcore's thread was not joined
}
