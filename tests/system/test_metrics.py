"""Prometheus, load balancers and DPDK's telemetry see what there is to see; nobody who looks disturbs the service."""

import itertools
import json
import os
import pathlib
import re
import socket
import subprocess
import urllib.error
import urllib.request

import dns.message
import pytest

from conftest import LCORE, ROOT, loopback, socket_config
from lab import Daemon
from lab.daemon import xdp_config
from support import Client, Frozen, Subscriber, until

DEPLOY = ROOT / "deploy/metrics"
# Shown by labels of one family; the others say in their help which key of `stats` they are.
BY_VERDICT = {"answered": "answered", "misses": "missed", "refused": "refused", "to_kernel": "to_kernel",
              "to_control": "to_control"}


def get(one, path="/metrics", timeout=30):
    """Status and text."""
    try:
        with urllib.request.urlopen(f"http://{one.http}{path}", timeout=timeout) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def scrape(one):
    status, text = get(one)
    assert status == 200, text
    return text


def series_of(text):
    """{(name, labels): value}, labels being sorted pairs."""
    out = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = re.fullmatch(r'(\w+)(?:\{(.*)\})? (\S+)', line).groups()
            pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or "")
            out[name, tuple(sorted(pairs))] = float(value)
    return out


def total(text, name, **labels):
    return sum(value for (n, pairs), value in series_of(text).items() if n == name and set(labels.items()) <= set(pairs))


@pytest.fixture(scope="module")
def served(lab, build, nsd):
    """millraced on the AF_XDP port and a kernel socket, with metrics. One for all tests of this file."""
    http = f"{loopback(lab)}:9153"
    config = xdp_config(lab.names, nsd, LCORE, listen=[f"{loopback(lab)}:5301"], metrics={"listen": http})
    one = Daemon(lab, build, config, name="metrics").start()
    one.http = http
    yield one
    one.process.terminate()
    assert one.wait(20) == 0, one.last_lines()


@pytest.fixture
def with_metrics(lab, daemon, upstreams):
    """Starts one on kernel sockets, with scripted upstreams."""
    def start(listen=None, ready=True, count=3, **more):
        http = f"{loopback(lab)}:9154" if listen is None else listen
        servers = [server.endpoint for server in upstreams[:count]]
        one = daemon(socket_config(lab, servers, metrics={"listen": http}, **more), ready=ready)
        one.http = http
        return one
    return start


def leaves(value, path=""):
    if not isinstance(value, dict):
        yield path, value
        return
    for key, item in value.items():
        yield from leaves(item, f"{path}.{key}" if path else key)


def named_in_help(text):
    """{key of `stats`: [(family, label, value)]}: what helps say; of "limited_by.LIMIT" for each value of the label."""
    out = {}
    series = series_of(text)
    for family, keys in re.findall(r"^# HELP (\w+) .*\(stats: ([^)]+)\)$", text, re.MULTILINE):
        for key in keys.split(", "):
            placeholder = re.search(r"[A-Z]+$", key)
            label = placeholder[0].lower() if placeholder else None
            values = {dict(pairs)[label] for name, pairs in series if name == family} if label else {None}
            for value in values:
                out.setdefault(key.replace(placeholder[0], value) if label else key, []).append((family, label, value))
    return out


def check_stats(one):
    """Every key of `stats` is a metric, of the same value."""
    stats, text = dict(leaves(one.ctl("stats"))), scrape(one)
    named = named_in_help(text)
    differ = {}
    for key, value in stats.items():
        if key == "received":
            found = total(text, "millrace_packets_total")
        elif key in BY_VERDICT or key.startswith("dropped."):
            found = total(text, "millrace_packets_total", verdict=BY_VERDICT.get(key, key.replace("dropped.", "drop_")))
        else:
            assert key in named, f"`stats` has {key}, /metrics has not: see control/daemon/metrics_text.cpp"
            found = sum(total(text, family, **({label: name} if label else {})) for family, label, name in named[key])
        if found != value:
            differ[key] = (value, found)
    assert set(named) - set(stats) <= {"limited_by.key"}, "what helps name is in `stats`, but for the rest of `limited`"
    return differ


@pytest.mark.quick
def test_every_counter_of_stats_is_a_metric(lab, served):
    port, local = Subscriber(lab), Client(loopback(lab), 5301)
    for client in (port, local):
        for name in ("shared.lab.example", "shared.lab.example", "none.lab.example", "localhost"):
            client.ask(name)
        client.ask("shared.lab.example", tcp=True)
        client.send(b"\x12\x34\x81" + bytes(30), timeout=0.2)
    assert until(lambda: check_stats(served) == {}, 30), check_stats(served)
    text = scrape(served)
    lcores = {dict(pairs).get("lcore") for name, pairs in series_of(text) if name == "millrace_packets_total"}
    assert lcores == {str(LCORE), None}
    assert total(text, "millrace_packets_total", lcore=str(LCORE)) >= 5
    assert total(text, "millrace_port_received_packets_total") >= 5
    queue = {"port": f"net_af_xdp0,iface={lab.names.edge}", "queue": "0"}
    assert total(text, "millrace_queue_info", **queue, lcore=str(LCORE)) == 1
    assert total(text, "millrace_healthy") in (0, 1) and total(text, "millrace_generations_total") > 0


def test_what_takes_time_is_measured(lab, served):
    client = Client(loopback(lab), 5301)
    before = scrape(served)
    client.ask("timed.wild.lab.example")
    client.ask("timed.wild.lab.example")
    after = until(lambda: grown(before, scrape(served)), 30)
    assert after, scrape(served)
    for name in ("hit_duration", "miss_duration", "upstream_round_trip", "tick_duration"):
        buckets = [value for (n, pairs), value in series_of(after).items()
                   if n == f"millrace_{name}_seconds_bucket" and dict(pairs)["le"] == "+Inf"]
        assert sum(buckets) == total(after, f"millrace_{name}_seconds_count") > 0, name
        assert total(after, f"millrace_{name}_seconds_sum") > 0, name
    hits = total(after, "millrace_hit_duration_seconds_count")
    assert hits == sum(value for (name, pairs), value in series_of(after).items()
                       if name in ("millrace_hits_total", "millrace_stale_hits_total") and ("worker", "tcp") not in pairs)
    assert total(after, "millrace_miss_duration_seconds_count") == total(after, "millrace_waits_answered_total")


def grown(before, after):
    """after, if there is one more hit and one more miss in it, and a reply of an upstream."""
    names = ("hit_duration", "miss_duration", "upstream_round_trip")
    return after if all(total(after, f"millrace_{name}_seconds_count") > total(before, f"millrace_{name}_seconds_count")
                        for name in names) else None


def promtool(*arguments, text=None):
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def test_promtool_likes_the_names(served):
    code, words = promtool("check", "metrics", text=scrape(served))
    assert code == 0 and not words.strip(), words


def test_alert_rules():
    assert promtool("check", "rules", DEPLOY / "alerts.yaml")[0] == 0, promtool("check", "rules", DEPLOY / "alerts.yaml")[1]
    code, words = promtool("test", "rules", DEPLOY / "alerts_test.yaml")
    assert code == 0, words
    alerts = set(re.findall(r"- alert: (\w+)", (DEPLOY / "alerts.yaml").read_text()))
    tests = (DEPLOY / "alerts_test.yaml").read_text()
    assert alerts == set(re.findall(r'ALERTS\{alertname="(\w+)", alertstate="firing"\}', tests)), "each is raised by a test"
    assert alerts == set(re.findall(r"alertname: (\w+), exp_alerts: \[\]", tests)), "and silent in another"


def test_what_alerts_and_dashboard_ask_for_is_there(lab, served):
    Client(loopback(lab), 5301).ask("shared.lab.example")
    series = series_of(scrape(served))
    known = {name: {label for label, _ in pairs} for name, pairs in series}
    board = json.loads((DEPLOY / "dashboard.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    assert len(asked) > 40
    asked += [(DEPLOY / "alerts.yaml").read_text()]
    for text in asked:
        for name in re.findall(r"\b(?:millrace|process)_[a-z_]+\b", text):
            assert name in known, f"{name} in {text[:200]}"
        for name, by in re.findall(r"\b(millrace_[a-z_]+)\{([^}]*)\}", text):
            for label, value in re.findall(r'(\w+)=~?"([^"]*)"', by):
                assert label in known[name] | {"instance"}, f"{label} of {name}"
                matched = any(n == name and re.fullmatch(value, dict(pairs).get(label, "")) for n, pairs in series)
                assert matched or label == "instance", f"{name} has no {label} that matches {value}"
    for panel in board["panels"]:
        assert all(re.search(r"\$(instance|datasource)", json.dumps(t)) for t in panel.get("targets", [])), panel["title"]


def test_series_do_not_grow_with_clients_and_names(lab, served):
    client = Client(loopback(lab), 5301)
    client.ask("first.wild.lab.example")
    before = until(lambda: scrape(served))
    for i in range(200):
        Client(loopback(lab), 5301, bind=f"127.0.{lab.names.number}.{100 + i % 100}").ask(f"series-{i}.wild.lab.example")
    assert until(lambda: total(scrape(served), "millrace_packets_total") >= total(before, "millrace_packets_total") + 200, 30)
    # Round trips and losses are there as soon as a server has been asked: of three there may be more than before.
    later = {"millrace_upstream_smoothed_round_trip_seconds", "millrace_upstream_loss_ratio"}
    new = set(series_of(scrape(served))) - set(series_of(before))
    assert {name for name, _ in new} <= later, new


def test_health(with_metrics):
    one = with_metrics()
    assert get(one, "/health")[1] == "just started\n" or get(one, "/health") == (200, "healthy\n")
    assert until(lambda: get(one, "/health") == (200, "healthy\n"), 60)
    assert total(scrape_fresh(one), "millrace_healthy") == 1
    one.ctl("drain")
    assert get(one, "/health") == (503, "drained\n")
    text = scrape_fresh(one)
    assert total(text, "millrace_drained") == 1 and total(text, "millrace_healthy") == 0
    one.ctl("resume")
    assert get(one, "/health") == (200, "healthy\n")


def test_an_upstream_that_falls_silent(with_metrics, lab, upstreams):
    here = upstreams[0].endpoint
    one = with_metrics(count=1)
    client, names = Client(loopback(lab), 5300), itertools.count()

    def shows(name, value, **labels):
        client.send(dns.message.make_query(f"n{next(names)}.example.", "A").to_wire(), timeout=0.1)
        return total(scrape(one), f"millrace_{name}", **labels) == value

    assert until(lambda: shows("healthy", 1), 60) and shows("upstream_up", 1, upstream=here)
    upstreams[0].is_silent = True
    assert until(lambda: shows("upstream_up", 0, upstream=here), 60), scrape(one)
    before = one.ctl("upstream", "list")["upstreams"][0]["timeouts"]
    counted = total(scrape_fresh(one), "millrace_upstream_timeouts_total", upstream=here)
    assert 0 < before <= counted <= one.ctl("upstream", "list")["upstreams"][0]["timeouts"]
    assert until(lambda: shows("healthy", 0), 60), "it is the only one"
    assert get(one, "/health") == (503, "no upstream of the first group is up\n")
    upstreams[0].is_silent = False
    assert until(lambda: shows("upstream_up", 1, upstream=here), 60), scrape(one)


def scrape_fresh(one):
    """One that was made after the call: what is served may be a second old."""
    at = total(scrape(one), "millrace_tick_duration_seconds_count")
    return until(lambda: (text := scrape(one)) and total(text, "millrace_tick_duration_seconds_count") > at and text, 30)


def test_health_does_not_wait_for_control(with_metrics, lab):
    """Control's thread alone is held up, as by a fault of ours or of a driver's."""
    one = with_metrics()
    assert until(lambda: get(one, "/health")[0] == 200, 60)
    with Frozen(one.process.pid, "millraced"):
        assert until(lambda: get(one, "/health") == (503, "the control thread is stalled\n"), 30)
        assert until(lambda: get(one) == (503, "the control thread does not answer\n"), 30)
        assert Client(loopback(lab), 5300).ask("localhost").rcode() == 0, "workers go on"
    assert until(lambda: get(one, "/health")[0] == 200, 60)
    assert scrape(one)


def test_crowd_disturbs_nobody(with_metrics, lab):
    one = with_metrics()
    host, port = one.http.split(":")
    crowd = []
    for i in range(300):
        s = socket.create_connection((host, int(port)), timeout=10)
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + (b"\r\n" if i % 2 else b"X: "))
        crowd.append(s)
    assert Client(loopback(lab), 5300).ask("localhost").rcode() == 0
    assert one.ctl("status")["pid"] == one.process.pid
    assert "millrace_build_info" in scrape(one)
    for s in crowd:
        s.close()


def test_thread_keeps_off_the_lcores(served):
    tasks = pathlib.Path(f"/proc/{served.process.pid}/task")
    [thread] = [t for t in tasks.iterdir() if (t / "comm").read_text() == "millrace-http\n"]
    cpus = os.sched_getaffinity(int(thread.name))
    assert LCORE not in cpus or os.cpu_count() == 1, cpus
    assert os.getpriority(os.PRIO_PROCESS, int(thread.name)) > 0


def test_place_that_is_taken(with_metrics, lab):
    with socket.create_server((loopback(lab), 9155)):
        one = with_metrics(f"{loopback(lab)}:9155", ready=False)
        one.launch()
        assert one.wait(30) == 1
        assert f"cannot serve metrics on {loopback(lab)}:9155: Address already in use; `metrics: listen`" in one.last_lines()


def test_default_that_is_taken_is_no_reason_to_end(with_metrics, lab):
    try:
        taken = socket.create_server(("127.0.0.1", 9153))
    except OSError:
        taken = None  # by somebody else
    one = with_metrics("127.0.0.1:9153")
    assert "cannot serve metrics on 127.0.0.1:9153: Address already in use" in one.last_lines()
    assert Client(loopback(lab), 5300).ask("localhost").rcode() == 0
    if taken:
        taken.close()


def test_none_at_all(with_metrics):
    one = with_metrics("")
    names = {(t / "comm").read_text() for t in pathlib.Path(f"/proc/{one.process.pid}/task").iterdir()}
    assert "millrace-http\n" not in names


def telemetry(one, command):
    """What DPDK's telemetry says; several processes of one --file-prefix number their sockets."""
    for path in sorted(pathlib.Path("/run/dpdk").glob("*/dpdk_telemetry.v2*")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(10)
            try:
                s.connect(str(path))
                if json.loads(s.recv(1024))["pid"] != one.process.pid:
                    continue
            except OSError:
                continue
            s.send(command.encode())
            return json.loads(s.recv(1 << 16))[command.split(",")[0]]
    return pytest.fail("there is no telemetry socket of it")


def test_dpdk_telemetry(lab, served):
    Subscriber(lab).ask("shared.lab.example")
    assert telemetry(served, "/millrace/lcores") == [LCORE]
    text = scrape_fresh(served)
    of_lcore, of_all = telemetry(served, f"/millrace/stats,{LCORE}"), telemetry(served, "/millrace/stats")
    verdicts = {dict(pairs)["verdict"] for name, pairs in series_of(text) if name == "millrace_packets_total"}
    assert verdicts <= set(of_lcore) == set(of_all)
    assert of_lcore["answered"] >= total(text, "millrace_packets_total", lcore=str(LCORE), verdict="answered")
    assert of_all["answered"] >= of_lcore["answered"]
    assert telemetry(served, "/millrace/stats,9999") is None and telemetry(served, "/millrace/stats,x") is None
