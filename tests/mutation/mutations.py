"""The mutations: mistakes that somebody could make, each of which would let one query's result harm another, or lose one.

`old` stands in `file` exactly once and becomes `new`; `danger` is what would happen; `tests` are those expected to notice,
as program:filter. run tries these first, so that a wrong guess costs time, not the catch.

Not here, because no test on one thread can see them: `finished` counted before the replies are written, and weaker memory
orders. The first is the model's (tests/model), the last ThreadSanitizer's.
"""

from typing import NamedTuple


class Mutation(NamedTuple):
    name: str
    file: str
    old: str
    new: str
    danger: str
    tests: str


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
        "    cache::Version version{fetch.id().generation, revision};\n    FetchSlot& slot",
        "    cache::Version version{++last_generation_, revision};\n    FetchSlot& slot",
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
        "carried-addresses-merged", "control/fetch/merge.cpp",
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
        "    if (is_older) table_.withdraw(key, hash);\n",
        "    if (is_older && verdict == cache::Publication::superseded) table_.withdraw(key, hash);\n",
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
        "        if (!waiters.empty()) restart(key, hash, std::move(waiters));\n",
        "        if (waiters.empty()) restart(key, hash, std::move(waiters));\n",
        "who waits while a flush comes is never answered, and the credits are lost",
        "control_test:Scenarios.S11*"),
    Mutation(
        "all-successors-at-once", "control/fetch/table.cpp",
        "i < limits::restarts_per_tick && !successors_.empty();",
        "!successors_.empty();",
        "a flush under load holds up control for as long as all that it superseded takes to start again",
        "control_test:Scenarios.S11_Successors*"),
    Mutation(
        "only-the-first-successors-start", "control/fetch/table.cpp",
        "        successors_.pop_front();\n        start_successor(std::move(successor), now);\n",
        "        successors_.pop_front();\n        if (i + 1 == limits::restarts_per_tick) successors_.clear();\n"
        "        start_successor(std::move(successor), now);\n",
        "who waits beyond the bound of one tick is never answered",
        "control_test:Scenarios.S11_Successors*"),
    Mutation(
        "successors-dropped-at-shutdown", "control/fetch/table.cpp",
        "    for (const Successor& successor : std::exchange(successors_, {})) waiters_.abandon(successor.waiters);\n",
        "    successors_.clear();\n",
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
        "    bool is_same = entry && entry->version == slot->published;\n",
        "    bool is_same = !entry || entry->version == slot->published;\n",
        "an order is published although what it was computed for is gone",
        "control_test:Scenarios.S8*"),

    # Flush and reload.
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
        "        table_.raise_floor(group, fetches_.last_generation());\n",
        "        static_cast<void>(group);\n",
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
        "entry->version.generation <= floor_",
        "entry->version.generation < floor_",
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
        "    auto acknowledge = [this, changes](std::size_t) { finish(changes); };\n",
        "    auto acknowledge = [](std::size_t) {};\n    finish(changes);\n",
        "results of the old upstreams appear after the acknowledgement",
        "control_test:Reload*"),

    # Collection and acceptance.
    Mutation(
        "cancelled-by-the-first-answer", "control/fetch/fetch.cpp",
        "        if (a.phase == Phase::asked) collect_from(a, effects);\n",
        "        if (a.phase == Phase::asked) effects.cancel_upstream(*this, a.candidate.upstream);\n",
        "nothing is ever collected",
        "control_test:EarlierRepair.*"),
    Mutation(
        "collection-without-limit", "control/fetch/fetch.cpp",
        "    if (!a.candidate.is_trusted) effects.collect_from(*this, a.candidate.upstream, collect_limit(a));\n",
        "    if (!a.candidate.is_trusted) effects.collect_from(*this, a.candidate.upstream, Time::max());\n",
        "one silent upstream holds up every merge until the deadline",
        "control_test:FetchTest.WhoWasAsked*"),
    Mutation(
        "wrong-id-accepted", "control/message/reply_match.cpp",
        "    if (got.id != asked.id) return ReplyMatch::wrong_id;\n",
        "",
        "a late or forged reply is taken for the answer",
        "control_test:MatchReply.*"),
    Mutation(
        "wrong-case-accepted", "control/message/reply_match.cpp",
        "    if (!std::ranges::equal(got.question, asked.question)) return ReplyMatch::wrong_case;\n",
        "",
        "a forged reply has fewer bits to guess",
        "control_test:MatchReply.*"),
    Mutation(
        "other-question-accepted", "control/message/reply_match.cpp",
        " || got.name != asked.name) return ReplyMatch::other;",
        ") return ReplyMatch::other;",
        "one name's addresses are published under another",
        "control_test:MatchReply.*"),
    Mutation(
        "port-and-id-used-again", "control/upstream/exchange.cpp",
        "    for (unsigned draw = 1; !is_unused(exchange, bound->source_port, id, now); id = random_.id()) {\n",
        "    for (unsigned draw = 1; is_unused(exchange, bound->source_port, id, now), false;) {\n",
        "a late reply to the last query fits the next one",
        "control_test:*S5*"),
    Mutation(
        "port-and-id-forgotten-early", "control/upstream/recent_pairs.cpp",
        "    if (holds(current_, bits) || holds(previous_, bits)) return false;\n",
        "    if (holds(current_, bits)) return false;\n",
        "a late reply fits, now and then",
        "control_test:RecentPairs.*"),
    Mutation(
        "nxdomain-is-silence", "control/upstream/upstreams.cpp",
        "    heard(upstream);\n    bool is_failure",
        "    if (rcode == 0) heard(upstream);\n    bool is_failure",
        "names that do not exist put good upstreams aside",
        "control_test:BreakerTest.*"),
    Mutation(
        "collections-not-displaced", "control/upstream/admission.cpp",
        "    if (free_.empty() && !collections_.empty()) displace(std::get<3>(*collections_.begin()));\n",
        "",
        "under pressure clients wait for places that background work holds",
        "control_test:Pressure.*"),
    Mutation(
        "displaced-fetch-not-told", "control/upstream/exchange.cpp",
        "    displaced_.push_back({exchanges_[place].fetch, exchanges_[place].upstream});\n",
        "",
        "a Fetch waits for an exchange that is gone",
        "control_test:Pressure.*"),
    Mutation(
        "collections-take-every-place", "control/upstream/admission.cpp",
        "free_.size() > questions_.size() / spared_part && ",
        "!free_.empty() && ",
        "background work leaves no place to questions that clients wait for",
        "control_test:Pressure.*"),
    Mutation(
        "truncated-over-tcp-taken", "control/upstream/exchange_replies.cpp",
        "            return deliver_nothing(exchange, \"truncated over TCP\", counters_.malformed, received);\n",
        "            return deliver(exchange, message, true, received);\n",
        "a part of an RRset is published as the whole",
        "control_test:ExchangeTest.Truncated*"),
    Mutation(
        "large-rrset-taken", "control/message/reply.cpp",
        "        if (members.size() > max_rrset_) return fail(ReplyError::rrset_size);\n",
        "",
        "a part of a large RRset is published as the whole",
        "control_test:ReplyLimits.*"),
    Mutation(
        "large-entry-unread", "control/message/entry_read.cpp",
        "constexpr unsigned any_rrset = cache::limits::message_octets;",
        "constexpr unsigned any_rrset = 256;",
        "an alias cannot be answered by an RRset that the cache holds",
        "control_test:ReplyLimits.*"),
    Mutation(
        "dname-alone-ignored", "control/message/reply.cpp",
        "        if (!alias) return synthesise(answer_.chain);\n",
        "        if (!alias) return std::nullopt;\n",
        "a name that exists has no addresses",
        "control_test:Dname.*"),
    Mutation(
        "name-too-long-is-empty", "control/message/entry_build.cpp",
        "kind == Kind::yxdomain ? LDNS_RCODE_YXDOMAIN",
        "kind == Kind::yxdomain ? LDNS_RCODE_NOERROR",
        "a name that cannot be is said to exist",
        "control_test:Dname.*"),
    Mutation(
        "dname-hinders-a-merge", "control/fetch/merge.cpp",
        "        std::ranges::copy_if(answer.chain, std::back_inserter(kept), is_cname);\n",
        "        std::ranges::copy(answer.chain, std::back_inserter(kept));\n",
        "a server that tells the DNAME of a chain is heard alone",
        "control_test:MergeTest.TheDname*"),
    Mutation(
        "forgers-open-breakers", "control/upstream/exchange.cpp",
        "    bool tells = is_silence && !exchange.is_driven;\n",
        "    bool tells = is_silence;\n",
        "forged packets have a server without TCP counted as silent",
        "control_test:ExchangeTest.WhatFails*"),
    Mutation(
        "icmp-ends-an-exchange", "control/upstream/exchange_replies.cpp",
        "    if (exchange.over_tcp) return fail(exchange, ExchangeFailure::unreachable, when);\n    hint",
        "    if (exchange.sent_at <= when) return fail(exchange, ExchangeFailure::unreachable, when);\n    hint",
        "whoever sweeps ports with ICMP errors makes names fail",
        "control_test:ExchangeTest.AnIcmpError*"),
    Mutation(
        "case-left-alone", "control/upstream/exchange.cpp",
        "    if (group_of(exchange).randomises_case(exchange.upstream)) return randomise_case(folded, random_);\n",
        "",
        "a forged reply has fewer bits to guess",
        "control_test:ExchangeTest.MixesTheLetterCase"),
    Mutation(
        "near-miss-waits-on", "control/upstream/exchange_replies.cpp",
        "    if (!exchange.over_tcp) drive_to_tcp(exchange, received);\n",
        "",
        "who has found a port may go on guessing",
        "control_test:*NearMiss*"),
    Mutation(
        "a-header-is-no-reply", "control/message/reply_match.cpp",
        "    if (flags & dns::truncated) return ReplyMatch::truncated;\n",
        "",
        "a server that cuts its replies to the header is never heard",
        "control_test:TcpTest.*"),
    Mutation(
        "silence-remembered-at-once", "control/upstream/habits.cpp",
        "was_said ? 1 : 2;",
        "1;",
        "two lost datagrams take DNSSEC from a server for ten minutes",
        "control_test:HabitsTest.*"),
    Mutation(
        "no-budget-of-datagrams", "control/fetch/table_effects.cpp",
        "    if (slot->datagrams + std::size_t(kept) >= limits::datagrams_per_fetch) return false;\n",
        "",
        "one question about a silent name makes nine",
        "control_test:BudgetTest.*"),
    Mutation(
        "our-bound-is-the-names-failure", "control/fetch/fetch.cpp",
        "    refused_ = true;\n    on_failed",
        "    on_failed",
        "a name whose connection had to give way is cached as failing",
        "control_test:BudgetTest.*"),
    Mutation(
        "one-try-over-tcp-takes-all", "control/upstream/exchange_tcp.cpp",
        "    if (sides_ >= limits_.tcp_tries) {\n",
        "    if (sides_ > limits_.exchanges) {\n",
        "silent names take all TCP connections",
        "control_test:TcpTest.*"),
    Mutation(
        "the-newcomer-has-no-connection", "control/upstream/exchange_tcp.cpp",
        "    if (is_short && displace_tcp(exchange.is_collecting, now)) {\n",
        "    if (is_short && exchanges_.empty()) {\n",
        "who says TC=1 and then nothing keeps everybody from TCP",
        "control_test:TcpTest.*"),
    Mutation(
        "trusted-without-opt", "control/upstream/exchange_replies.cpp",
        "    return has_left && !group_of(exchange).is_trusted(exchange.upstream);\n",
        "    return has_left;\n",
        "one forged FORMERR strips signatures",
        "control_test:HabitsTest.*"),
    Mutation(
        "denial-in-mixed-case-believed", "control/upstream/exchange_tcp.cpp",
        "    if (!may_be_case || !habits_of(exchange).may_check_case(now)) return false;\n",
        "    if (now > Time{}) return false;\n",
        "a server that does not know names in mixed case makes every name vanish",
        "control_test:HabitsTest.*"),
    Mutation(
        "refuted-denial-forgotten", "control/upstream/exchange_tcp.cpp",
        "    if (exchange.denial && !answer->is_bare_denial()) {\n",
        "    if (exchange.denial && is_failure) {\n",
        "every name costs a connection more, and nobody learns why",
        "control_test:HabitsTest.*"),
    Mutation(
        "own-question-waits-for-itself", "control/fetch/table.cpp",
        "    if (is_ours) return waiters_.refuse(waiter, &FetchCounters::loops);",
        "    if (is_ours && closed_) return waiters_.refuse(waiter, &FetchCounters::loops);",
        "a forwarder that points at us makes every question of its take three seconds",
        "control_test:LoopTest.*"),
    Mutation(
        "loop-of-one-flavour", "control/upstream/admission.cpp",
        "        for (std::uint8_t flavour : cache::flavours) {\n            key.flavour = flavour;\n",
        "        {\n",
        "our question comes back with DO=1 and is asked again, and again",
        "control_test:LoopTest.*"),

    # Breakers, and whose word counts.
    Mutation(
        "breaker-refuses-nobody", "control/upstream/exchange.cpp",
        "    if (!groups_[key.group].may_be_asked(upstream)) {\n",
        "    if (limits_.exchanges == 0) {\n",
        "Fetches that ranked a server before it failed go on asking it",
        "control_test:ExchangeTest.AnOpenBreaker*"),
    Mutation(
        "open-servers-ranked", "control/upstream/upstreams.cpp",
        "        if (may_be_asked(i)) order.push_back(i);\n",
        "        order.push_back(i);\n",
        "clients wait for servers that are known to be dead",
        "control_test:Breaker*"),
    Mutation(
        "clients-questions-open-breakers", "control/upstream/upstreams.cpp",
        "    if (++servers_[upstream].silences >= policy_.silences) suspect(upstream, now);\n",
        "    if (++servers_[upstream].silences >= policy_.silences) servers_[upstream].breaker = Breaker::open;\n",
        "silent names turn every server off",
        "control_test:Breaker*"),
    Mutation(
        "servfail-is-silence", "control/upstream/upstreams.cpp",
        "    server.silences = 0;\n    if (server.breaker == Breaker::closed) return;\n",
        "    if (server.breaker == Breaker::closed) return;\n",
        "a server that answers all but a few names is taken for dead",
        "control_test:Breaker*"),
    Mutation(
        "probes-without-a-rate", "control/upstream/upstreams.cpp",
        "    Time earliest = server.probed ? *server.probed + policy_.probe_interval : now;\n",
        "    Time earliest = now;\n",
        "whoever sends ICMP errors or asks for silent names makes a flood of probes",
        "control_test:BreakerTest.*"),
    Mutation(
        "back-off-not-doubled", "control/upstream/upstreams.cpp",
        "std::min(2 * server.back_off, policy_.longest_back_off)",
        "server.back_off",
        "a dead server is probed at the first rate for ever",
        "control_test:BreakerTest.*"),
    Mutation(
        "outage-outlives-itself", "control/upstream/upstreams.cpp",
        "    ++recoveries_;\n",
        "",
        "names that were asked all through an outage stay SERVFAIL for minutes",
        "control_test:OutageTest.*"),
    Mutation(
        "stale-only-after-patience", "control/fetch/table.cpp",
        "upstreams_.is_any_closed() ? nullptr : table_.find_usable(key, hash, now)",
        "nullptr",
        "every client waits two seconds for servers that are known to be silent",
        "control_test:OutageTest.*"),
    Mutation(
        "anyones-ad-is-weighed", "control/upstream/exchange_replies.cpp",
        "    answer.authentic = answer.authentic && answer.is_trusted;\n",
        "",
        "one header bit of a lying server keeps all others out of the answer",
        "control_test:MergeTest.*"),
    Mutation(
        "bogus-is-outvoted", "control/fetch/fetch.cpp",
        "attempt->candidate.is_validator && answer.is_bogus()",
        "state_ == State::asking && attempt->candidate.is_validator && answer.is_bogus() && answers_.size() > 7",
        "a server that does not validate hands out what the validator refused",
        "control_test:BogusTest.*"),
    Mutation(
        "bogus-only-in-time", "control/fetch/fetch.cpp",
        "attempt->candidate.is_validator && answer.is_bogus()",
        "state_ == State::asking && attempt->candidate.is_validator && answer.is_bogus()",
        "a forged answer that comes first lives for its whole TTL",
        "control_test:BogusTest.*"),
    Mutation(
        "validators-not-heard-out", "control/fetch/fetch.cpp",
        "!merges && (answer.is_trusted || !hear_validators(effects));\n",
        "!merges;\n",
        "what is not merged is decided by the quickest server, validated or not",
        "control_test:BogusTest.*"),
    Mutation(
        "anyones-bogus-is-final", "control/upstream/upstreams.cpp",
        "    return is_trusted(upstream) || std::ranges::none_of(servers_, is_marked);\n",
        "    return is_trusted(upstream) || std::ranges::none_of(servers_, is_marked) || upstream < 64;\n",
        "a server that nobody trusts makes any name fail",
        "control_test:BogusTest.*"),
    Mutation(
        "too-few-win", "control/fetch/merge.cpp",
        "    if (!can_be_shown) return briefly(winner, policy, false);\n",
        "    if (!can_be_shown) return {};\n",
        "an address that nobody else has seen is served for its whole TTL",
        "control_test:QuorumTest.*"),
    Mutation(
        "signed-winner-needs-nobody", "control/fetch/merge.cpp",
        "        return enough ? Merged{} : briefly(winner, policy, false);\n",
        "        return enough || !votes.empty() ? Merged{} : briefly(winner, policy, false);\n",
        "a signature that nobody checked undoes the quorum",
        "control_test:QuorumTest.*"),
    Mutation(
        "endless-chase", "control/fetch/aliases.cpp",
        " || depth_of(key, hash) >= limits::chain) {\n",
        ") {\n",
        "a chain spelled out name by name is followed for ever",
        "control_test:ChaseTest.*"),
    Mutation(
        "anyones-word-is-authentic", "control/message/entry_build.cpp",
        "    draft.authentic = answer.authentic && answer.is_trusted;\n",
        "    draft.authentic = answer.authentic;\n",
        "a server that nobody trusts vouches for DNSSEC",
        "control_test:*Authentic*"),
    Mutation(
        "cached-error-not-said", "control/fetch/publish.cpp",
        "said.value_or(ExtendedError(dns::ede::cached_error))",
        "said.value_or(ExtendedError(info))",
        "clients believe that the servers were asked for them",
        "control_test:FetchTest.WhoWaited*"),

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
        "    if (!waiter.is_tcp()) slot.held.sent_to(waiter.source);\n",
        "",
        "a Wake for a later question names a freed private Entry",
        "control_test:TinyTable.AStalled*"),

    # The table under pressure.
    Mutation(
        "rebuild-drops-a-live-slot", "cache/upkeep.cpp",
        "        if (!entry && !slot.is_live) continue;\n",
        "        if (!entry) continue;\n",
        "a query under way forgets that it superseded another",
        "cache_test:UpkeepTest.*Rebuild*"),
    Mutation(
        "rebuild-forgets-the-newest-started", "cache/upkeep.cpp",
        "            moved.started = slot.started;\n",
        "",
        "a superseded query publishes after a rebuild",
        "cache_test:UpkeepTest.*Rebuild*"),
    Mutation(
        "old-shard-freed-at-once", "cache/upkeep.cpp",
        "    grace_.retire(std::unique_ptr<Retired>(old));\n",
        "    delete old;\n",
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

    # Waiters, credits, Wakes.
    Mutation(
        "whoever-holds-most-keeps-it", "control/fetch/table_effects.cpp",
        "    if (is_crowded) make_way(slot.prefix, slot.zone, &slot);\n",
        "",
        "one client's silent names take the upstream's places from all others",
        "control_test:SharesTest.*"),
    Mutation(
        "waits-without-a-share", "control/fetch/table.cpp",
        "    bool is_crowded = waiters_.count_of(waiter.source) > limits::crowded;\n",
        "    bool is_crowded = waiters_.count_of(waiter.source) > 4 * limits::crowded;\n",
        "silent names take every credit of a worker, and everybody's misses fail",
        "control_test:SharesTest.*"),
    Mutation(
        "one-question-takes-all-waits", "control/fetch/table.cpp",
        "    bool is_one_question = most.fetch && most.waiters.size() > limits::fair_waits;\n",
        "    bool is_one_question = most.fetch && most.waiters.size() > limits::waiters_per_fetch;\n",
        "thousands who ask one silent name have everybody else's questions ended",
        "control_test:SharesTest.*"),
    Mutation(
        "the-youngest-gives-way", "control/fetch/shares.cpp",
        "    return Largest{oldest_[most], counts_[most]};\n",
        "    return Largest{youngest_[most], counts_[most]};\n",
        "a flood pushes out what would be answered, and keeps what is silent",
        "control_test:Shares*"),
    Mutation(
        "abandoned-credit-lost", "dataplane/worker.cpp",
        "    free_waiters_.push_back(wake.waiter); // within its capacity: the credit comes back\n"
        "    if (wake.kind == Wake::Kind::abandon) return c_.counters.add(Event::wake_abandoned);\n",
        "    if (wake.kind == Wake::Kind::abandon) return c_.counters.add(Event::wake_abandoned);\n"
        "    free_waiters_.push_back(wake.waiter); // within its capacity: the credit comes back\n",
        "every dropped question costs the worker a waiter, until it answers no miss",
        "dataplane_test:WorkerTest.OutOfCredits*"),
    Mutation(
        "refused-credit-lost", "dataplane/worker.cpp",
        "    if (!c_.handoff.send(miss)) return false;\n    free_waiters_.pop_back();\n",
        "    free_waiters_.pop_back();\n    if (!c_.handoff.send(miss)) return false;\n",
        "every miss that finds the ring full costs the worker a waiter",
        "control_test:OneWorker.S22_AMissThat*"),
    Mutation(
        "wakes-never-finished", "dataplane/worker.cpp",
        "    c_.reader.finish(count);\n",
        "",
        "nothing is ever freed, no flush acknowledged",
        "dataplane_test:WorkerTest.AMiss*"),
    Mutation(
        "replaced-waiter-forgotten", "control/fetch/waiters.cpp",
        "    wake(replaced, nullptr, Kind::abandon);\n",
        "    ++counters_.abandoned;\n    --count_;\n    --by_source_[replaced.source];\n    --by_prefix_[replaced.prefix];\n",
        "every retransmission costs the worker a credit",
        "control_test:FetchTest.ARetransmission*"),
    Mutation(
        "retransmission-not-replaced", "control/fetch/waiters.cpp",
        "    if (replace_retransmission(list, waiter)) return;\n",
        "",
        "one client that repeats itself fills the waiters, and is answered many times",
        "control_test:FetchTest.ARetransmission*"),
    Mutation(
        "retransmission-renews-its-arrival", "control/fetch/waiters.cpp",
        "    again.arrived = std::min(replaced.arrived, waiter.arrived);\n",
        "",
        "a client that repeats itself is neither given stale data nor dropped",
        "control_test:FetchTest.PatienceIsCounted*"),
    Mutation(
        "places-of-gone-waiters-kept", "control/fetch/waiters.cpp",
        "        if (!last.is_tcp()) places_.emplace(Asker{last.client, last.id}, place);\n",
        "",
        "a retransmission takes the place of another client's question",
        "control_test:FetchTest.ARetransmissionAfter*"),
    Mutation(
        "sleeps-on-a-wake", "dataplane/handoff.cpp",
        "    if (is_empty(wakes_.get())) {\n",
        "    if (is_empty(wakes_.get()) || timeout_ms > 0) {\n",
        "a Wake that comes as the worker lies down waits until its nap is over",
        "dataplane_test:HandoffThreads.*"),

    Mutation(
        "every-descriptor-for-exchanges", "control/upstream/exchange.cpp",
        "limit.rlim_cur - reserve : limit.rlim_cur / 2;",
        "limit.rlim_cur : limit.rlim_cur;",
        "questions to upstreams leave no descriptor to clients over TCP, and the daemon turns them away",
        "control_test:ExchangeCapacity.*"),
    Mutation(
        "unread-replies-without-bound", "control/daemon/tcp_connection.cpp",
        " || owes_much();\n",
        ";\n",
        "a client that never reads takes the memory of everybody's answers",
        "control_test:TcpServerTest.AClientThat*"),
    Mutation(
        "pipeline-without-bound", "control/daemon/tcp_connection.cpp",
        "in_work_ + replies_.size() >= server_.policy_.pipeline || ",
        "",
        "one connection takes every Fetch there is",
        "control_test:TcpServerTest.AClientHas*"),
    Mutation(
        "foreign-clients-keep-connections", "control/daemon/tcp_server.cpp",
        "    if (!gone && !access_.allows(client.address)) {\n",
        "    if (false) {\n",
        "clients that may not ask hold the connections of those who may",
        "control_test:TcpServerTest.AForeign*"),
    Mutation(
        "first-come-keeps-all-connections", "control/daemon/tcp_server.cpp",
        "    auto id = places_.gives_way_to(prefix);\n",
        "    std::optional<TcpPlaces::Id> id;\n",
        "a few addresses take every connection, and nobody else is served over TCP",
        "control_test:TcpServerTest.WhenAll*"),
    Mutation(
        "any-prefix-gives-way", "control/daemon/tcp_places.hpp",
        "return held != other.held ? held > other.held : first < other.first;",
        "return first < other.first;",
        "who holds many connections and uses them pushes out those who hold one",
        "control_test:TcpPlacesTest.*:TcpServerTest.WhenAll*"),
    Mutation(
        "dribbled-question-keeps-connection", "control/daemon/tcp_connection.cpp",
        "if (!is_within_question()) begin_question(); // both octets at once\n",
        "begin_question();\n",
        "a client that sends an octet now and then holds a connection for longer",
        "control_test:TcpServerTest.AQuestionThatNeverEnds*"),
    Mutation(
        "question-in-work-is-idle", "control/daemon/tcp_connection.cpp",
        "    bool idle = in_work_ == 0 && !is_within_question();\n",
        "    bool idle = !is_within_question();\n",
        "a client that waits for a slow answer loses its connection, and the answer",
        "control_test:TcpServerTest.AConnectionWith*"),

    # Who else may take what is ours.
    Mutation(
        "lock-in-a-folder-of-anybody", "dataplane/lock_file.cpp",
        "    if (!is_trusted(status)) return",
        "    if (false) return",
        "any user holds the lock of an interface, and millraced does not start",
        "dataplane_test:LockFileTest.*"),
    Mutation(
        "zone-forgotten", "dataplane/address.cpp",
        "    in6->sin6_scope_id = endpoint.zone;\n",
        "",
        "no link-local upstream is ever reached",
        "dataplane_test:Endpoint.*"),

    # Stale data and refreshes.
    Mutation(
        "failure-over-stale-data", "control/fetch/table_effects.cpp",
        "    if (stale && !is_bogus) {\n",
        "    if (stale && !is_bogus && now < stale->expiry) {\n",
        "an upstream's outage takes answers away that clients could have",
        "control_test:FetchTest.Stale*"),
    Mutation(
        "failure-without-back-off", "control/fetch/table_effects.cpp",
        "        stale->refresh_after.store((now + limits::stale_recheck).count(), std::memory_order_relaxed);\n",
        "",
        "every client asks dead upstreams again, and waits for it",
        "control_test:FetchTest.Stale*"),
    Mutation(
        "refresh-of-another-version", "control/fetch/table.cpp",
        "bool is_same = entry && entry->version == version;",
        "bool is_same = entry && version.generation > 0;",
        "a request that is late asks again for what was just fetched",
        "control_test:OneWorker.S23_ARequest*"),
    Mutation(
        "refresh-beside-a-live-fetch", "control/fetch/table.cpp",
        "!is_same || find(key, hash) || !has_room",
        "!is_same || !has_room",
        "two Fetches of one key",
        "control_test:FetchTest.ARefreshBeside*"),
    Mutation(
        "every-hit-asks-for-a-refresh", "dataplane/worker.cpp",
        "entry->claim_refresh(now, limits::refresh_retry)",
        "entry->claim_refresh(now, Time{})",
        "a popular name fills the miss ring",
        "control_test:OneWorker.S23_ARefreshThatFails*"),
    Mutation(
        "a-refresh-is-asked-for-once", "dataplane/worker.cpp",
        "entry->claim_refresh(now, limits::refresh_retry)",
        "entry->claim_refresh(now, 24h)",
        "a lost request is never repeated",
        "control_test:OneWorker.S23_ARefused*"),
    Mutation(
        "refresh-hint-past-the-expiry", "cache/entry.hpp",
        "std::min(now + retry, expiry).count()",
        "(now + retry).count()",
        "an expired answer is served stale although nobody has failed to renew it",
        "dataplane_test:WorkerTest.WhoAsks*"),
    Mutation(
        "rcode-left-in-a-place", "dataplane/query.cpp",
        "    out.rcode = Rcode::noerror; // of the query that was in this place before\n",
        "",
        "a client is told the rcode of somebody else's query",
        "dataplane_test:Query.NothingIsLeft*"),

    # Rules: what is answered here, blocked, limited.
    Mutation(
        "chains-not-checked", "control/fetch/table_effects.cpp",
        "    ChainVerdict chain = aliases_.check_chain(slot->fetch->key(), answer);\n",
        "    ChainVerdict chain;\n",
        "a blocked name is reached by way of an alias",
        "control_test:AliasTest.*"),
    Mutation(
        "passing-names-have-their-chains-checked", "control/local/alias.cpp",
        "    if (answer.chain.empty() || passes(local, key.name.bytes())) return {};\n",
        "    if (answer.chain.empty()) return {};\n",
        "a name that the operator lets pass is denied for a name that it leads to",
        "control_test:PassingTest.*"),
    Mutation(
        "a-later-name-of-a-chain-decides", "control/local/alias.cpp",
        "        if (local.action(*match) == LocalNames::Action::forward) return {};\n",
        "        if (local.action(*match) == LocalNames::Action::forward) continue;\n",
        "a rule for a name further on overrules the earliest",
        "control_test:PassingTest.*"),
    Mutation(
        "wildcards-go-past-names", "control/local/policy_zone.cpp",
        "        names_.end_wildcards(source_);\n",
        "",
        "a zone's wildcard denies names that its author kept out of it (RFC 4592)",
        "control_test:LocalBuildTest.NamesOfAZone*"),
    Mutation(
        "comments-begin-anywhere", "control/local/list_line.cpp",
        "        if (at == 0 || space.find(line[at - 1]) != space.npos) return line.substr(0, at);\n",
        "        return line.substr(0, at);\n",
        "a rule that hides a banner denies the whole site",
        "control_test:LocalBuildTest.ALineThatIsNoName*"),
    Mutation(
        "lists-are-compared-by-their-size", "control/daemon/reload.cpp",
        "l.digest == list.digest",
        "l.names == list.names",
        "a reload says that a list is as it was, when a name was exchanged",
        "control_test:ReloadTest.Lists*"),
    Mutation(
        "rewritten-answers-outlive-their-rule", "control/fetch/flush.cpp",
        "entry.rewritten || is_ruled(",
        "is_ruled(",
        "a name that was taken off a list stays blocked",
        "control_test:AliasTest.NewRules*"),
    Mutation(
        "the-later-list-counts", "dataplane/local_names.cpp",
        "rules_[rule].source <= rules_[best->rule].source",
        "rules_[rule].source >= rules_[best->rule].source",
        "what the operator forwards is blocked",
        "dataplane_test:LocalNamesTest.*"),
    Mutation(
        "circle-of-aliases", "control/fetch/aliases.cpp",
        " || leads_to(target, key)",
        "",
        "clients of two names that lead to each other wait for ever",
        "control_test:TwoAliases.*"),
    Mutation(
        "followers-left-behind", "control/fetch/aliases.cpp",
        "        return on_target_ended(key, hash, publisher_.servfail(), Kind::answer, now);\n",
        "        return;\n",
        "clients of an alias wait for ever when its target fails",
        "control_test:TwoAliases.*"),
    Mutation(
        "twice-the-rate", "dataplane/rate_table.hpp",
        "owed + cost > second",
        "owed + cost > 2 * second",
        "limits let more pass than they say",
        "dataplane_test:RateTable.*"),
    Mutation(
        "a-strangers-place", "dataplane/rate_table.hpp",
        "is_own ? ahead : 0",
        "ahead",
        "when tables are full, clients within their limits are dropped for what others do",
        "dataplane_test:RateTable.NobodyPays*"),
    Mutation(
        "the-busiest-forgotten", "dataplane/rate_table.hpp",
        "to_go >= ahead",
        "to_go <= ahead && place",
        "among many clients no flood is over its rate, as it is always the one forgotten",
        "dataplane_test:RateTable.AFloodAmongMany*"),
    Mutation(
        "tables-of-no-size", "dataplane/rate_table.hpp",
        "rate == 0 ? 0 : 2 * events / rate",
        "0 * events + rate",
        "rates are forgotten before they are reached",
        "dataplane_test:*Rate*"),
    Mutation(
        "no-slip-of-queries", "dataplane/gate.cpp",
        "query.action != Query::Action::reply && slips(prefix)",
        "false",
        "who sends in a victim's name silences it",
        "dataplane_test:GateTest.Queries*"),
    Mutation(
        "option-past-its-end", "dataplane/query.cpp",
        "!are_whole(records.options)",
        "false && !are_whole(records.options)",
        "a query that is malformed is answered as if it were not",
        "dataplane_test:Query.*"),
    Mutation(
        "a-tsig-ignored", "dataplane/query.cpp",
        "found.is_wrong || !is_opt || head.edns",
        "found.is_wrong || head.edns",
        "a signed query gets an unsigned answer",
        "dataplane_test:Query.*"),
    Mutation(
        "no-opt-where-it-had-one", "dataplane/query.cpp",
        "        in.skip_name();\n        in.skip(dns::type_class_octets);\n",
        "        in.fail();\n",
        "clients take us for a server without EDNS, and ask again without it",
        "dataplane_test:*Opt*"),
]
