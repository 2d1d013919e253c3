"""How often clients may ask and be answered, and how many connections they may hold; on both kinds of port."""

import socket
import time

import dns.flags
import dns.message
import pytest

from conftest import LCORE, loopback, socket_config
from lab.daemon import write_config, xdp_config
from support import Client, Subscriber, burst, until

NAME = "shared.lab.example"


@pytest.fixture(params=["port", "sockets"])
def front(request, lab, daemon, nsd):
    def config(**more):
        return xdp_config(lab.names, nsd, LCORE, **more) if request.param == "port" else socket_config(lab, nsd, **more)

    one = daemon(config())
    client = Subscriber(lab) if request.param == "port" else Client(loopback(lab), 5300)

    def change(**more):
        write_config(one.config, {**config(**more), "control": {"socket": str(one.socket)}})
        assert one.ctl("config", "reload")["reloaded"]

    return one, client, change


def queries(count, name=NAME, qtype="A"):
    made = [dns.message.make_query(name, qtype) for _ in range(count)]
    for number, query in enumerate(made):
        query.id = (made[0].id + number) % 65536  # two with the same would be a retransmission
    return made


@pytest.mark.quick
def test_queries_of_a_prefix(front):
    one, client, change = front
    assert len(burst(client, queries(100))) == 100
    change(limits={"queries": 20})
    replies = burst(client, queries(100))
    slipped = [r for r in replies if r.flags & dns.flags.TC]
    got = len(replies) - len(slipped)
    assert 20 <= got <= 24, got
    assert (100 - got) // 2 == len(slipped) and not any(r.answer for r in slipped)
    assert client.ask(NAME, tcp=True).answer, "whoever sends in its name does not silence a client"
    before = one.ctl("stats")
    assert before["dropped"]["rate"] == 100 - len(replies) and before["rate_queries"] == 100 - got
    assert before["slipped"] == len(slipped) and before["rate_table_full"] == 0
    change(limits={"queries": 0})
    assert len(burst(client, queries(100))) == 100


def test_errors_of_a_prefix(front):
    one, client, change = front
    change(limits={"errors": 10})
    refused = [dns.message.make_query(NAME, "A", flags=0) for _ in range(50)]
    assert 10 <= len(burst(client, refused)) <= 12
    assert len(burst(client, queries(50))) == 50, "answers are no errors"
    assert client.ask("version.bind", "TXT", rdclass="CH", tcp=True).rcode() != 0, "over TCP they are told"
    assert one.ctl("stats")["rate_errors"] >= 38


def test_same_answers_of_a_prefix_slip_to_tcp(front):
    one, client, change = front
    client.ask(NAME)
    change(limits={"responses": 10, "slip": 2})
    replies = burst(client, queries(50))
    whole = [r for r in replies if not r.flags & dns.flags.TC]
    slipped = [r for r in replies if r.flags & dns.flags.TC]
    assert 10 <= len(whole) <= 12 and all(r.answer for r in whole)
    assert 18 <= len(slipped) <= 20 and not any(r.answer for r in slipped)
    assert client.ask(NAME, tcp=True).answer, "and there it is"
    stats = one.ctl("stats")
    assert stats["slipped"] == len(slipped) and stats["rate_responses"] == 50 - len(whole)
    # Names at random under one that denies them all are one answer.
    denied = [q for i in range(50) for q in queries(1, f"r{i}.lab.example")]
    change(limits={})
    for q in denied:
        client.ask(q.question[0].name)
    change(limits={"responses": 10, "slip": 0})
    assert 10 <= len(burst(client, denied)) <= 12
    received = one.ctl("stats")
    assert received["misses"] == received["woken"] + received["abandoned"]


def test_fetches_of_a_prefix(front):
    one, client, change = front
    change(limits={"fetches": 10})
    client.ask(NAME)
    replies = burst(client, [q for i in range(40) for q in queries(1, f"f{i}.wild.lab.example")])
    assert len(replies) == 40
    answered = [r for r in replies if r.answer]
    assert 9 <= len(answered) <= 12 and all(r.rcode() == 2 for r in replies if not r.answer)
    assert len(burst(client, queries(50))) == 50, "what is cached costs no fetch"
    assert one.ctl("stats")["limited"] == 40 - len(answered)


def test_connections_of_a_client(front):
    one, client, change = front
    change(tcp={"per-client": 5, "connections": 8, "idle": "1s"})
    held = [client.socket(socket.SOCK_STREAM) for _ in range(7)]

    def alive(s):
        wire = queries(1)[0].to_wire()
        try:
            s.sendall(len(wire).to_bytes(2, "big") + wire)
            return bool(s.recv(2))
        except OSError:
            return False

    assert [alive(s) for s in held] == [True] * 5 + [False] * 2
    assert one.ctl("stats")["tcp"]["refused"] == 2
    started = time.monotonic()
    held[0].settimeout(5)
    while held[0].recv(4096):
        pass
    assert 0.5 < time.monotonic() - started < 4, "the idle timeout"
    assert until(lambda: one.ctl("stats")["tcp"]["timeouts"] == 5)
    for s in held:
        s.close()
    assert client.ask(NAME, tcp=True).answer
