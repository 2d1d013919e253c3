"""1,000 clients ask one cold name at once (S18 of tests/SCENARIOS.md)."""

import random
import selectors

import dns.message
import pytest

from conftest import LCORE, NOBODY, loopback, socket_config
from lab.children import run
from lab.daemon import xdp_config
from support import Client, Subscriber, addresses, until
from upstream import Script

NAME = "crowd.script.example."
CLIENTS = 1000


@pytest.mark.quick
@pytest.mark.parametrize("kind", ["port", "sockets"])
def test_one_fan_out_and_a_right_answer_for_each(lab, daemon, upstreams, kind):
    for i, upstream in enumerate(upstreams, 1):
        upstream.scripts[NAME] = Script((f"{NAME} 300 IN A 192.0.2.{i}",), delay=0.25)
    endpoints = [upstream.endpoint for upstream in upstreams]
    if kind == "port":
        one = daemon(xdp_config(lab.names, endpoints, LCORE))
        clients = [Subscriber(lab, bind=address) for address in more_addresses(lab)]
    else:
        one = daemon(socket_config(lab, endpoints), NOBODY)
        clients = [Client(loopback(lab), 5300, bind=f"127.0.{lab.names.number}.{100 + i}") for i in range(10)]
    crowd = [Member(client, seed) for seed in range(CLIENTS // 10) for client in clients]
    before = one.ctl("stats")
    for member in crowd:
        member.send()
    unanswered = collect(crowd)
    after = one.ctl("stats")

    assert unanswered == 0
    assert [member.wrong() for member in crowd if member.wrong()] == []
    assert all(upstream.asked[NAME] <= 1 for upstream in upstreams)
    difference = {key: after[key] - before[key] for key in ("received", "misses", "coalesced", "hits")}
    assert difference["received"] == CLIENTS
    assert difference["misses"] - difference["coalesced"] == 1, difference
    assert until(lambda: one.ctl("cache", "lookup", NAME, "A").get("revision") == 1)
    assert one.ctl("stats")["upstream_queries"] - before["upstream_queries"] == 3


class Member:
    """One client: an ID, a way of writing the name, EDNS or not, all its own."""

    def __init__(self, client, seed):
        chance = random.Random(f"{client.bind} {seed}")
        name = "".join(chance.choice((c.lower(), c.upper())) for c in NAME)
        self.edns = chance.random() < 0.5
        self.query = dns.message.make_query(name, "A", use_edns=0 if self.edns else -1, payload=1232)
        self.query.id = chance.randrange(65536)
        self.wire = self.query.to_wire()
        self.socket = client.socket()
        self.reply = None

    def send(self):
        self.socket.send(self.wire)

    def wrong(self):
        """What is wrong with the reply, or nothing."""
        parsed = dns.message.from_wire(self.reply)
        if parsed.id != self.query.id:
            return "another client's ID"
        if self.reply[12:12 + len(NAME) + 5] != self.wire[12:12 + len(NAME) + 5]:
            return "the question is not echoed byte by byte"
        if (parsed.edns == 0) != self.edns:
            return "EDNS without having been asked, or the other way round"
        if not set(addresses(parsed)) <= {"192.0.2.1", "192.0.2.2", "192.0.2.3"} or not addresses(parsed):
            return f"addresses {addresses(parsed)}"
        return ""


def collect(crowd):
    """Receives for up to three seconds; returns how many members got nothing."""
    waiting = selectors.DefaultSelector()
    for member in crowd:
        waiting.register(member.socket, selectors.EVENT_READ, member)
    missing = len(crowd)
    while missing:
        ready = waiting.select(3)
        if not ready:
            break
        for key, _ in ready:
            key.data.reply = key.data.socket.recv(4096)
            waiting.unregister(key.fileobj)
            missing -= 1
    for member in crowd:
        member.socket.close()
    waiting.close()
    return missing


def more_addresses(lab):
    """Ten subscribers, 198.18.N.101 to 110."""
    names = lab.names
    more = [f"198.18.{names.number}.{100 + i}" for i in range(1, 11)]
    for address in more:
        run(["ip", "-n", names.namespace, "addr", "replace", f"{address}/24", "dev", names.sub])
    return more
