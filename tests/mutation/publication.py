"""Mutations: what may be published, superseded, flushed and merged."""

from mutation import Mutation

MUTATIONS = [
    # Publication: which result may be stored.
    Mutation(
        "no-newest-started-check", "cache/table.cpp",
        "    if (entry.version.generation < slot.started) return Publication::superseded;\n",
        "",
        "a superseded query publishes over its successor",
        "cache_test:TableTest.*"),
    Mutation(
        "start-does-not-supersede", "cache/table.cpp",
        "    node->second.started = generation;\n",
        "",
        "a superseded query publishes while its successor still asks",
        "cache_test:TableTest.*"),
    Mutation(
        "a-version-published-twice", "cache/table.cpp",
        "entry.version <= before->version",
        "entry.version < before->version",
        "a duplicate of a result replaces what stands",
        "cache_test:TableTest.*"),
    Mutation(
        "publish-at-the-floor", "cache/table.cpp",
        "entry.version.generation <= floor(group)",
        "entry.version.generation < floor(group)",
        "the last query before a flush publishes after it",
        "cache_test:TableTest.TheFloor*"),
    Mutation(
        "stamped-when-stored", "control/fetch/table_effects.cpp",
        "    cache::Version version{id.generation, revision};\n",
        "    cache::Version version{++last_generation_, revision};\n",
        "the older query that ends last looks newest, and an answer's own merge looks old",
        "control_test:Scenarios.S9*"),
    Mutation(
        "published-by-another-thread", "cache/table.cpp",
        "    assert(owner_ == std::this_thread::get_id() && \"one writer per key: only the owner changes the table\");\n",
        "",
        "check and write are two steps again, and nobody is told",
        "cache_test:TableDeathTest.*"),
    Mutation(
        "referrals-are-empty-answers", "control/message/reply.cpp",
        "has_soa_ ? Kind::nodata : is_referral() ? Kind::failure : Kind::incomplete;",
        "has_soa_ ? Kind::nodata : Kind::incomplete;",
        "a server that knows nothing of a name says for five seconds that it has no such record",
        "control_test:FetchTest.AReferral*"),
    Mutation(
        "carried-addresses-merged", "control/rank/special_use.cpp",
        "if (auto carried = carried_v4(address)) return is_internal(*carried);",
        "if (auto carried = carried_v4(address); carried && address.is_v4()) return is_internal(*carried);",
        "a foreign name points into the client's network by way of NAT64, 6to4 or Teredo",
        "control_test:MergeTest.NorAre*"),
    Mutation(
        "failures-remembered-for-ever", "control/fetch/publish.cpp",
        "now < before->expiry + held_for + limits::failure_memory",
        "now >= before->born",
        "a name that failed yesterday is given up for minutes at its first failure of today",
        "control_test:FetchTest.AFailureOfLongAgo*"),
    Mutation(
        "superseded-denial-comes-back", "control/fetch/publish.cpp",
        "    if (is_older && (hold || is_failure)) table_.withdraw(key, hash);\n",
        "    if (is_older && is_failure) table_.withdraw(key, hash);\n",
        "a name is denied, as stale data, after clients were given its addresses",
        "control_test:Scenarios.S19*"),
    Mutation(
        "ttl-0-stored", "control/fetch/publish.cpp",
        "    if (!storable) return keep_private(key, hash, cache::Publication::full, std::move(entry));\n",
        "",
        "an answer for those who wait reaches others",
        "control_test:Scenarios.S19*"),
    Mutation(
        "memory-bound-not-checked", "cache/table.cpp",
        "bytes() + entry.bytes() > most_bytes_ ? Publication::full : Publication::accepted",
        "Publication::accepted",
        "a stalled worker lets memory grow for ever",
        "cache_test:TableTest.RefusesEntries*"),

    # Superseding: what becomes of the older query.
    Mutation(
        "superseded-exchanges-go-on", "control/fetch/fetch.cpp",
        "    stop_asking(effects);\n    if (state_ == State::ranking) effects.cancel_ranking(*this);\n",
        "    if (state_ == State::ranking) effects.cancel_ranking(*this);\n",
        "sockets and timers of a query that nobody owns",
        "control_test:Scenarios.S11*"),
    Mutation(
        "superseded-ranking-goes-on", "control/fetch/fetch.cpp",
        "    if (state_ == State::ranking) effects.cancel_ranking(*this);\n",
        "",
        "a ranking that nobody waits for, beside its successor's",
        "control_test:Scenarios.S8*"),
    Mutation(
        "superseded-waiters-dropped", "control/fetch/table.cpp",
        "        if (!side.waiters.empty()) restart(",
        "        if (side.waiters.empty()) restart(",
        "who waits while a flush comes is never answered, and the credits are lost",
        "control_test:Scenarios.S11*"),
    Mutation(
        "all-successors-at-once", "control/fetch/table.cpp",
        "i < limits::restarts_per_tick && !successors_.empty()",
        "!successors_.empty()",
        "a flush under load holds up control for as long as all that it superseded takes to start again",
        "control_test:Scenarios.S11_Successors*"),
    Mutation(
        "only-the-first-successors-start", "control/fetch/table.cpp",
        "        ++successors_gone_;\n        start_successor(std::move(successor), now);\n",
        "        ++successors_gone_;\n        if (i + 1 == limits::restarts_per_tick) successors_.clear();\n"
        "        start_successor(std::move(successor), now);\n",
        "who waits beyond the bound of one tick is never answered",
        "control_test:Scenarios.S11_Successors*"),
    Mutation(
        "successors-dropped-at-shutdown", "control/fetch/table.cpp",
        "    for (const Successor& successor : successors_) waiters_.abandon(successor.waiters);\n",
        "",
        "waiters between two Fetches are lost when the process stops",
        "control_test:FetchTest.CloseAbandonsThose*"),
    Mutation(
        "late-result-finds-the-next-fetch", "control/fetch/table.cpp",
        "    return slot.fetch && slot.fetch->id() == id ? &slot : nullptr;\n",
        "    return slot.fetch ? &slot : nullptr;\n",
        "a result of one query enters the query that has its slot now",
        "control_test:Scenarios.S8*:EarlierRepair.*"),
    Mutation(
        "order-without-its-version", "control/fetch/table_effects.cpp",
        "    bool is_same = entry && entry->version == own.published;\n",
        "    bool is_same = !entry || entry->version == own.published;\n",
        "an order is published although what it was computed for is gone",
        "control_test:Scenarios.S8*"),

    Mutation(
        "one-flavour-published", "control/fetch/table_effects.cpp",
        "    if (revision == 0) publish(id, secure, answer, revision, Time::max());\n",
        "    wake_all(id, secure, publisher_.servfail(), WakeKind::answer);\n",
        "a question with DO=1 costs another Fetch, and who waits for it gets SERVFAIL",
        "control_test:FlavoursTest.*"),
    Mutation(
        "signatures-for-all", "control/message/entry_build.cpp",
        "        if (is_dnssec_wanted) {\n",
        "        {\n",
        "clients that asked for no DNSSEC get its records",
        "control_test:FlavoursTest.*"),

    # Flush and reload.
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
        "        if (matches(key.name.bytes())) return true;\n",
        "",
        "what was collected before a flush appears after it",
        "control_test:Scenarios.S11*"),
    Mutation(
        "flush-leaves-the-aliases", "control/fetch/flush.cpp",
        "        return matches(key.name()) || leads_there(key.name(), entry, matches);\n",
        "        return matches(key.name()) || (entry.failure && leads_there(key.name(), entry, matches));\n",
        "an address that was flushed is still served under the names that lead to it",
        "control_test:FlushOfATarget.*"),
    Mutation(
        "flush-leaves-what-collects-aliases", "control/fetch/flush.cpp",
        "        return entry && leads_there(key.name.bytes(), *entry, matches);\n",
        "        return entry && entry->failure;\n",
        "a merge brings back what was flushed under a name that led there",
        "control_test:FlushOfATarget.*"),
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
        " ||\n                   fetches_.is_superseded(ended.target, ended.since);\n",
        ";\n",
        "what was collected before a flush is published after it, under the names that lead there",
        "control_test:Pieces.ThoseWhoAre*"),
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

    # Merging.
    Mutation(
        "merged-across-chains", "control/fetch/merge.cpp",
        " && ldns_rr_compare(x.get(), y.get()) == 0;\n",
        ";\n",
        "one server's addresses under another server's CNAME",
        "control_test:Scenarios.S16*"),
    Mutation(
        "signed-answers-merged", "control/fetch/merge.cpp",
        "return !answer.is_signed && ",
        "return ",
        "what DNSSEC vouches for is mixed with what it does not",
        "control_test:Scenarios.S17*"),
    Mutation(
        "authentic-answers-merged", "control/fetch/merge.cpp",
        "return !answer.is_signed && !answer.authentic && ",
        "return !answer.is_signed && ",
        "what a validator vouched for is mixed with what it did not",
        "control_test:MergeTest.*"),
    Mutation(
        "names-keep-a-revoked-end", "control/fetch/table_effects.cpp",
        "        completions_.revoke(fetch.id().generation);\n",
        "",
        "a forged address goes on being given under every name that led to it",
        "control_test:RevokedEnd.*"),
    Mutation(
        "names-of-names-keep-a-revoked-end", "control/fetch/aliases.cpp",
        "live > 0 ? live : completions_.root_of(hash);\n",
        "live;\n",
        "a forged address lives on under names that found it in the cache",
        "control_test:RevokedEnd.*"),
    Mutation(
        "scoped-answers-merged", "control/fetch/merge.cpp",
        " && !answer.is_scoped;\n",
        ";\n",
        "addresses meant for one network are given to all",
        "control_test:MergeTest.*Subnets*"),
    Mutation(
        "answers-for-validators-merged", "control/fetch/merge.cpp",
        "key.flavour == cache::plain && ",
        "",
        "a client that validates itself gets a set that nobody gave",
        "control_test:MergeTest.*"),
    Mutation(
        "private-addresses-merged", "control/fetch/merge.cpp",
        "if (!is_internal(address) && known.insert(address).second)",
        "if (!is_internal(address) || known.insert(address).second)",
        "one lying upstream points a foreign name into the client's network",
        "control_test:MergeTest.*"),
    Mutation(
        "merge-outlives-a-contributor", "control/fetch/merge.cpp",
        "            earliest = std::min(earliest, lowest_expiry(*reply.answer, policy));\n",
        "            earliest = std::max(earliest, lowest_expiry(*reply.answer, policy));\n",
        "addresses live longer than the upstream allowed",
        "control_test:MergeTest.TheSame*"),
    Mutation(
        "order-outlives-its-set", "control/fetch/fetch.cpp",
        "    if (kept) return rank(std::move(*merged.answer), merged.latest_expiry, now, effects);\n",
        "    if (kept) return rank(std::move(*merged.answer), Time::max(), now, effects);\n",
        "revision 2 lives longer than the merge that it orders",
        "control_test:LongLives.*"),
    Mutation(
        "quorum-off-by-one", "control/fetch/merge.cpp",
        "holders[address_of(r)] < quorum",
        "holders[address_of(r)] <= quorum",
        "what enough replies hold is thrown away",
        "control_test:*QuorumTest.*"),
    Mutation(
        "denial-ignored", "control/fetch/merge.cpp",
        "    if (std::ranges::any_of(answers, is_denial)) {\n",
        "    if (is_denial(winner)) {\n",
        "an answer that another upstream denies lives its whole life",
        "control_test:MergeTest.Positive*"),
    Mutation(
        "strangers-point-probes", "control/rank/prober.cpp",
        "(!is_special_use(address) || std::ranges::any_of(policy_.allow, contains))",
        "(!is_internal(address) || std::ranges::any_of(policy_.allow, contains))",
        "names that strangers make up have us send to addresses that nobody may use",
        "control_test:ProberTest.SpecialUse*"),
    Mutation(
        "one-network-probed-without-end", "control/rank/probe_limits.cpp",
        "at->second.open < limits::probes_per_prefix && at->second.has_token(own_rate, now)",
        "at->second.open < limits::probes_per_prefix",
        "names that lead into one network make us flood it",
        "control_test:ProbeLimitsTest.*"),
    Mutation(
        "limited-is-dead", "control/rank/prober.cpp",
        "    if (subject.tried == ways_.size()) {",
        "    if (subject.tried <= ways_.size()) {",
        "an address sinks because we did not ask it",
        "control_test:ProberTest.WhatALimit*"),
    Mutation(
        "dead-keep-their-places", "control/rank/measurements.cpp",
        "        if (m && m->is_dead()) {",
        "        if (m && m->is_dead() && m->failures > 9) {",
        "clients begin with addresses that do not answer",
        "control_test:MeasurementsTest.*:ProberTest.*"),
    Mutation(
        "ranked-order-rotates", "control/fetch/fetch.cpp",
        "    bool changes = policy_.ttl.rotate || records",
        "    bool changes = records",
        "where the measured order is the upstream's, replies rotate all the same",
        "control_test:RankedAndRotated.*"),
    Mutation(
        "completed-order-rotates", "control/message/entry_read.cpp",
        "    if (answer) answer->is_in_order = entry.rotating == 0;\n",
        "",
        "names whose CNAME leads to a ranked answer begin with any of its addresses, the dead ones too",
        "control_test:RankedAndRotated.*"),
    Mutation(
        "what-follows-stands-still", "control/fetch/aliases.cpp",
        "    draft.rotating = entry.rotating;\n",
        "",
        "all clients of a name that is completed from another begin with the same address",
        "control_test:RankedAndRotated.*"),
    Mutation(
        "nat64-is-one-network", "control/rank/probe_limits.cpp",
        "    address = carried_v4(address).value_or(address);\n",
        "",
        "behind NAT64 16 probes a second are all there are, for the whole of IPv4",
        "control_test:ProbeLimitsTest.*"),
    Mutation(
        "unsent-probes-count", "control/rank/prober.cpp",
        "        limits_.give_back(address, policy_.rate);\n",
        "        limits_.leave(address);\n",
        "a port that this machine cannot reach uses up what others may send",
        "control_test:ProberTest.WhatThisMachine*"),
    Mutation(
        "probers-sockets-stay", "control/rank/prober.cpp",
        "    probes_.rest();\n",
        "",
        "with `icmp: false` the kernel still queues echo replies for us",
        "control_test:ProberTest.AnotherPolicy*"),
]
