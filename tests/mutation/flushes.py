"""Mutations: what a flush or a reload must end."""

from mutation import Mutation

MUTATIONS = [
    Mutation(
        "made-of-what-a-flush-takes", "control/fetch/aliases.cpp",
        "                  !fetches_.is_forbidden(target, hash, *entry) &&\n",
        "",
        "flushed data goes on under the names that lead to it",
        "control_test:FollowersTest.*"),
    Mutation(
        "stale-middle-is-an-answer", "control/fetch/aliases.cpp",
        "        return on_target_ended(key, hash, is_ours ? why : stale, is_ours ? Kind::answer : Kind::stale, now);\n",
        "        return on_target_ended(key, hash, why, Kind::answer, now);\n",
        "the records of one name are published under another",
        "control_test:FollowersTest.*"),
    Mutation(
        "flush-leaves-the-live", "control/fetch/flush.cpp",
        "        return told ? concerns({0, key.bytes().data()}, *told, matches) : matches(key.name.bytes(), false);\n",
        "        return told && concerns({0, key.bytes().data()}, *told, matches);\n",
        "what was collected before a flush appears after it",
        "control_test:Scenarios.S11*"),
    Mutation(
        "flush-leaves-the-aliases", "control/fetch/flush.cpp",
        "        return concerns(key, entry, matches);\n",
        "        return matches(key.name(), false) || (entry.failure && concerns(key, entry, matches));\n",
        "an address that was flushed is still served under the names that lead to it",
        "control_test:FlushOfATarget.*"),
    Mutation(
        "flush-leaves-what-a-denial-made", "control/fetch/flush.cpp",
        "        return is_denied ? cache::",
        "        return false ? cache::",
        "a name that exists now stays denied, where a denial above it was stored under a name that leads there",
        "control_test:DeniedBelow.GoesWithAFlush*"),
    Mutation(
        "flush-leaves-what-dns64-made-of-a-denial", "control/fetch/flush.cpp",
        " || (key.dns64() != 0 && is_negative);",
        " || (false && is_negative);",
        "a name that exists now has no addresses for clients of DNS64, where one above it was denied",
        "control_test:DeniedBelow.OfDns64*"),
    Mutation(
        "flush-leaves-a-chain-that-was-heard", "control/fetch/table_supersede.cpp",
        "any_of(slot.fetch->heard(), leads_there);",
        "any_of(slot.fetch->heard().first(0), leads_there);",
        "a name that was flushed appears once more in a chain that was heard before, or merged",
        "control_test:HeardChain.OfAFetchThatStillWaits*:FlushOfATarget.NothingThat*"),
    Mutation(
        "flush-leaves-who-follows-a-chain", "control/fetch/aliases.cpp",
        "    return matches(key, nullptr) || concerns_chain(matches, key, alias.chain) ||\n",
        "    return matches(key, nullptr) ||\n",
        "the same, while the chain's end is asked",
        "control_test:HeardChain.*"),
    Mutation(
        "those-yet-to-be-told-follow-a-flushed-chain", "control/fetch/aliases.cpp",
        "fetches_.is_superseded(f.key, f.since, f.alias)",
        "fetches_.is_superseded(f.key, f.since, nullptr)",
        "the same, where thousands do",
        "control_test:ManyHeardChains.*"),
    Mutation(
        "flush-leaves-the-chain-of-a-denial", "control/fetch/aliases.cpp",
        "           (alias.native && concerns_chain(",
        "           (false && concerns_chain(",
        "a denial of AAAA records outlives the flush of a name that it came through",
        "control_test:Dns64Test.AFlushTakes*"),
    Mutation(
        "signatures-rotated-with-addresses", "control/message/entry_build.cpp",
        "        if (offsets[offsets.size() - i] != writer.records().size() - i * octets + ttl_at) return 0;\n",
        "        if (offsets[offsets.size() - i] < ttl_at) return 0;\n",
        "replies are cut in the middle of a record",
        "control_test:BuildEntry.*"),
    Mutation(
        "flush-spares-the-last", "cache/table.cpp",
        "entry->version.generation > last ||",
        "entry->version.generation >= last ||",
        "the newest answer survives its flush",
        "cache_test:TableTest.Flush*"),
    Mutation(
        "floor-not-raised", "control/fetch/flush.cpp",
        "        if (groups >> group & 1) table_.raise_floor(group, fetches_.last_generation());\n",
        "        static_cast<void>(groups);\n",
        "answers of the old upstreams are served until the last slot is emptied",
        "control_test:Scenarios.S11*"),
    Mutation(
        "acknowledged-without-grace", "control/fetch/flush.cpp",
        "    if (!grace_.passed(*job.period)) return false;\n",
        "",
        "a worker sends a flushed answer after the acknowledgement",
        "control_test:ManyShards.*"),
    Mutation(
        "grace-period-begun-too-early", "control/fetch/flush.cpp",
        "    Job& job = jobs_.front();\n",
        "    Job& job = jobs_.front();\n"
        "    if (!job.period) job.period = grace_.begin();\n",
        "what a worker got while later shards were emptied is sent after the acknowledgement",
        "control_test:ManyShards.*"),
    Mutation(
        "served-at-the-floor", "dataplane/worker.cpp",
        "entry->version.generation <= c_.table.floor(",
        "entry->version.generation < c_.table.floor(",
        "workers serve the last answer of before a flush",
        "dataplane_test:WorkerTest.UnderTheFloor*"),
    Mutation(
        "miss-answered-from-under-the-floor", "cache/table.hpp",
        "entry && entry->version.generation > floor(key.group) && now",
        "entry && now",
        "control gives a waiter, or a TCP client, what a flush or a reload forbids",
        "control_test:UnderTheFloor.*"),
    Mutation(
        "reload-without-flush", "control/daemon/reload.cpp",
        "others[] = {\"allow\",",
        "others[] = {\"allow\", \"upstreams\",",
        "after a reload the old upstreams' answers stay",
        "control_test:Reload*"),
    Mutation(
        "reload-acknowledged-at-once", "control/daemon/reload.cpp",
        "        finish(changes);\n    };\n",
        "    };\n    finish(changes);\n",
        "results of the old upstreams appear after the acknowledgement",
        "control_test:Reload*"),
    Mutation(
        "a-superseded-fetch-speaks", "control/fetch/table_supersede.cpp",
        "    return slot && !is_superseded(*slot) ? slot : nullptr;\n",
        "    return slot;\n",
        "what was collected before a flush appears after it, when thousands of Fetches were live",
        "control_test:Pieces.AFlushEnds*"),
    Mutation(
        "followers-told-what-a-flush-forbids", "control/fetch/aliases.cpp",
        " ||\n                   fetches_.is_superseded(ended.target, ended.since, ended.entry.get());\n",
        ";\n",
        "what was collected before a flush is published after it, under the names that lead there",
        "control_test:ManyHeardChains.NorWhat*"),
    Mutation(
        "asked-in-the-old-way", "control/fetch/table.cpp",
        "    if (is_held()) return restart(key, hash, std::move(waiters));\n",
        "",
        "a reload takes upstreams away that a Fetch is asking",
        "control_test:Pieces.WhatIsChanged*"),
    Mutation(
        "all-followers-at-once", "control/fetch/aliases.cpp",
        " && told_ < limits::followers_per_tick",
        "",
        "who leads thousands of names to one holds up control with one answer",
        "control_test:Pieces.FollowersOf*"),
    Mutation(
        "negative-flush-leaves-the-live", "control/fetch/flush.cpp",
        "    fetches_.supersede([](const cache::Key&, const cache::Entry*) { return true; }, nullptr);\n",
        "",
        "a denial that was on its way is published after the flush of denials",
        "control_test:FlushOfNegatives.*"),
]
