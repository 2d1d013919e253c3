"""Mutations: the query log."""

from mutation import Mutation

MUTATIONS = [
    Mutation(
        "a-full-log-is-not-counted", "dataplane/query_log.cpp",
        "        dropped_.store(dropped_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);\n",
        "",
        "messages are missing from the log, and nobody knows",
        "dataplane_test:QueryLog.AFull*"),
    Mutation(
        "queries-and-responses-drawn-apart", "dataplane/query_log.cpp",
        "std::uint64_t(what.peer.port) << 16",
        "std::uint64_t(what.kind) << 16",
        "a sample has queries without their responses",
        "dataplane_test:QueryLog.ASample*"),
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
        "the-log-waits-for-ever", "control/dnstap/sink.cpp",
        "        if (waits[1].revents) end_ = boot_time() + limits::dnstap_end;\n",
        "        if (waits[1].revents) return wait(events, longest);\n",
        "a reader that has stopped keeps the daemon from ending",
        "control_test:DnstapTest.ASilent*"),
    Mutation(
        "what-is-logged-last-is-lost", "control/dnstap/dnstap.cpp",
        "            is_last = stop_.load(); // what was logged before is in the rings\n"
        "            while (is_connected(boot_time()) && write_some()) {}\n",
        "            while (is_connected(boot_time()) && write_some()) {}\n"
        "            is_last = stop_.load();\n",
        "the messages of the last moment are not in the log",
        "control_test:DnstapTest.AFileHas*"),
]
