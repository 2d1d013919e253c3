"""Mutations: who waits and for how long, stale data."""

from mutation import Mutation

MUTATIONS = [
    # Waiters, credits, Wakes.
    Mutation(
        "whoever-holds-most-keeps-it", "control/fetch/table_effects.cpp",
        "    if (has_to) make_way(largest_holder(slot.prefix, slot.zone, true), &slot, upstream);\n",
        "",
        "one client's silent names take the upstream's places from all others",
        "control_test:SharesTest.*"),
    Mutation(
        "overload-answers-nothing", "control/fetch/table.cpp",
        "!gives(slots_[*at]) || !is_overdue(slots_[*at])",
        "!gives(slots_[*at])",
        "a slow upstream is asked all questions of an overload, and answers none in time",
        "control_test:Overload.*"),
    Mutation(
        "overdue-keeps-its-place", "control/fetch/table.cpp",
        "!gives(slots_[*at]) || !is_overdue(slots_[*at])",
        "true",
        "a client's silent names keep its other names out until their deadline",
        "control_test:Overload.*"),
    Mutation(
        "who-has-little-waits-behind-much", "control/fetch/table.cpp",
        "most.count >= 2 * own ?",
        "most.count > 1000 * own ?",
        "one client's questions to a slow upstream keep out all others",
        "control_test:Overload.*:SharesTest.*"),
    Mutation(
        "whoever-holds-less-displaces", "control/fetch/table.cpp",
        "most.count >= 2 * own ?",
        "true ?",
        "under overload each question ends another, and the upstream is asked all of them",
        "control_test:Overload.*"),
    Mutation(
        "ends-for-what-may-not-be-asked", "control/fetch/table_effects.cpp",
        "bool has_to = is_crowded && is_last && is_in_rate;",
        "bool has_to = is_crowded && is_last;",
        "over an upstream's rate one question ends for another that is refused",
        "control_test:Overload.*"),
    Mutation(
        "caps-do-not-say-so", "control/fetch/table_effects.cpp",
        "slots_[id.slot].is_capped ?",
        "false ?",
        "nothing tells a client that it was a limit of ours",
        "control_test:Overload.*"),
    Mutation(
        "waits-without-a-share", "control/fetch/table.cpp",
        "    bool is_crowded = waiters_.count_of(waiter.source) > limits::crowded;\n",
        "    bool is_crowded = waiters_.count_of(waiter.source) > 4 * limits::crowded;\n",
        "silent names take every credit of a worker, and everybody's misses fail",
        "control_test:SharesTest.*"),
    Mutation(
        "followers-of-what-cannot-start", "control/fetch/table.cpp",
        "    aliases_.on_target_ended(key, hash, publisher_.servfail(), WakeKind::answer, now); // there was no room\n",
        "",
        "who follows a name that found no place waits until its patience is over, over TCP for ever",
        "control_test:FullTest.*"),
    Mutation(
        "one-question-takes-all-waits", "control/fetch/table.cpp",
        "    bool is_one_question = most.fetch && most.waiting() > limits::fair_waits;\n",
        "    bool is_one_question = most.fetch && most.waiting() > limits::waiters_per_fetch;\n",
        "thousands who ask one silent name have everybody else's questions ended",
        "control_test:SharesTest.*"),
    Mutation(
        "the-youngest-gives-way", "control/fetch/shares.cpp",
        "    return Largest{oldest_[most], youngest_[most], counts_[most]};\n",
        "    return Largest{youngest_[most], oldest_[most], counts_[most]};\n",
        "a flood keeps what is silent, and others end what is about to be answered",
        "control_test:Shares*"),
    Mutation(
        "full-question-fails-despite-stale-data", "control/fetch/table.cpp",
        "    if (!waiters_.join(side.waiters, waiter)) refuse(side.key, side.hash, waiter);\n",
        "    if (!waiters_.join(side.waiters, waiter)) waiters_.refuse(waiter);\n",
        "a name that many ask for fails though an answer is there",
        "control_test:StaleFirst.ThoseWho*"),
    Mutation(
        "bounds-fail-despite-stale-data", "control/fetch/table.cpp",
        "    const cache::Entry* stale = find_stale(key, hash);\n    ++counters_.refused;\n",
        "    const cache::Entry* stale = nullptr;\n    ++counters_.refused;\n",
        "under pressure clients get failures though answers are there",
        "control_test:StaleFirst.*:FullSlots.*:FetchLimits.*"),
    Mutation(
        "full-reserve-fails-despite-stale-data", "control/fetch/table_effects.cpp",
        "    is_told ? wake_all(id, side, published.entry, WakeKind::answer, &published.hold) : refuse_all(id, side);\n",
        "    wake_all(id, side, published.entry, WakeKind::answer, &published.hold);\n",
        "short of memory, clients get failures though answers are there",
        "control_test:StaleFirst.AnAnswer*"),
    Mutation(
        "our-bound-fails-followers", "control/fetch/table_effects.cpp",
        "        if (cause == Cause::unasked) return refuse_all(id, side);\n        if (tell",
        "        if (cause == Cause::unasked) return wake_all(id, side, stale, WakeKind::stale);\n        if (tell",
        "a bound of ours is cached as the failure of every name that leads there",
        "control_test:FollowersTest.*"),
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
        "    if (replace_retransmission(list, waiter)) return true;\n",
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
        "        if (has_index_) note(place);\n",
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
        "rules-change-within-a-burst", "dataplane/gate.cpp",
        "    reply = 0;\n    Query::parse(message.octets, message.transport, query);\n",
        "    reply = 0;\n    take_rules();\n    Query::parse(message.octets, message.transport, query);\n",
        "during a reload a burst goes by the old rules and the new ones",
        "dataplane_test:RulesTest.*"),
    Mutation(
        "foreign-clients-keep-connections", "control/daemon/tcp_server.cpp",
        "    if (!gone && !gate_.access().allows(client.address)) {\n",
        "    if (false) {\n",
        "clients that may not ask hold the connections of those who may",
        "control_test:TcpServerTest.AForeign*"),
    Mutation(
        "first-come-keeps-all-connections", "control/daemon/tcp_server.cpp",
        "    auto id = places_.gives_way_to(client, prefix);\n",
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
        "one-host-shuts-out-its-neighbours", "control/daemon/tcp_places.cpp",
        "    return first_of(held.standings, host == held.hosts.end() ? 0 : host->second.size());\n",
        "    return host == held.hosts.end() ? std::nullopt : std::nullopt;\n",
        "who shares a prefix with a few hosts that hold every connection is not served over TCP",
        "control_test:TcpPlacesTest.*:TcpServerTest.WhenAll*"),
    Mutation(
        "all-at-once-owed-whole", "control/daemon/tcp_server.cpp",
        "    if (!abandoned && connection->owes_much()) {\n",
        "    if (false) {\n",
        "a client that asks much and reads nothing makes us hold megabytes for it",
        "control_test:TcpServerTest.SoIsOne*"),
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
        "lock-folder-by-the-umask", "dataplane/lock_file.cpp",
        "    if (is_new) fchmod(folder.get(), 0755);",
        "    if (false) fchmod(folder.get(), 0755);",
        "under a strict umask nobody but root reaches the command socket",
        "dataplane_test:LockFileTest.*"),
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
        "        stale->hold_refresh(now + limits::stale_recheck);\n",
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
        "!is_same || is_asked || is_rerouted",
        "!is_same || is_rerouted",
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
        "every-name-is-popular", "cache/entry.hpp",
        "        if (is_fresh && quiet_hits.load(std::memory_order_relaxed) > 0) [[unlikely]] {\n",
        "        if (false) {\n",
        "names are refreshed that hardly anybody asks for",
        "dataplane_test:WorkerTest.OnlyAPopular*"),
    Mutation(
        "hits-are-counted-for-ever", "cache/entry.hpp",
        "        if (left > 0) quiet_hits.compare_exchange_strong(left, left - 1, std::memory_order_relaxed);\n",
        "        quiet_hits.compare_exchange_strong(left, left, std::memory_order_relaxed);\n",
        "a name is never popular, and each of its hits writes a line that lcores share",
        "dataplane_test:WorkerTest.OnlyAPopular*"),
    Mutation(
        "prefetch-cannot-be-switched-off", "control/message/entry_build.cpp",
        "    if (policy.prefetch == 0) return;\n",
        "",
        "upstreams are asked ahead of time although the operator does not want that",
        "control_test:BuildEntry.SaysWhichHits*"),
    Mutation(
        "stale-at-once-asks-nobody", "cache/entry.hpp",
        "        Time end = is_fresh ? expiry : stale_until;\n",
        "        if (!is_fresh) return false;\n        Time end = expiry;\n",
        "expired data is served until it is too old, though the upstreams would answer",
        "control_test:TimeTest.AtOnceWhoAsks*"),
    Mutation(
        "stale-at-once-without-end", "cache/entry.hpp",
        "        return now < stale_until &&\n",
        "        return (stale_at_once || now < stale_until) &&\n",
        "data is served that is older than the operator allows",
        "control_test:TimeTest.AtOnceNeverBeyond*"),
    Mutation(
        "stale-chain-hides-its-target-after-failures", "control/fetch/table_effects.cpp",
        "        if (tell_renewed(id, side, *stale, now)) return; // its end is the end of the back-off\n",
        "",
        "clients are sent to old addresses although the new ones are in the cache",
        "control_test:StaleChain.AfterAFailure*"),
    Mutation(
        "stale-chain-renews-itself", "control/message/entry_build.cpp",
        "    if (answer.stale_until) {\n",
        "    if (false) {\n",
        "a chain is served for longer than the operator allows, each time from its last copy",
        "control_test:BuildEntry.WhatIsMadeOfStale*"),
    Mutation(
        "chase-is-doubled-at-once", "control/fetch/table.cpp",
        "    bool is_asked = slot || aliases_.is_follower(key, hash);\n    if (is_asked) {\n",
        "    bool is_asked = slot;\n    if (is_asked) {\n",
        "every client of a chain that is being followed has it asked again",
        "control_test:StaleChain.AChainThatIsBeingFollowed*"),
    Mutation(
        "warm-names-take-the-last-room", "control/fetch/table.cpp",
        "    return !closed_ && !is_held() && free_.size() > slots_.size() / 4;\n",
        "    return !closed_ && !is_held() && !free_.empty();\n",
        "names that nobody asks for take the room of clients",
        "control_test:KeepWarmTest.ClientsGoFirst"),
    Mutation(
        "warm-names-all-at-once", "control/fetch/keep_warm.cpp",
        "    if (now < turn_) return now;\n",
        "",
        "at start the upstreams are flooded",
        "control_test:KeepWarmTest.AllAreAsked*"),
    Mutation(
        "a-dead-group-stops-all-warm-names", "control/fetch/keep_warm.cpp",
        "    if (!fetches_.warm(key, hash, now)) return now + first_retry;",
        "    if (!fetches_.warm(key, hash, now)) return turn_ = now + crowded_pause, now;",
        "one group that is down keeps the names of all others cold",
        "control_test:KeepWarmTest.AGroupThatIsDown*"),
    Mutation(
        "a-long-list-before-what-expires", "control/fetch/keep_warm.cpp",
        "next_ < questions() && !(is_due && due_.front().at < began_ + interval_ * next_);",
        "next_ < questions();",
        "until all of a long list have been asked, the first expire",
        "control_test:KeepWarmTest.WhatExpires*"),
    Mutation(
        "blocked-names-are-warmed", "control/fetch/keep_warm.cpp",
        "    bool is_asked = !fetches_.is_answered_here(key);\n",
        "    bool is_asked = true;\n",
        "upstreams are asked for names that the operator has blocked",
        "control_test:KeepWarmTest.WhatIsAnsweredHere*"),
    Mutation(
        "warm-names-forget-failures", "control/fetch/keep_warm.cpp",
        "is_fresh ? entry->expiry - life / refresh_part : back_off;",
        "is_fresh ? entry->expiry - life / refresh_part : now;",
        "what has failed is asked again before its back-off ends",
        "control_test:KeepWarmTest.ACachedFailure*"),
    Mutation(
        "refresh-hint-past-the-expiry", "cache/entry.hpp",
        "std::min(now + retry, end).count()",
        "(now + retry).count()",
        "an expired answer is served stale although nobody has failed to renew it",
        "dataplane_test:WorkerTest.WhoAsks*"),
    Mutation(
        "rcode-left-in-a-place", "dataplane/query.cpp",
        "    out.rcode = Rcode::noerror; // of the query that was in this place before\n",
        "",
        "a client is told the rcode of somebody else's query",
        "dataplane_test:Query.NothingIsLeft*"),
]
