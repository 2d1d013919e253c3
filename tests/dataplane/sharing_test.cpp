// What lcores share they only read: while eviction is idle, a hit stores nothing into the table, its Entries,
// the block lists or the access lists, so that their cache lines stay shared between any number of cores.
//
// All of these are allocated in pages of their own, which are made read-only: a store into them traps.
// The real Worker on a net_ring port. Not built with sanitizers, which bring their own allocator.
#include <csignal>
#include <cstddef>
#include <cstdlib>

#include <dlfcn.h>
#include <rte_eal.h>
#include <sys/mman.h>

#include "dataplane/eal_plan.hpp"
#include "dataplane/worker.hpp"
#include "tests/dataplane/ethdev_fixture.hpp"
#include "tests/support/entries.hpp"
#include "tests/support/messages.hpp"

namespace {

/// The pages, handed out while `is_open`, never taken back.
struct Apart {
    static constexpr std::size_t size = 64 << 20;
    bool is_open = false;
    std::size_t used = 0;
    std::byte* memory = static_cast<std::byte*>(
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

    void* take(std::size_t octets, std::size_t alignment = alignof(std::max_align_t)) {
        std::size_t begin = (used + alignment - 1) & ~(alignment - 1);
        if (begin + octets > size) std::abort();
        used = begin + octets;
        return memory + begin;
    }
    bool has(const void* at) const { return at >= memory && at < memory + size; }
    void allow(int what) const { mprotect(memory, size, what); }
};
Apart& apart() {
    static Apart apart;
    return apart;
}

template <class Function>
Function next(Function, const char* name) {
    return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

} // namespace

// The C++ operators end in these too.
extern "C" {
void* malloc(std::size_t size) {
    static auto real = next(&malloc, "malloc");
    return apart().is_open ? apart().take(size) : real(size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
    static auto real = next(&aligned_alloc, "aligned_alloc");
    return apart().is_open ? apart().take(size, alignment) : real(alignment, size);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
    static auto real = next(&posix_memalign, "posix_memalign");
    if (!apart().is_open) return real(memory, alignment, size);
    *memory = apart().take(size, alignment);
    return 0;
}
void free(void* memory) {
    static auto real = next(&free, "free");
    if (!apart().has(memory)) real(memory);
}
}

namespace millrace::dataplane {
namespace {

static_assert(alignof(Counters) == 64 && alignof(Worker) == 64 && alignof(cache::Grace::Reader) == 64,
              "what one lcore writes shares no cache line with what another uses");

class SharingTest : public tests::EthdevTest {
  protected:
    static constexpr unsigned names = 4000; // of several shards

    static std::string name(unsigned i) { return "name-" + std::to_string(i) + ".example"; }
    static std::unique_ptr<const LocalNames> rules() {
        LocalNames::Builder names;
        auto rule = names.deny(0, true, LocalNames::Action::nxdomain, 15, test::bare_entry(3));
        names.add(cache::parse_name("blocked.example")->bytes(), LocalNames::Builder::both, rule);
        return names.build();
    }

    void SetUp() override {
        EthdevTest::SetUp();
        apart().is_open = true;
        table.emplace(cache::TableLimits{.entries = 100'000, .bytes = 1 << 26}, grace);
        in_effect.emplace(std::make_unique<const Rules>(
            std::make_shared<const Access>(ClientPolicy{{*parse_prefix("198.18.0.0/15")}, {}}), rules()));
        for (unsigned i = 0; i < names; ++i) {
            auto key = test::key_of(name(i));
            auto hash = table->hasher()(key);
            table->start(key, hash, i + 1);
            auto entry = test::entry_of({i + 1, 0}, {1}, boot_time(), 600s);
            entry->quiet_hits = 1; // as with `cache: prefetch: 2`
            ASSERT_EQ(table->publish(key, hash, entry), cache::Publication::accepted);
            table->finish(key, hash, i + 1);
        }
        apart().is_open = false;
        worker.emplace(WorkerContext{*port_, *table, reader, handoff, counters, *in_effect, &clock});
        reader.online();
    }
    void TearDown() override {
        reader.offline();
        EthdevTest::TearDown();
    }

    /// Every name once, and one that is blocked.
    void ask_all() {
        for (unsigned i = 0; i <= names; ++i) {
            arrive(tests::Query{.payload = test::query(i < names ? name(i) : "www.blocked.example")});
            worker->turn();
            (void)sent();
        }
    }
    /// The same. Whether something was stored.
    bool ask_all_and_watch() {
        has_stored = false;
        auto action = [](int) {
            has_stored = true;
            apart().allow(PROT_READ | PROT_WRITE); // the store is made after all
        };
        auto before = std::signal(SIGSEGV, action);
        apart().allow(PROT_READ);
        ask_all();
        apart().allow(PROT_READ | PROT_WRITE);
        std::signal(SIGSEGV, before);
        return has_stored;
    }
    static inline volatile bool has_stored;

    cache::Grace grace;
    cache::Grace::Reader& reader = *grace.add_reader();
    Handoff handoff;
    Counters counters;
    TscClock clock{rte_get_tsc_hz()};
    std::optional<cache::Table> table;
    std::optional<cache::Replaceable<Rules>> in_effect;
    std::optional<Worker> worker;
};

TEST_F(SharingTest, HitsStoreNothingWhereOtherLcoresRead) {
    EXPECT_TRUE(ask_all_and_watch()) << "the first hit leaves its mark for eviction, and is counted";
    EXPECT_FALSE(ask_all_and_watch());
    EXPECT_EQ(counters.get(Event::hit), 2 * names);
    EXPECT_EQ(counters.get(Event::blocked), 2u);
}

} // namespace
} // namespace millrace::dataplane

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    std::string lcores = "--lcores=0@" + std::to_string(millrace::dataplane::Machine::inspect().cpus.at(0));
    const char* eal[] = {
        "sharing_test",   "--no-huge",           "-m",          "256", "--no-shconf", "--no-pci",
        "--no-telemetry", "--log-level=warning", lcores.c_str()};
    if (rte_eal_init(int(std::size(eal)), const_cast<char**>(eal)) < 0) return 1;
    return RUN_ALL_TESTS();
}
