"""Mutations: what is measured, and who comes over HTTP."""

from mutation import Mutation

MUTATIONS = [
    Mutation(
        "stuck-control-is-well", "control/daemon/health.cpp",
        "    if (looked > Time{} && now - looked > limits::stall) return \"the control thread is stalled\";\n",
        "    static_cast<void>(now - looked);\n",
        "clients are sent to an appliance that resolves nothing",
        "control_test:HealthTest.WhoeverDoesNotLook*"),
    Mutation(
        "drain-shows-later", "control/daemon/health.cpp",
        "    is_drained_ = true;\n    show();\n",
        "    is_drained_ = true;\n",
        "a load balancer sends clients to an appliance that is about to be stopped",
        "control_test:HealthTest.ShowsTheSame*"),
    Mutation(
        "slow-ones-stay", "control/metrics/http_server.cpp",
        "    shutdown(open_.front(), SHUT_RDWR); // and libmicrohttpd sees its end\n",
        "",
        "sixty slow clients keep Prometheus out",
        "control_test:HttpServerTest.SlowOnes*"),
    Mutation(
        "a-collection-for-each", "control/metrics/http_server.cpp",
        "    if (page.response && (has_waited || now - page.made < limits::http_fresh))\n",
        "    if (page.response && has_waited)\n",
        "who scrapes without a pause keeps control from its work",
        "control_test:HttpServerTest.AnswerIsGood*"),
    Mutation(
        "waits-for-ever", "control/metrics/http_server.cpp",
        "            if (page.is_asked && boot_time() - page.asked > limits::http_wait) end_waits(page);\n",
        "            static_cast<void>(page);\n",
        "who asks while control is stuck never hears of it",
        "control_test:HttpServerTest.WhoDoesNotDeliver*"),
    Mutation(
        "a-burst-is-one-hit", "dataplane/worker.cpp",
        "    c_.counters.hit_time.add(c_.clock ? c_.clock->nanoseconds(cycles) : by_kernel(), hits);\n",
        "    c_.counters.hit_time.add(c_.clock ? c_.clock->nanoseconds(cycles) : by_kernel());\n",
        "quantiles are those of bursts, not of answers",
        "control_test:MetricsOfWorker.EachHit*"),
    Mutation(
        "a-series-twice", "control/daemon/metrics_text.cpp",
        "        if (seen.emplace(upstream.group, to_string(upstream.endpoint)).second) write_upstream(out, upstream);\n",
        "        write_upstream(out, upstream);\n",
        "Prometheus refuses the whole scrape",
        "control_test:MetricsText.NoSeriesTwice"),
]
