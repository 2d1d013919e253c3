// A worker in its own thread on net_ring, at rest: what arrives then is answered, all of it and soon.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <thread>

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dataplane/worker.hpp"
#include "tests/dataplane/ethdev_fixture.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/rules.hpp"

namespace {

std::atomic<int> napper{0};         ///< the thread that is watched,
std::atomic<long> longest_asked{0}; ///< and what it has asked to sleep for, in ns

} // namespace

/// In the place of libc's: how long the kernel takes nobody can promise, but what it is asked for.
extern "C" int clock_nanosleep(clockid_t clock, int flags, const timespec* length, timespec* rest) {
    if (gettid() == napper) longest_asked = std::max(longest_asked.load(), length->tv_nsec);
    return syscall(SYS_clock_nanosleep, clock, flags, length, rest) == 0 ? 0 : errno;
}

namespace millrace::tests {

namespace {

using std::this_thread::sleep_for;

/// The receive ring is as long as a port's.
class IdleTest : public EthdevTest {
  protected:
    static constexpr unsigned places = limits::rx_descriptors;

    IdleTest() : EthdevTest(2 * places) {} // one place of an rte_ring stays empty

    void SetUp() override {
        EthdevTest::SetUp();
        cache::Key key = test::key_of("idle.example");
        auto entry = test::entry_of({1, 0}, {7}, boot_time(), 600s);
        entry_ = entry.get();
        auto hash = table_.hasher()(key);
        table_.start(key, hash, 1);
        ASSERT_EQ(table_.publish(key, hash, entry), cache::Publication::accepted);
    }
    void TearDown() override {
        stop();
        EthdevTest::TearDown();
    }

    void start(Idle idle, Time longest_nap = limits::longest_nap) {
        WorkerContext context{*port_, table_, *reader_, handoff_, counters_, rules_.now};
        context.idle = idle;
        context.longest_nap = longest_nap;
        worker_.emplace(context);
        stop_ = false;
        thread_ = std::thread([&] {
            thread_id_ = gettid();
            longest_asked = 0;
            napper = gettid();
            cpu_set_t any; // not the one CPU of the main lcore, on which the test spins
            std::memset(&any, 0xff, sizeof any);
            sched_setaffinity(0, sizeof any, &any);
            worker_->run(stop_);
        });
        while (worker_->heartbeats() < 2 * limits::empty_turns) std::this_thread::yield();
        sleep_for(5ms); // enough for the naps to have grown to the longest
    }
    void stop() {
        stop_ = true;
        if (thread_.joinable()) thread_.join();
    }

    /// So many frames at the port in one moment.
    void send(unsigned count, const Bytes& frame) {
        std::vector<void*> mbufs;
        for (unsigned i = 0; i < count; ++i) mbufs.push_back(buffer(frame));
        ASSERT_EQ(rte_ring_enqueue_bulk(to_port_, mbufs.data(), count, nullptr), count);
    }
    /// Replies within the time, at most as many as wanted.
    unsigned replies(unsigned wanted, Time patience = 5s) {
        unsigned count = 0;
        Time end = boot_time() + patience;
        for (void* mbuf; count < wanted && boot_time() < end;) {
            if (rte_ring_dequeue(from_port_, &mbuf) != 0) {
                std::this_thread::yield(); // perhaps there is but one CPU for both threads
                continue;
            }
            rte_pktmbuf_free(static_cast<rte_mbuf*>(mbuf));
            ++count;
        }
        return count;
    }
    static Bytes query() { return build({.payload = test::query("idle.example")}); }

    /// CPU time of the worker's thread.
    Time worked() {
        clockid_t clock;
        pthread_getcpuclockid(thread_.native_handle(), &clock);
        timespec ts{};
        clock_gettime(clock, &ts);
        return std::chrono::duration_cast<Time>(std::chrono::seconds(ts.tv_sec) +
                                                std::chrono::nanoseconds(ts.tv_nsec));
    }
    /// How often it has slept.
    unsigned naps() {
        std::ifstream status("/proc/self/task/" + std::to_string(thread_id_) + "/status");
        for (std::string word; status >> word;) {
            if (word == "voluntary_ctxt_switches:" && status >> word) return unsigned(std::stoul(word));
        }
        return 0;
    }

    cache::Grace grace_;
    cache::Grace::Reader* reader_ = grace_.add_reader();
    cache::Table table_{{.entries = 1000, .bytes = 1 << 20}, grace_};
    const cache::Entry* entry_ = nullptr;
    Handoff handoff_;
    test::RulesInEffect rules_{ClientPolicy{{*parse_prefix("0.0.0.0/0")}}};
    std::optional<Worker> worker_;
    std::thread thread_;
    std::atomic<int> thread_id_{0};
    std::atomic<bool> stop_{false};
};

class EachIdle : public IdleTest, public testing::WithParamInterface<Idle> {};

TEST_P(EachIdle, ABurstAtRestIsAnsweredWhole) {
    start(GetParam());
    for (int round = 0; round < 10; ++round) {
        send(places, query());
        EXPECT_EQ(replies(places), places);
        sleep_for(3ms);
    }
    EXPECT_EQ(counters_.get(Event::hit), 10U * places);
}

INSTANTIATE_TEST_SUITE_P(Kinds, EachIdle, testing::Values(Idle::poll, Idle::pause, Idle::sleep));

/// The best of several tries: what else runs on this machine makes each of them longer, never shorter.
TEST_F(IdleTest, NobodyWaitsForLong) {
    start(Idle::sleep);
    Time query_waited = 1s, wake_waited = 1s;
    for (int round = 0; round < 30; ++round) {
        Time begin = boot_time();
        send(1, query());
        ASSERT_EQ(replies(1), 1U);
        query_waited = std::min(query_waited, boot_time() - begin);
        send(1, build({.payload = test::query("other.example")}));
        std::vector<Miss> misses(1);
        while (handoff_.take(misses) == 0) {
        }
        sleep_for(5ms); // it sleeps again
        begin = boot_time();
        reader_->sent();
        handoff_.send({entry_, misses[0].waiter, Wake::Kind::answer});
        ASSERT_EQ(replies(1), 1U);
        wake_waited = std::min(wake_waited, boot_time() - begin);
        sleep_for(5ms);
    }
    EXPECT_LT(query_waited, 5 * (limits::longest_nap + limits::waking));
    EXPECT_LT(wake_waited, 5 * (limits::longest_nap + limits::waking));
}

TEST_F(IdleTest, SleepsOftenAndTakesLittleOfTheCpu) {
    start(Idle::sleep);
    Time before = worked();
    unsigned naps_before = naps();
    sleep_for(200ms);
    EXPECT_LT(worked() - before, 60ms);
    EXPECT_GT(naps() - naps_before, 200ms / limits::longest_nap / 10);
}

TEST_F(IdleTest, NoNapIsLongerThanTheRingAllows) {
    for (unsigned ring : {256U, 1024U}) {
        Time longest = rest_of(ring).longest_nap;
        start(Idle::sleep, longest);
        auto wanted = std::chrono::nanoseconds(longest).count();
        for (Time end = boot_time() + 10s; longest_asked < wanted && boot_time() < end;) sleep_for(1ms);
        stop();
        EXPECT_EQ(longest_asked, wanted) << ring;
    }
}

/// Control need not wait for a sleeper, nor a flush.
TEST_F(IdleTest, ASleeperIsOffline) {
    start(Idle::sleep);
    unsigned passed_at_once = 0;
    for (int i = 0; i < 100; ++i) {
        auto period = grace_.begin();
        passed_at_once += grace_.passed(period);
        sleep_for(300us);
    }
    EXPECT_GT(passed_at_once, 30U);
}

TEST_F(IdleTest, PausesLastTheirTime) {
    start(Idle::pause);
    std::uint64_t turns = worker_->heartbeats();
    Time begin = boot_time();
    sleep_for(50ms);
    turns = worker_->heartbeats() - turns;
    EXPECT_LE(turns, std::uint64_t((boot_time() - begin) / limits::pause) + 1);
    EXPECT_GT(turns, 100U);
}

/// Packets that are dropped keep the worker awake, or those behind them would wait for a nap every
/// 32 of them. What it is asked to sleep tells: how fast this machine turns does not matter.
TEST_F(IdleTest, JunkIsNotSilence) {
    napper = gettid();
    longest_asked = 0;
    Idler idler(Idle::sleep, limits::longest_nap, *reader_, counters_);
    reader_->online();
    for (unsigned turn = 0; turn < 4 * limits::empty_turns; ++turn) {
        if (turn % limits::empty_turns == 0) counters_.add(Verdict::drop_destination);
        idler.after(false);
    }
    EXPECT_EQ(longest_asked, 0);
    idler.after(false);
    idler.after(false);
    EXPECT_GT(longest_asked, 0);
    reader_->offline();
}

/// Its CPU may be another process's by then.
TEST_F(IdleTest, APortThatIsAwayIsNoReasonToPoll) {
    start(Idle::poll);
    unsigned before = naps();
    port_->suspend();
    for (Time end = boot_time() + 60s; naps() < before + 10 && boot_time() < end;) sleep_for(1ms);
    EXPECT_GE(naps(), before + 10);
    EXPECT_EQ(longest_asked, std::chrono::nanoseconds(limits::longest_nap).count());
    port_->resume(ethdev_->port(), ethdev_->offload());
    send(1, query());
    EXPECT_EQ(replies(1), 1U);
}

} // namespace

} // namespace millrace::tests
