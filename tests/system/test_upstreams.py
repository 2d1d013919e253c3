"""Upstream servers that are slow, silent, failing or wrong."""

import time

import dns.message
import dns.rcode
import pytest

from conftest import NOBODY, loopback, socket_config
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
    start(name, *(Script((f"{name} 300 IN A 192.0.2.{i}",)) for i in (1, 2, 3)), merge={"policy": "off"})
    first = addresses(client.ask(name))
    time.sleep(0.5)
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
        assert until(lambda: dead()["breaker"] == "closed", 8), dead()
        assert sum(back.asked.values()) >= 1 and "probe_s" not in dead()
    finally:
        back.close()


def dns_query(name):
    return dns.message.make_query(name, "A").to_wire()
