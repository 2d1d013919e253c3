"""Mutations: when memory may be freed, and the table under pressure."""

from mutation import Mutation

MUTATIONS = [
    # Memory: when may it be freed.
    Mutation(
        "freed-without-grace", "cache/table.cpp",
        "    grace_.retire(std::move(before));\n",
        "    before.reset();\n",
        "a worker reads freed memory",
        "cache_test:TableTest.Replaced*"),
    Mutation(
        "never-freed", "cache/table.cpp",
        "    grace_.retire(std::move(before));\n",
        "    static_cast<void>(before.release());\n",
        "every flush and every publication loses memory",
        "cache_test:TableTest.Replaced*"),
    Mutation(
        "freed-while-readers-look", "cache/grace.cpp",
        "    return rte_rcu_qsbr_check(qsbr_.get(), period.token, false) == 1;\n",
        "    return true;\n",
        "a worker in its burst reads freed memory",
        "cache_test:GraceTest.*"),
    Mutation(
        "freed-while-wakes-name-it", "cache/grace.cpp",
        "        if (!has_finished(i, period.sent[i])) return false;\n",
        "",
        "a worker answers a Wake from freed memory",
        "cache_test:GraceTest.*"),
    Mutation(
        "retired-into-the-waiting-batch", "cache/grace.cpp",
        "    entry->limbo_next_ = open_.entries;\n    open_.entries = entry.release();\n",
        "    entry->limbo_next_ = waiting_.entries;\n    waiting_.entries = entry.release();\n",
        "an Entry is freed after a period that began before its retirement",
        "cache_test:GraceTest.*"),
    Mutation(
        "all-freed-in-one-tick", "cache/grace.cpp",
        "    free_some(over_, std::max(limits::frees_per_tick, retired_), limits::retired_per_tick);\n",
        "    free_some(over_, ~0u, ~0u);\n",
        "after a worker has stalled control stands still for as long as freeing the whole table takes",
        "cache_test:GraceTest.WhatHasCollected*"),
    Mutation(
        "private-entry-freed-at-once", "cache/reserve.cpp",
        "        if (is_finished(leaving_.front())) {\n",
        "        if (!leaving_.empty()) {\n",
        "a Wake names a freed private Entry",
        "cache_test:ReserveTest.*"),
    Mutation(
        "private-wake-not-noted", "control/fetch/waiters.cpp",
        "        if (hold && *hold && !w.is_tcp()) hold->sent_to(w.source);\n",
        "        static_cast<void>(hold);\n",
        "a Wake names a freed private Entry",
        "control_test:TwoWorkers.S21_Private*"),
    Mutation(
        "later-private-wake-not-noted", "control/fetch/table.cpp",
        "    if (!waiter.is_tcp()) side.held.sent_to(waiter.source);\n",
        "",
        "a Wake for a later question names a freed private Entry",
        "control_test:TinyTable.AStalled*"),

    # Memory that runs out.
    Mutation(
        "no-memory-for-an-entry", "control/fetch/publish.cpp",
        "} catch (const std::bad_alloc&) {\n    return nullptr;\n}\n",
        "} catch (const std::bad_alloc&) {\n    throw;\n}\n",
        "the process ends instead of one answer being lost",
        "control_test:MemoryTest.*"),
    Mutation(
        "no-memory-for-a-private-entry", "cache/reserve.cpp",
        "    return {}; // as when there is no room\n",
        "    throw;\n",
        "the process ends instead of one answer being lost",
        "control_test:MemoryTest.*"),

    # The table under pressure.
    Mutation(
        "rebuild-drops-a-live-slot", "cache/upkeep.cpp",
        "        if (!is_copied && Shard::is_dead(from.second)) continue;\n",
        "        if (!from.second.entry.load(std::memory_order_relaxed)) continue;\n",
        "a query under way forgets that it superseded another",
        "cache_test:UpkeepTest.*Rebuild*"),
    Mutation(
        "rebuild-forgets-the-newest-started", "cache/upkeep.cpp",
        "            node.second.started = from.second.started;\n",
        "",
        "a superseded query publishes after a rebuild",
        "cache_test:UpkeepTest.*Rebuild*"),
    Mutation(
        "old-shard-freed-at-once", "cache/upkeep.cpp",
        "    grace_.retire(std::unique_ptr<Retired>(&old));\n",
        "    delete &old;\n",
        "a worker looks a name up in freed memory",
        "cache_test:UpkeepTest.*OldShard*"),
    Mutation(
        "full-line-is-complete", "cache/index.hpp",
        "        return {nullptr, false};\n",
        "        return {nullptr, true};\n",
        "a key that found its line full is asked upstream for ever",
        "cache_test:IndexTest.*"),
    Mutation(
        "key-not-compared", "cache/table.hpp",
        "ahead.node->first == KeyRef{hash, key.bytes().data()}",
        "true",
        "one name's addresses are served for another",
        "cache_test:IndexTest.*"),
    Mutation(
        "old-index-stays", "cache/table.cpp",
        "    w.index.store(&fresh->index, std::memory_order_release);\n",
        "    if (!w.index.load()) w.index.store(&fresh->index, std::memory_order_release);\n",
        "workers look names up in a freed shard's index",
        "cache_test:UpkeepTest.ARebuild*"),
    Mutation(
        "no-room-for-a-rebuild", "cache/table.cpp",
        "most_bytes_(limits.bytes - std::min(limits.bytes / 2, Shard::fixed_octets))",
        "most_bytes_(limits.bytes)",
        "memory passes its bound by a shard whenever one is rebuilt",
        "cache_test:SmallMemory.*"),
    Mutation(
        "visited-entries-evicted", "cache/upkeep.cpp",
        "        if (!is_useless && entry->visited.exchange(0, std::memory_order_relaxed)) continue;\n",
        "        entry->visited.store(is_useless, std::memory_order_relaxed);\n",
        "a scan of random names pushes out what everybody asks",
        "cache_test:UpkeepTest.NamesThatAreHit*"),
    Mutation(
        "failures-evicted-like-answers", "cache/upkeep.cpp",
        "entry->failure || now >= entry->stale_until",
        "now >= entry->stale_until",
        "a storm of names that fail pushes out answers that are asked for",
        "cache_test:UpkeepTest.FailuresAnd*"),
    Mutation(
        "ended-lives-evicted-like-others", "cache/upkeep.cpp",
        "entry->failure || now >= entry->stale_until",
        "entry->failure || now >= Time::max()",
        "answers that nobody may be given any more push out those that are asked for",
        "cache_test:UpkeepTest.FailuresAnd*"),
    Mutation(
        "hits-not-marked", "dataplane/worker.cpp",
        "    if (!entry->visited.load(std::memory_order_relaxed)) entry->visited.store(1, std::memory_order_relaxed);\n",
        "",
        "eviction knows nothing of what is asked",
        "dataplane_test:WorkerTest.*"),
    # DPDK's memory, and NICs.
    Mutation(
        "hugepages-of-any-node", "dataplane/eal_memory.cpp",
        "demand[i] <= machine.nodes[i].free_octets",
        "demand[i] <= machine.nodes[0].free_octets",
        "pages on another node than the lcore's are counted, and DPDK panics",
        "dataplane_test:Memory.*"),
    Mutation(
        "lock-limit-not-looked-at", "dataplane/eal_memory.cpp",
        "*machine.lockable_octets >= needed",
        "*machine.lockable_octets > 0",
        "a NIC cannot reach most packet buffers, and loses what they hold",
        "dataplane_test:Memory.*"),
    Mutation(
        "lcores-without-spreading", "dataplane/ethdev.cpp",
        "lcores < 2 || offer.spreads || offer.peer_spreads",
        "lcores < 2 || !offer.spreads || offer.peer_spreads",
        "all but the first lcore of a NIC without RSS get nothing for ever",
        "dataplane_test:Ethdev.*"),
    Mutation(
        "group-of-the-kernel", "dataplane/nic.cpp",
        "other != nic.address && !is_one_of(viable_drivers, driver)",
        "false && !is_one_of(viable_drivers, driver)",
        "VFIO refuses a NIC for what shares its group, and nobody says so",
        "dataplane_test:Nic.*"),
]
