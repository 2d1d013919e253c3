"""Mutations: the query log, and who asks most."""

from mutation import Mutation

MUTATIONS = [
    Mutation(
        "a-full-log-is-not-counted", "dataplane/query_log.cpp",
        "    dropped_.store(dropped_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);\n",
        "",
        "messages are missing from the log, and nobody knows",
        "dataplane_test:QueryLog.AFull*"),
    Mutation(
        "queries-and-responses-drawn-apart", "dataplane/query_log.cpp",
        "cache::load_u16(message.data())",
        "message.size()",
        "a sample has queries without their responses",
        "dataplane_test:QueryLog.ASample*"),
    Mutation(
        "replies-to-earlier-queries-take-others-bits", "dataplane/logged_port.cpp",
        "    is_composed_ = true;\n",
        "",
        "a sample has queries without their responses, where these came late",
        "dataplane_test:LoggedPort.ASample*"),
    Mutation(
        "an-empty-burst-is-taken-for-the-one-before", "dataplane/logged_port.cpp",
        "std::exchange(chosen_, 0)",
        "chosen_",
        "replies are logged twice, out of memory that may be another's by then",
        "dataplane_test:LoggedPort.ASample*"),
    Mutation(
        "queries-pass-a-filter-of-rcodes", "dataplane/query_log.cpp",
        "    if (rules.rcodes && !(is_response && (rules.rcodes >> rcode & 1))) return false;\n",
        "    if (rules.rcodes && !(rules.rcodes >> rcode & 1)) return false;\n",
        "who wants failures alone gets all queries",
        "dataplane_test:QueryLog.Rcodes*"),
    Mutation(
        "asked-when-it-was-answered", "dataplane/logged_port.cpp",
        "    asked_[burst.count - 1] = path.asked;\n",
        "    asked_[burst.count - 1] = received_;\n",
        "a miss looks as quick as a hit",
        "dataplane_test:LoggedPort.*"),
    Mutation(
        "the-log-waits-for-ever", "control/traffic/dnstap_sink.cpp",
        "        if (waits[1].revents) end_ = boot_time() + limits::dnstap_end;\n",
        "        if (waits[1].revents) return wait(events, longest);\n",
        "a reader that has stopped keeps the daemon from ending",
        "control_test:DnstapTest.ASilent*"),
    Mutation(
        "one-stands-for-one", "control/traffic/top.cpp",
        "        count(what_.peer, message_, what_.stands_for);\n",
        "        count(what_.peer, message_, 1);\n",
        "`top` shows a tenth of the traffic, or a thousandth",
        "control_test:TopTest.OneIn*"),
    Mutation(
        "one-worker-takes-the-whole-tick", "control/traffic/top.cpp",
        "left > 0; ++next_)",
        "left > 0; next_ += empty > 0)",
        "`top` shows one worker's traffic alone when all are busy",
        "control_test:TopTest.NoWorker*"),
    Mutation(
        "a-newcomer-begins-at-nothing", "control/traffic/hitters.hpp",
        "            row = {own, row.count + count, row.count};\n",
        "            row = {own, count, 0};\n",
        "who asks most may have no place among many who ask once",
        "control_test:Hitters.*"),
]
