"""Mutations: what is kept over a restart."""

from mutation import Mutation

MUTATIONS = [
    Mutation(
        "filled-over-what-is-there", "cache/table.cpp",
        "    return is_taken ? Publication::superseded : publish(key, hash, entry);\n",
        "    return publish(key, hash, entry);\n",
        "what was dumped takes the place of what was asked since, or supersedes a live Fetch",
        "cache_test:TableTest.Fill*"),
    Mutation(
        "loading-outlasts-a-flush", "control/store/cache_store.cpp",
        "    if (is_reading_ && p_.flushes.begun() != flushes_begun_) abort();\n",
        "",
        "what is flushed while the file is loaded comes back",
        "control_test:CacheStoreTest.AFlush*"),
    Mutation(
        "loaded-while-a-flush-goes-on", "control/store/cache_store.cpp",
        "read_ || p_.flushes.is_waiting() ?",
        "read_ ?",
        "what is flushed comes back with a later generation than the flush's",
        "control_test:CacheStoreTest.AFlushUnder*"),
    Mutation(
        "the-helper-is-not-told-of-room", "control/store/cache_store.cpp",
        "            room_.notify_all();\n        }\n",
        "        }\n",
        "a large file is never loaded to its end, nor written again",
        "control_test:CacheStoreTest.MoreBlocks*"),
    Mutation(
        "an-expired-block-is-the-end", "control/store/cache_file.cpp",
        "    while (out.empty()) {\n",
        "    for (bool once = true; once; once = false) {\n",
        "a block of what has expired hides all that is behind it",
        "control_test:CacheFileTest.ABlock*"),
    Mutation(
        "stale-as-is-configured-now-alone", "control/store/cache_file.cpp",
        "std::min(Time(head.stale_until) + how.shift, draft.expiry + how.policy.stale)",
        "draft.expiry + how.policy.stale",
        "a longer `stale` brings back what had expired for good",
        "control_test:CacheFileTest.TheStale*"),
    Mutation(
        "forgotten-after-it-is-said", "control/store/cache_store.cpp",
        "        if (job == Job::forget) result = remove_file(path);\n",
        "",
        "after a kill -9 the file brings back what was flushed",
        "control_test:CacheStoreTest.WhatIsForgotten*"),
    Mutation(
        "loaded-whatever-the-rules", "control/store/cache_store.cpp",
        "    if (Flushes::is_made_otherwise(*rules.local, *rules.routes, key, *one.entry)) return;\n",
        "",
        "a name that a rule leads elsewhere is answered as before the rule",
        "control_test:CacheStoreTest.Rules*"),
    Mutation(
        "life-by-the-new-clock", "control/store/cache_file.cpp",
        "    if (!is_same_boot) shift_ = Time(head.wall - head.since_boot) - (now.wall - now.since_boot);\n",
        "",
        "after a boot answers live as long as the machine ran before it",
        "control_test:CacheFileTest.AfterABoot*"),
    Mutation(
        "clock-set-back", "control/store/cache_file.cpp",
        "    if (!is_same_boot && now.wall.count() < head.wall)\n",
        "    if (false)\n",
        "a clock that is behind lengthens lives",
        "control_test:CacheFileTest.AClock*"),
    Mutation(
        "end-during-the-load", "control/store/cache_store.cpp",
        "    bool is_whole = !is_loading(); // else the file holds what the table does not\n",
        "    bool is_whole = true;\n",
        "who stops while the file is loaded loses what was not yet",
        "control_test:CacheStoreTest.AnEnd*"),
    Mutation(
        "all-filled-in-one-tick", "control/store/cache_store.cpp",
        "    } while (!batch_.empty() && boot_time() < now + limits::filling);\n",
        "    } while (!batch_.empty());\n",
        "a tick takes as long as a block of the file",
        "control_test:CacheStoreTest.ATick*"),
]
