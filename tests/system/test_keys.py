"""Keys of the configuration file and what they change, as an operator meets them: those that no other file is about."""

import os
import socket
import time

import dns.message
import dns.rcode
import pytest

from conftest import NOBODY, loopback, socket_config
from lab.daemon import write_config
from support import Client, addresses, burst, exactly, until
from upstream import Script

pytestmark = pytest.mark.timeout(120)

ALWAYS = 10**9


@pytest.fixture
def client(lab):
    return Client(loopback(lab), 5300)


@pytest.fixture
def start(lab, daemon, upstreams):
    """A daemon over the scripted servers, and what reloads it with other keys."""
    def run(**more):
        one = daemon(socket_config(lab, [u.endpoint for u in upstreams], **more), NOBODY)

        def change(**others):
            config = socket_config(lab, [u.endpoint for u in upstreams], **others)
            write_config(one.config, {**config, "control": {"socket": str(one.socket)}})
            assert one.ctl("config", "reload")["reloaded"]
        return one, change
    return run


def asked(upstreams, name):
    return [u.asked[name] for u in upstreams]


def test_lives_are_lengthened_and_cut(start, client, upstreams):
    for server in upstreams:
        server.scripts["short.example."] = Script(("short.example. 1 IN A 192.0.2.1",))
        server.scripts["denied.example."] = Script(rcode="NXDOMAIN", authority=(
            "example. 900 IN SOA ns. host. 1 3600 600 86400 900",))
    _, change = start()
    assert client.ask("short.example.").answer[0].ttl <= 1
    assert 890 <= client.ask("denied.example.").authority[0].ttl <= 900
    change(cache={"min-ttl": "100s", "max-ttl": "200s", "negative-ttl": "50s"})
    assert 90 <= client.ask("short.example.").answer[0].ttl <= 100
    assert 40 <= client.ask("denied.example.").authority[0].ttl <= 50
    assert 190 <= client.ask("long.script.example.").answer[0].ttl <= 200


def test_who_is_asked_is_up_to_the_strategy(start, client, upstreams):
    _, change = start(fanout={"strategy": "parallel"})
    assert addresses(client.ask("parallel.example.")) == ["192.0.2.200"]
    assert until(lambda: asked(upstreams, "parallel.example.") == [1, 1, 1])
    change(fanout={"strategy": "race", "stagger": "2s"})
    for i in range(20):  # now and then another one is asked beside the best, to see how quick it is
        client.ask(f"race{i}.example.")
    most = [sum(asked(upstreams, f"race{i}.example.")) for i in range(20)]
    assert most.count(1) >= 15, most
    for server in upstreams:
        server.scripts["lost.example."] = Script(("lost.example. 300 IN A 192.0.2.9",), silent=ALWAYS)
    change(fanout={"strategy": "race", "stagger": "10ms"})
    query = dns.message.make_query("lost.example.", "A").to_wire()
    assert client.send(query, timeout=1) is None
    assert until(lambda: all(asked(upstreams, "lost.example."))), "one more at each interval"


def test_the_others_are_asked_after_fallback(start, client, upstreams):
    upstreams[0].scripts["lost.example."] = Script(silent=ALWAYS)
    upstreams[0].scripts["found.example."] = Script(silent=ALWAYS)
    _, change = start(fanout={"active": 1, "fallback": "3s", "deadline": "4s", "patience": "1s"})
    query = dns.message.make_query("lost.example.", "A").to_wire()
    assert client.send(query, timeout=1.5) is None, "nobody else is asked in time"
    change(fanout={"active": 1, "fallback": "100ms"})
    assert addresses(client.ask("found.example.")) == ["192.0.2.200"]


def test_a_quorum_is_as_many_as_it_says(start, client, upstreams):
    names = [f"q{i}.example." for i in range(40)]
    for server, hosts in zip(upstreams, ((1, 2), (2, 3), (1, 2))):
        for name in names:
            server.scripts[name] = Script(tuple(f"{name} 300 IN A 192.0.2.{host}" for host in hosts))
    one, change = start(merge={"policy": "quorum", "quorum": 2}, fanout={"strategy": "parallel"})

    def is_merged(wanted):
        """Of some name: a server that is not heard in time is not merged."""
        name = names.pop()
        client.ask(name)
        return until(lambda: sorted(one.ctl("cache", "lookup", name, "A")["addresses"]) == wanted, 0.5)

    assert any(is_merged(["192.0.2.1", "192.0.2.2"]) for _ in range(20))
    change(merge={"policy": "quorum", "quorum": 3}, fanout={"strategy": "parallel"})
    assert any(is_merged(["192.0.2.2"]) for _ in range(20))


def test_names_are_warmed_at_the_rate_that_is_given(start, lab):
    path = lab.folder / "warm-rate.txt"
    path.write_text("".join(f"warm{i}.example A\n" for i in range(4)), encoding="ascii")
    os.chmod(path, 0o644)
    begin = time.monotonic()
    one, _ = start(cache={"keep-warm": str(path), "keep-warm-rate": 1})
    assert until(lambda: one.ctl("status")["keep_warm"]["fresh"] == 4, 30)
    assert time.monotonic() - begin >= 2, "a second's worth at once, then one a second"
    path.unlink()


def failed(client, names):
    """How many of these, asked at once, are SERVFAIL."""
    return sum(reply.rcode() == dns.rcode.SERVFAIL for reply in burst(client, [dns.message.make_query(n, "A") for n in names]))


def test_fetches_are_limited_by_client_prefix_and_question(start, lab, upstreams):
    number = lab.names.number
    first, neighbour = (Client(loopback(lab), 5300, bind=f"127.0.{number}.{last}") for last in (81, 82))
    fresh = (f"f{i}.example." for i in range(10**6))

    def names(count):
        return [next(fresh) for _ in range(count)]

    for server in upstreams:
        server.scripts["zero.example."] = Script(("zero.example. 0 IN A 192.0.2.1",))
    one, change = start(limits={"fetches-per-client": 5})
    assert failed(first, names(60)) >= 20
    assert failed(neighbour, names(4)) == 0, "another host of the same network"
    assert one.ctl("stats")["limited_by"]["fetches_per_client"] >= 20
    change(limits={"fetches-per-client": 5, "client-ipv4-prefix": 24})
    assert failed(first, names(60)) >= 20
    assert failed(neighbour, names(60)) >= 30, "now it is one client, whose budget is gone"
    change(limits={"fetches": 5, "ipv4-prefix": 32})
    assert failed(first, names(60)) >= 20
    assert failed(neighbour, names(4)) == 0
    change(limits={"fetches-per-question": 1}, cache={"stale": "0s"})
    rcodes = [first.ask("zero.example.").rcode() for _ in range(10)]  # TTL 0: asked each time
    assert dns.rcode.SERVFAIL in rcodes and one.ctl("stats")["limited_by"]["fetches_per_question"] > 0


def test_a_pipeline_is_as_long_as_it_says(start, client, upstreams):
    start(tcp={"pipeline": 2})
    names = [f"p{i}.example." for i in range(5)]
    for server in upstreams:
        for name in names:
            server.scripts[name] = Script(silent=ALWAYS)
    with client.socket(socket.SOCK_STREAM) as s:
        for name in names:
            query = dns.message.make_query(name, "A").to_wire()
            s.sendall(len(query).to_bytes(2, "big") + query)

        def in_work():
            return sum(any(asked(upstreams, name)) for name in names)

        assert until(lambda: in_work() == 2)
        time.sleep(0.3)
        assert in_work() == 2, "the others wait in the kernel"
        s.settimeout(30)
        for _ in names:
            reply = exactly(s, int.from_bytes(exactly(s, 2), "big"))
            assert dns.message.from_wire(reply).rcode() == dns.rcode.SERVFAIL
