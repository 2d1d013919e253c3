"""Mutations: who waits and for how long, limits, stale data, rules."""

from mutation import Mutation

MUTATIONS = [
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
        "    return Largest{oldest_[most], counts_[most]};\n",
        "    return Largest{youngest_[most], counts_[most]};\n",
        "a flood pushes out what would be answered, and keeps what is silent",
        "control_test:Shares*"),
    Mutation(
        "full-question-fails-despite-stale-data", "control/fetch/table.cpp",
        "    if (!waiters_.join(side.waiters, waiter)) refuse(side.key, side.hash, waiter);\n",
        "    if (!waiters_.join(side.waiters, waiter)) waiters_.refuse(waiter);\n",
        "a name that many ask for fails though an answer is there",
        "control_test:StaleFirst.ThoseWho*"),
    Mutation(
        "bounds-fail-despite-stale-data", "control/fetch/table.cpp",
        "    waiters_.give_stale_or_refuse(waiter, find_stale(key, hash), why);\n",
        "    waiters_.refuse(waiter, why);\n",
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
        "        if (cause == Cause::unasked) return refuse_all(id, side);\n        stale->hold",
        "        if (cause == Cause::unasked) return wake_all(id, side, stale, WakeKind::stale);\n        stale->hold",
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
        "!is_same || is_asked || !has_room",
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
        "one-bad-record-refuses-the-list", "control/local/policy_zone.cpp",
        "            if (in.has_directive()) return error(",
        "            return error(",
        "one slip of a list's author, and millraced does not start",
        "control_test:LocalBuildTest.ARecordThatIsNone*"),
    Mutation(
        "records-go-to-the-owner-before", "control/local/policy_zone.cpp",
        "        if (first > 0 && !is_owned_) return LDNS_STATUS_SYNTAX_DNAME_ERR;\n",
        "",
        "records of a name that was not understood become another's",
        "control_test:LocalBuildTest.TheOwnerOf*"),
    Mutation(
        "list-offsets-wrap", "dataplane/local_names.cpp",
        "octets > room_.octets - made_->names_.size() ||",
        "octets > room_.octets + made_->names_.size() ||",
        "past 4 GiB of names, rules are found under other names",
        "dataplane_test:LocalNamesTest.MoreThan*"),
    Mutation(
        "all-of-ipv6-admits-ipv4", "dataplane/access.cpp",
        "bool around_v4 = !p.address.is_v4() && ",
        "bool around_v4 = false && ",
        "whoever admits ::/0 serves all of IPv4 as well",
        "dataplane_test:Access.APrefixIsOfOneFamily"),
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
        "followers-of-a-flushed-chase-left-behind", "control/fetch/table.cpp",
        "    if (waiters.empty()) return aliases_.on_target_superseded(key, hash); // who",
        "    if (waiters.empty()) return; // who",
        "clients of a name that leads through one that was flushed wait for ever",
        "control_test:ChaseTest.AFlushOf*"),
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
