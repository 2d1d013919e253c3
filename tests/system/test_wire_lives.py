"""TTLs, negative lives and extended errors as clients see them, row by row of the rules; over UDP and TCP alike."""

import time

import dns.rcode
import pytest

from conftest import NOBODY, loopback, socket_config
from support import Client
from upstream import Script

A_DAY = 86400


def soa(ttl, minimum):
    return (f"life.example. {ttl} IN SOA ns. hostmaster. 1 3600 600 86400 {minimum}",)


def a(name, *ttls):
    return tuple(f"{name} {ttl} IN A 192.0.2.{i}" for i, ttl in enumerate(ttls, 1))


LIVES = [
    # what, the upstreams' answer as a function of the name, rcode, the TTLs in the reply
    ("one TTL", lambda n: Script(a(n, 300)), "NOERROR", {300}),
    ("TTLs that differ in an RRset", lambda n: Script(a(n, 300, 40, 90)), "NOERROR", {40}),
    ("TTLs that differ along a chain", lambda n: Script((f"{n} 70 IN CNAME x.life.example.",) + a("x.life.example.", 50)),
     "NOERROR", {50, 70}),
    ("TTL 0", lambda n: Script(a(n, 0)), "NOERROR", {0}),
    ("TTL 2^31 - 1", lambda n: Script(a(n, 2**31 - 1)), "NOERROR", {A_DAY}),
    ("TTL 2^31", lambda n: Script(a(n, 2**31)), "NOERROR", {A_DAY}),
    ("TTL 2^32 - 1", lambda n: Script(a(n, 2**32 - 1)), "NOERROR", {A_DAY}),
    ("NXDOMAIN, the MINIMUM is lower", lambda n: Script(authority=soa(900, 60), rcode="NXDOMAIN"), "NXDOMAIN", {60}),
    ("NXDOMAIN, the SOA's TTL is lower", lambda n: Script(authority=soa(50, 900), rcode="NXDOMAIN"), "NXDOMAIN", {50}),
    ("NXDOMAIN for an hour at most", lambda n: Script(authority=soa(A_DAY, A_DAY), rcode="NXDOMAIN"), "NXDOMAIN", {3600}),
    ("NODATA", lambda n: Script(authority=soa(900, 60)), "NOERROR", {60}),
    ("NODATA for an hour at most", lambda n: Script(authority=soa(A_DAY, A_DAY)), "NOERROR", {3600}),
    ("NXDOMAIN without SOA", lambda n: Script(rcode="NXDOMAIN"), "NXDOMAIN", set()),
    ("NODATA without SOA", lambda n: Script(), "NOERROR", set()),
]


@pytest.fixture
def start(lab, daemon, upstreams):
    """millraced on the scripted servers, all of them with one script for the name."""

    def run(name, script, **config):
        for upstream in upstreams:
            upstream.scripts[name] = script
        return daemon(socket_config(lab, [upstream.endpoint for upstream in upstreams], **config), NOBODY)

    return run


@pytest.fixture
def client(lab):
    return Client(loopback(lab), 5300)


def ttls(reply):
    return {rrset.ttl for rrset in (*reply.answer, *reply.authority)}


def extended_errors(reply):
    return [int(option.code) for option in reply.options if option.otype == 15]


@pytest.mark.parametrize("what, script, rcode, expected", LIVES, ids=[row[0] for row in LIVES])
def test_lives(start, client, what, script, rcode, expected):
    name = "name.life.example."
    one = start(name, script(name))
    for tcp in (False, True):
        reply = client.ask(name, tcp=tcp, use_edns=0)
        assert dns.rcode.to_text(reply.rcode()) == rcode
        shown = ttls(reply)
        assert shown <= expected | {ttl - 1 for ttl in expected if ttl} and bool(shown) == bool(expected)
        assert not extended_errors(reply)
    if not expected:
        assert one.ctl("cache", "lookup", name, "A")["ttl"] <= 5


@pytest.mark.parametrize("edns", [True, False], ids=["EDNS", "plain"])
@pytest.mark.parametrize("script, rcode, error", [(Script(a("stale.life.example.", 1)), "NOERROR", 3),
                                                  (Script(authority=soa(1, 1), rcode="NXDOMAIN"), "NXDOMAIN", 19),
                                                  (Script(authority=soa(1, 1)), "NOERROR", 3)],
                         ids=["positive", "NXDOMAIN", "NODATA"])
def test_stale(start, client, upstreams, script, rcode, error, edns):
    name = "stale.life.example."
    start(name, script)
    fresh = client.ask(name, **({"use_edns": 0} if edns else {}))
    assert not extended_errors(fresh) and ttls(fresh) <= {0, 1}
    time.sleep(1.2)
    for upstream in upstreams:
        upstream.scripts[name] = Script(silent=10**6)
    for tcp in (False, True):
        reply = client.ask(name, tcp=tcp, **({"use_edns": 0} if edns else {}))
        assert dns.rcode.to_text(reply.rcode()) == rcode and ttls(reply) == {30}
        assert extended_errors(reply) == ([error] if edns else [])


def test_nothing_stale_past_its_time(start, client, upstreams):
    name = "stale.life.example."
    start(name, Script(a(name, 1)), cache={"stale": "1s"})
    client.ask(name)
    for upstream in upstreams:
        upstream.scripts[name] = Script(rcode="SERVFAIL")
    time.sleep(2.3)
    reply = client.ask(name, use_edns=0)
    assert reply.rcode() == dns.rcode.SERVFAIL and not reply.answer and not {3, 19} & set(extended_errors(reply))


@pytest.mark.parametrize("edns", [True, False], ids=["EDNS", "plain"])
def test_who_may_not_ask_is_told(start, lab, edns):
    config = {"allow": [f"127.0.{lab.names.number}.0/25"]}
    start("any.life.example.", Script(), **config)
    client = Client(loopback(lab), 5300, bind=f"127.0.{lab.names.number}.200")
    reply = client.ask("any.life.example", **({"use_edns": 0} if edns else {}))
    assert reply.rcode() == dns.rcode.REFUSED and extended_errors(reply) == ([18] if edns else [])


def test_a_failure_never_replaces_stale_data(start, client, upstreams):
    name = "stale.life.example."
    start(name, Script(a(name, 1)))
    client.ask(name)
    time.sleep(1.2)
    for upstream in upstreams:
        upstream.scripts[name] = Script(rcode="SERVFAIL")
    for _ in range(3):
        reply = client.ask(name, use_edns=0)
        assert reply.rcode() == dns.rcode.NOERROR and ttls(reply) == {30} and extended_errors(reply) == [3]
