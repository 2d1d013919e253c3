"""Upstream servers that are slow, silent, failing or wrong."""

import contextlib
import itertools
import time

import dns.message
import dns.rcode
import pytest

from conftest import NOBODY, loopback, socket_config
from lab.daemon import write_config
from real import Servers
from support import Client, addresses, until
from upstream import Script, Upstream

SOA = "script.example. 300 IN SOA ns. hostmaster. 1 3600 600 86400 60"


@pytest.fixture
def start(lab, daemon, upstreams):
    """Starts millraced on the scripted servers; scripts: one for each of them, for NAME."""

    def run(name, *scripts, **config):
        for upstream, script in zip(upstreams, scripts):
            upstream.scripts[name] = script
        return daemon(socket_config(lab, [upstream.endpoint for upstream in upstreams], **config), NOBODY)

    return run


@pytest.fixture
def client(lab):
    return Client(loopback(lab), 5300)


def timed(client, *question, **options):
    started = time.monotonic()
    reply = client.ask(*question, **options)
    return reply, time.monotonic() - started


@pytest.mark.quick
def test_the_fast_server_answers_and_the_slow_one_completes(start, client):
    name = "pool.script.example."
    one = start(name, Script((f"{name} 300 IN A 192.0.2.1",)), Script((f"{name} 300 IN A 192.0.2.2",), delay=0.1),
                Script((f"{name} 300 IN A 192.0.2.3",), silent=99))
    reply, seconds = timed(client, name)
    assert addresses(reply) == ["192.0.2.1"] and seconds < 0.08
    assert until(lambda: addresses(client.ask(name)) == ["192.0.2.1", "192.0.2.2"])
    assert one.ctl("cache", "lookup", name, "A")["revision"] == 1


def test_merge_off_keeps_the_first_answer(start, client, upstreams):
    name = "pool.script.example."
    one = start(name, *(Script((f"{name} 300 IN A 192.0.2.{i}",)) for i in (1, 2, 3)), merge={"policy": "off"})
    first = addresses(client.ask(name))
    assert until(lambda: one.ctl("status")["fetches"] == 0)
    assert addresses(client.ask(name)) == first and len(first) == 1
    assert upstreams[2].asked[name] == 0, "nobody else is asked when nothing can be merged"


def test_a_failing_server_does_not_decide(start, client):
    name = "fails.script.example."
    start(name, Script(rcode="SERVFAIL"), Script((f"{name} 300 IN A 192.0.2.2",), delay=0.15), Script(rcode="REFUSED"))
    assert addresses(client.ask(name)) == ["192.0.2.2"]


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED"])
def test_when_all_fail(start, client, rcode):
    name = "fails.script.example."
    start(name, *[Script(rcode=rcode)] * 3)
    reply, seconds = timed(client, name)
    assert reply.rcode() == dns.rcode.SERVFAIL and seconds < 1.5


@pytest.mark.parametrize("rcode", ["NXDOMAIN", "NOERROR"])
def test_the_first_denial_decides(start, client, rcode):
    name = "none.script.example."
    start(name, *[Script(authority=(SOA,), rcode=rcode, delay=delay) for delay in (0, 0.5, 1)])
    reply, seconds = timed(client, name)
    assert dns.rcode.to_text(reply.rcode()) == rcode and seconds < 0.4
    assert [rrset.rdtype for rrset in reply.authority] == [6]


def test_an_empty_answer_without_soa_waits_for_a_better_one(start, client):
    name = "empty.script.example."
    start(name, Script(), Script((f"{name} 300 IN A 192.0.2.2",), delay=0.15), Script(silent=99))
    assert addresses(client.ask(name)) == ["192.0.2.2"]


def test_a_lost_datagram_is_sent_again(start, client, upstreams):
    name = "lost.script.example."
    start(name, *[Script((f"{name} 300 IN A 192.0.2.1",), silent=1)] * 3)
    reply, seconds = timed(client, name)
    assert addresses(reply) == ["192.0.2.1"] and seconds < 1.5
    assert max(upstream.asked[name] for upstream in upstreams) == 2


def test_all_silent(start, client):
    """UDP clients get nothing and ask again by themselves; TCP clients SERVFAIL at the deadline."""
    name = "silent.script.example."
    one = start(name, *[Script(silent=99)] * 3)
    assert client.send(dns_query(name), timeout=2.5) is None
    reply, seconds = timed(client, name, tcp=True)
    assert reply.rcode() == dns.rcode.SERVFAIL and seconds < 3.8
    assert client.ask("other.script.example").rcode() == dns.rcode.NOERROR
    assert one.process.poll() is None


def test_stale_when_the_servers_have_gone(start, client, upstreams):
    name = "stale.script.example."
    start(name, *[Script((f"{name} 1 IN A 192.0.2.1",))] * 3)
    client.ask(name)
    time.sleep(1.2)
    for upstream in upstreams:
        upstream.scripts[name] = Script(silent=10**6)
    reply, seconds = timed(client, name, use_edns=0)
    assert addresses(reply) == ["192.0.2.1"] and reply.answer[0].ttl == 30 and seconds < 2.2
    assert [option.otype for option in reply.options] == [15], "EDE says that it is stale"


def test_a_dead_server_among_three(lab, daemon, client, upstreams):
    """Nobody listens on the first one's port."""
    endpoints = [f"127.0.{lab.names.number}.29:5302", *(upstream.endpoint for upstream in upstreams[:2])]
    daemon(socket_config(lab, endpoints), NOBODY)
    for i in range(5):
        reply, seconds = timed(client, f"name-{i}.script.example")
        assert addresses(reply) == ["192.0.2.200"] and seconds < 1


def clients_questions(upstream):
    """Those to it that were no probes."""
    return upstream["sent"] - upstream["probes"]


def test_a_breaker_opens_and_closes(lab, daemon, client, upstreams):
    """A dead server is asked by probes alone, until one finds it back."""
    address = f"127.0.{lab.names.number}.28"
    one = daemon(socket_config(lab, [f"{address}:5302", *(upstream.endpoint for upstream in upstreams[:2])]), NOBODY)

    def dead():
        return one.ctl("status")["upstreams"][0]

    names = (f"first-{i}.script.example" for i in range(1000))
    assert until(lambda: client.ask(next(names)) and dead()["breaker"] != "closed", 20), dead()
    assert dead()["opened"] == one.ctl("stats")["breakers_opened"] == 1
    before = clients_questions(dead())
    for i in range(20):
        client.ask(f"later-{i}.script.example")
    assert clients_questions(dead()) == before
    back = Upstream(address, 5302)
    try:
        assert until(lambda: dead()["breaker"] == "closed"), dead()
        assert sum(back.asked.values()) >= 1 and "probe_s" not in dead()
    finally:
        back.close()


FOLDERS = itertools.count()


@pytest.fixture
def real(lab):
    """Starts one of two nsd that know every name below well.example, and ends it after the block."""
    zone = lab.folder / "well.zone"
    zone.write_text("$TTL 1\n@ SOA ns hostmaster 1 3600 600 86400 1\n@ NS ns\n* A 192.0.2.7\n", encoding="ascii")

    @contextlib.contextmanager
    def start(endpoint):
        with Servers(lab, f"well-{next(FOLDERS)}") as servers:
            address, number = endpoint.split(":")
            servers.nsd(address, int(number), {"well.example": zone})
            yield

    return start


@pytest.fixture
def endpoints(lab):
    return [f"127.0.{lab.names.number}.{host}:5304" for host in (43, 44)]


def test_the_operator_takes_a_server_away_and_gives_it_back(lab, daemon, client, real, endpoints):
    names = (f"n{i}.well.example" for i in range(10**6))

    def listed(which):
        return one.ctl("upstream", "list")["upstreams"][which]

    def is_lost():
        client.send(dns_query(next(names)), timeout=0.2)
        return listed(1)["breaker"] != "closed"

    config = socket_config(lab, endpoints, cache={"stale": "0s"})
    with real(endpoints[0]):
        with real(endpoints[1]):
            one = daemon(config, NOBODY)
            assert until(lambda: client.ask(next(names)) and listed(0).get("srtt_ms") and listed(1).get("srtt_ms"))
            row = listed(0)
            assert row["override"] == "auto" and row["breaker"] == "closed" and row["outstanding"] >= 0, row
            assert row["over_outstanding"] == row["over_rate"] == 0, row
            assert 0 <= row["loss"] < 1 and row["timeouts"] >= 0 and "reason" not in row, row
            down = one.ctl("upstream", "down", endpoints[0])
            assert down["override"] == "down" and down["changed_s"] < 60 and "warning" not in down, down
            assert down["reason"] == "set down by the operator"
            assert until(lambda: one.ctl("status")["fetches"] == 0)
            before = listed(0)["sent"]
            for _ in range(20):
                assert addresses(client.ask(next(names))) == ["192.0.2.7"]
            servers = [{"address": endpoints[0], "randomise-case": False}, endpoints[1]]
            write_config(one.config, {**config, "upstreams": [{"group": "default", "servers": servers}],
                                      "control": {"socket": str(one.socket)}})
            assert one.ctl("config", "reload")["changed"] == ["upstreams"]
            assert listed(0)["override"] == "down"
        assert until(is_lost, 20), listed(1)
        assert listed(0)["sent"] == before, "not even when nobody else replies"
        assert listed(1)["loss"] > 0 and listed(1)["reason"].startswith("silent"), listed(1)
        assert one.ctl("upstream", "auto", endpoints[0])["override"] == "auto"
        assert addresses(client.ask(next(names))) == ["192.0.2.7"]
        assert listed(0)["sent"] > before
        one.ctl("upstream", "down", endpoints[0])
        assert "SERVFAIL" in one.ctl("upstream", "down", endpoints[1])["warning"]
        reply, seconds = timed(client, next(names))
        assert reply.rcode() == dns.rcode.SERVFAIL and seconds < 1.5
        assert one.ctl("upstream", "up", endpoints[1])["breaker"] == "closed"
    text = one.log.read_text(encoding="utf-8")
    assert f"upstream {endpoints[1]}: breaker open: silent" in text and "set down by the operator" in text, text


def test_a_server_that_stops_and_starts_is_noticed_without_clients(lab, daemon, real, endpoints):
    fanout = {"probe": "well.example SOA", "probe-interval": "1s", "probe-fall": 2, "probe-rise": 2}

    def row():
        return one.ctl("upstream", "list")["upstreams"][1]

    with real(endpoints[0]):
        with real(endpoints[1]):
            one = daemon(socket_config(lab, endpoints, fanout=fanout), NOBODY)
            assert until(lambda: row()["probes"] >= 2 and "srtt_ms" in row(), 20), row()
            assert row()["breaker"] == "closed" and row()["sent"] == row()["probes"]
        assert until(lambda: row()["breaker"] != "closed", 40), row()
        assert row()["reason"].startswith("silent") and one.ctl("stats")["received"] == 0
        with real(endpoints[1]):
            assert until(lambda: row()["breaker"] == "closed", 20), row()
            assert row()["reason"] == "its probes were heard" and row()["opened"] == 1, row()


@pytest.mark.parametrize("words", [["upstream"], ["upstream", "sideways"], ["upstream", "list", "x"], ["upstream", "down"],
                                   ["upstream", "down", "192.0.2.99"], ["upstream", "up", "x y"]], ids=" ".join)
def test_errors_of_upstream(sockets, words):
    done = sockets.ctl_process(*words)
    assert done.returncode in (1, 2) and done.stdout.strip()
    assert all(row["override"] == "auto" for row in sockets.ctl("upstream", "list")["upstreams"])


def dns_query(name):
    return dns.message.make_query(name, "A").to_wire()
