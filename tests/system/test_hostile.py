"""Upstream servers that attack, break or dawdle, beside two that are well: what clients see is what the two say."""

import contextlib
import os
import pathlib
import random
import time
from concurrent.futures import ThreadPoolExecutor

import dns.flags
import dns.rcode
import dns.rrset
import pytest

from conftest import NOBODY, loopback, socket_config
from hostile import Hostile, reply_to, send_tcp
from support import Client, addresses, is_sanitized, until
from upstream import Script

RIGHT = "192.0.2.200"  # what tests/system/upstream.py gives to every name
WRONG = "203.0.113.66"
MOST_KIB = 8 << 10  # that a hostile server may leave behind


class Scene:
    """millraced, with the hostile server in front of two good ones."""

    def __init__(self, lab, daemon, good, hostile, warm=True, **config):
        self.hostile = hostile
        servers = config.pop("servers", [hostile.endpoint, *(server.endpoint for server in good)])
        self.one = daemon(socket_config(lab, servers, merge={"policy": "union"}, **config), NOBODY)
        self.client = Client(loopback(lab), 5300)
        self._asked = 0
        if warm:
            self.ask(20)  # whatever is allocated once
        self._before = self._held()

    def ask(self, count, most=0.5, right=(RIGHT,)):
        """So many names at once, over UDP and TCP by turns; each is answered right, and in time."""
        first, self._asked = self._asked, self._asked + count

        def one(i):
            started = time.monotonic()
            reply = self.client.ask(f"n{i}.hostile.example.", tcp=i % 4 == 3)
            return addresses(reply), time.monotonic() - started

        with ThreadPoolExecutor(16) as pool:
            results = list(pool.map(one, range(first, first + count)))
        assert {tuple(found) for found, _ in results} == {tuple(right)}
        slowest = max(seconds for _, seconds in results)
        assert slowest < most, f"the slowest of {count} took {slowest:.2f} s"

    def upstream(self):
        """What millraced knows of the hostile one."""
        return self.one.ctl("status")["upstreams"][0]

    def settle(self):
        """Nothing is left: no Fetch, no descriptor, no memory to speak of."""
        assert self.hostile.asked > 0
        assert until(lambda: self.one.ctl("inflight")["live"] == 0), self.one.ctl("inflight")
        files, memory = self._before
        assert until(lambda: self._held()[0] <= files + 2), (self._held(), self._before)
        # A sanitizer keeps what is freed for a while; it looks for leaks itself, at the end.
        grown = self._held()[1] - memory
        assert grown < MOST_KIB or is_sanitized(self.one), f"{grown} KiB more than before"
        assert self.one.process.poll() is None
        # But for a probe.
        assert all(upstream["outstanding"] <= 1 for upstream in self.one.ctl("status")["upstreams"])

    def _held(self):
        """Descriptors, but for sockets without a port, which wait for their next question; and KiB of memory, but for what
        the cache accounts for: the answers are in it, and a shard for each of the first names."""
        proc = pathlib.Path(f"/proc/{self.one.process.pid}")
        bound = "".join((proc / "net" / table).read_text() for table in ("udp", "udp6", "tcp", "tcp6", "unix"))
        files = 0
        for file in (proc / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed just now
                kind, _, inode = os.readlink(file).partition(":")
                files += kind != "socket" or f" {inode.strip('[]')} " in bound
        cached = self.one.ctl("status")["cache"]["bytes"] // 1024
        return files, int((proc / "status").read_text().partition("VmRSS:")[2].split()[0]) - cached


@pytest.fixture
def scene(lab, daemon, upstreams):
    made = []

    def make(on_udp, on_tcp=None, **config):
        made.append(Hostile(f"127.0.{lab.names.number}.31", 5302, on_udp, on_tcp))
        return Scene(lab, daemon, upstreams[:2], made[-1], **config)

    yield make
    for hostile in made:
        hostile.close()


def right_over_tcp(connection, query):
    send_tcp(connection, reply_to(query, RIGHT).to_wire())


def test_a_flood_of_wrong_ids(scene):
    """Thousands a second at each question's port; the true server answers over TCP."""
    def flood(server, query, client):
        forged = bytearray(reply_to(query, WRONG).to_wire())
        end = time.monotonic() + 3
        while time.monotonic() < end and server.sleep(0.005):
            for _ in range(20):
                forged[0:2] = random.randbytes(2) if server.asked % 2 else ((query.id + 1) & 0xffff).to_bytes(2, "big")
                if forged[0:2] != query.id.to_bytes(2, "big"):
                    server.send(bytes(forged), client)

    s = scene(flood, right_over_tcp)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        s.ask(4, most=1)
        time.sleep(0.2)
    stats = s.one.ctl("stats")
    assert s.hostile.sent > 500, "or it was no flood"
    assert stats["mismatched"] >= 20 and stats["upstream_tcp"] >= 10
    assert s.upstream()["failures"] == s.upstream()["timeouts"] == 0, "a forger cannot hurt a server's name"
    assert s.upstream()["breaker"] == "closed"
    s.settle()


def test_a_flood_at_a_server_without_tcp(scene):
    """A forger cannot have it put aside."""
    def flood(server, query, client):
        forged = ((query.id + 1) & 0xffff).to_bytes(2, "big") + reply_to(query, WRONG).to_wire()[2:]
        for _ in range(100):
            server.send(forged, client)

    s = scene(flood)
    s.ask(60)
    assert s.one.ctl("stats")["upstream_tcp"] >= 10
    assert s.upstream()["failures"] == s.upstream()["timeouts"] == 0 and s.upstream()["breaker"] == "closed"
    s.settle()


def test_one_that_never_answers(scene):
    s = scene(lambda server, query, client: None)
    s.ask(60)
    s.settle()


def test_one_that_answers_after_all_is_over(scene):
    def dawdle(server, query, client):
        if server.sleep(4):
            server.send(reply_to(query, WRONG).to_wire(), client)

    s = scene(dawdle)
    s.ask(40)
    time.sleep(4.2)
    s.ask(4)
    s.settle()


def test_one_that_closes_tcp_in_the_middle_of_a_message(scene):
    def truncated(server, query, client):
        reply = reply_to(query, WRONG, dns.flags.TC)
        server.send(reply.to_wire(), client)

    def half(connection, query):
        message = reply_to(query, WRONG).to_wire()
        connection.sendall(len(message).to_bytes(2, "big") + message[:-3])

    s = scene(truncated, half)
    s.ask(40)
    assert s.one.ctl("stats")["upstream_tcp"] > 0
    assert s.upstream()["breaker"] == "closed", "it is alive"
    s.settle()


def test_only_servers_that_close_tcp_in_the_middle(lab, scene):
    """Nobody has an answer: SERVFAIL at once, not at the deadline."""
    def truncated(server, query, client):
        server.send(reply_to(query, WRONG, dns.flags.TC).to_wire(), client)

    s = scene(truncated, lambda connection, query: connection.sendall(b"\x01\x00half"), warm=False,
              servers=[f"127.0.{lab.names.number}.31:5302"])
    started = time.monotonic()
    first, later = (s.client.ask("none.hostile.example.", use_edns=0) for _ in range(2))
    assert first.rcode() == later.rcode() == dns.rcode.SERVFAIL and time.monotonic() - started < 0.5
    assert [extended_error(reply) for reply in (first, later)] == [22, 13], "nobody reachable; then: cached"
    s.settle()


def extended_error(reply):
    return next(int.from_bytes(option.data[:2], "big") if hasattr(option, "data") else option.code
                for option in reply.options if option.otype == 15)


def garbage_of(query):
    """Octets without sense, and messages that begin well."""
    whole = reply_to(query, WRONG).to_wire()
    counts = whole[:6] + b"\xff\xff" + whole[8:]
    itself = whole[:-16] + b"\xc0" + bytes([len(whole) - 16 & 0xff]) + whole[-14:]  # an owner that points at itself
    return [b"", b"\x00", random.randbytes(11), random.randbytes(600), whole[:-1], counts, itself,
            query.to_wire(), whole[:12], whole[:4] + bytes(8)]


def test_garbage_and_then_the_answer(scene):
    def babble(server, query, client):
        for message in garbage_of(query):
            server.send(message, client)
        server.sleep(0.01)
        server.send(reply_to(query, RIGHT).to_wire(), client)

    s = scene(babble)
    s.ask(40)
    assert until(lambda: s.upstream()["replies"] >= 20), s.upstream()
    assert s.one.ctl("stats")["malformed"] > 100
    assert s.upstream()["failures"] == s.upstream()["timeouts"] == 0, "bad packets alone say nothing of the server"
    s.settle()


def test_nothing_but_garbage(scene):
    def babble(server, query, client):
        for message in garbage_of(query):
            server.send(message, client)

    s = scene(babble, lambda connection, query: send_tcp(connection, random.randbytes(300)))
    s.ask(40)
    assert s.upstream()["failures"] == 0
    s.settle()


def other_case(query, address):
    reply = reply_to(query, address).to_wire()
    return bytes(c ^ 0x20 if 12 <= at < 14 + 10 and chr(c).isalpha() else c for at, c in enumerate(reply))


def test_one_that_does_not_keep_the_case(scene):
    """Over UDP it may be a forgery; over TCP it is the server's way."""
    s = scene(lambda server, query, client: server.send(other_case(query, WRONG), client),
              lambda connection, query: send_tcp(connection, other_case(query, RIGHT)))
    s.ask(40)
    assert until(lambda: s.upstream()["replies"] >= 20), s.upstream()
    stats = s.one.ctl("stats")
    assert stats["mismatched"] >= 20 and stats["upstream_tcp"] >= 20
    assert s.upstream()["failures"] == s.upstream()["timeouts"] == 0
    assert any(name != name.lower() for name in s.hostile.names)
    s.settle()


def test_one_that_is_asked_without_random_case(lab, scene):
    hostile = {"address": f"127.0.{lab.names.number}.31:5302", "randomise-case": False}
    s = scene(lambda server, query, client: server.send(reply_to(query, RIGHT).to_wire(), client), servers=[hostile])
    s.ask(20)
    assert s.hostile.names == [name.lower() for name in s.hostile.names]
    assert s.one.ctl("stats")["upstream_tcp"] == 0
    s.settle()


def test_records_of_other_names(scene):
    """Nothing beside the question's own records gets to a client or into the cache."""
    def poison(server, query, client):
        reply = reply_to(query, RIGHT)
        victim = dns.rrset.from_text("victim.example.", 300, "IN", "A", WRONG)
        reply.answer += [victim, dns.rrset.from_text("victim.example.", 300, "IN", "CNAME", "evil.example.")]
        reply.authority += [dns.rrset.from_text("example.", 300, "IN", "NS", "ns.evil.example."), victim]
        reply.additional += [dns.rrset.from_text("ns.evil.example.", 300, "IN", "A", WRONG), victim]
        server.send(reply.to_wire(), client)

    s = scene(poison)
    s.ask(20)
    reply = s.client.ask("n0.hostile.example.", use_edns=0)
    assert addresses(reply) == [RIGHT] and not reply.authority and not reply.additional
    for name in ("victim.example", "ns.evil.example", "evil.example"):
        assert not s.one.ctl("cache", "lookup", name, "A")["found"]
    s.settle()


# Servers that are not as they should be, and alone: nobody else has the answer.

@pytest.fixture
def alone(lab, scene):
    def make(on_udp, on_tcp=None):
        return scene(on_udp, on_tcp, warm=False, servers=[f"127.0.{lab.names.number}.31:5302"])

    return make


def test_a_header_with_tc(alone):
    s = alone(lambda server, query, client: server.send(query.id.to_bytes(2, "big") + b"\x83\x80" + bytes(8), client),
              right_over_tcp)
    s.ask(10)
    assert s.one.ctl("stats")["upstream_tcp"] == 10
    s.settle()


def test_one_without_edns(alone):
    """FORMERR in a header alone, as old servers say it; then they are known."""
    def old(server, query, client):
        if query.edns >= 0:
            server.send(query.id.to_bytes(2, "big") + b"\x80\x01" + bytes(8), client)
        else:
            server.send(reply_to(query, RIGHT).to_wire(), client)

    s = alone(old)
    s.ask(1)
    s.ask(20)
    assert s.one.ctl("stats")["upstream_without_edns"] == 1
    assert s.upstream()["edns"] == "lacking"
    s.settle()


def test_one_that_denies_names_in_mixed_case(alone):
    def says(query):
        name = query.question[0].name.to_text()
        reply = reply_to(query, RIGHT)
        if name != name.lower():
            reply.answer = []
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire()

    s = alone(lambda server, query, client: server.send(says(query), client),
              lambda connection, query: send_tcp(connection, says(query)))
    s.ask(1, most=1)
    s.ask(20)
    assert s.upstream()["letter_case"] == "denied"
    assert s.one.ctl("stats")["upstream_tcp_tries"] == 1, "known from then on"
    s.settle()


def test_one_that_is_heard_over_tcp_alone(alone):
    s = alone(lambda server, query, client: None, right_over_tcp)
    for i in range(3):
        assert addresses(s.client.ask(f"n{i}.hostile.example.", tcp=True)) == [RIGHT]
    assert s.one.ctl("stats")["upstream_tcp_tries"] == 2, "then it is known"
    assert s.upstream()["letter_case"] == "unanswered"
    s.settle()


def test_a_silent_name_costs_six_datagrams(lab, daemon, upstreams):
    """Of servers that are known to speak EDNS; `upstreams` never reply over TCP."""
    silent = Script(silent=10**6)
    for upstream in upstreams:
        upstream.scripts["silent.script.example."] = silent
    one = daemon(socket_config(lab, [upstream.endpoint for upstream in upstreams]), NOBODY)
    client = Client(loopback(lab), 5300)
    for i in range(10):
        client.ask(f"n{i}.script.example.", use_edns=0)
    assert until(lambda: all(u["edns"] == "spoken" for u in one.ctl("status")["upstreams"]))
    client.ask("silent.script.example.", tcp=True)
    assert sum(upstream.asked["silent.script.example."] for upstream in upstreams) <= 6
    assert one.ctl("stats")["upstream_spared"] >= 1
