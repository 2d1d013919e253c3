"""Real servers that are stopped, slowed, refusing and restarted while clients ask: what RULES.md says of delays, stale data
and breakers.

Basic algorithm: a thread asks at a steady rate, whatever comes back, and keeps what became of each question. Names expire
after a second, so that popular ones are asked upstream again and again. Millrace forgets who has waited for its patience: an
answer that came is one in time, and the bound on the clock is only for answers that came by another way.
"""

import collections
import contextlib
import itertools
import os
import selectors
import signal
import time

import dns.message
import dns.rcode
import pytest

from conftest import NOBODY, loopback, socket_config
from real import Servers
from support import Beside, Client, addresses, until

RATE = 40  # questions a second
PATIENCE = 1.9  # seconds: fanout's default, the documented delay over UDP
SLACK = 3  # for a machine that is busy with other things
POPULAR = [f"popular-{i}.well.example." for i in range(5)]
FOLDERS = itertools.count()

Outcome = collections.namedtuple("Outcome", "name seconds reply")  # reply: None if there was none


class Load(Beside):
    """Asks for the names in turn from when the block is entered; `outcomes` is whole when it has been left."""

    def __init__(self, client, names):
        self.outcomes = []
        self._client, self._names = client, itertools.cycle(names) if isinstance(names, list) else names

    def beside(self):
        waiting, due, ends = selectors.DefaultSelector(), time.monotonic(), None
        while ends is None or (waiting.get_map() and time.monotonic() < ends):
            if self.leaving.is_set():
                ends = ends or time.monotonic() + PATIENCE + SLACK
            elif time.monotonic() >= due:
                due += 1 / RATE
                self._ask(waiting)
            for key, _ in waiting.select(0.005):
                self._note(waiting, key, dns.message.from_wire(key.fileobj.recv(4096)))
        for key in list(waiting.get_map().values()):
            self._note(waiting, key, None)
        waiting.close()

    def _ask(self, waiting):
        name, s = next(self._names), self._client.socket()
        s.send(dns.message.make_query(name, "A", use_edns=0).to_wire())
        waiting.register(s, selectors.EVENT_READ, (name, time.monotonic()))

    def _note(self, waiting, key, reply):
        waiting.unregister(key.fileobj)
        key.fileobj.close()
        name, began = key.data
        self.outcomes.append(Outcome(name, time.monotonic() - began, reply))


def check(outcomes):
    """Everybody has had the right answer, within the documented delay."""
    assert len(outcomes) > RATE / 2
    unanswered = [outcome for outcome in outcomes if outcome.reply is None or outcome.reply.rcode() != dns.rcode.NOERROR]
    assert not unanswered, unanswered[:5]
    assert all(addresses(outcome.reply) == ["192.0.2.7"] for outcome in outcomes)
    assert max(outcome.seconds for outcome in outcomes) < PATIENCE + SLACK


def is_stale(outcome):
    return [option.otype for option in outcome.reply.options] == [15]


@pytest.fixture
def zones(lab):
    """Every name below well.example, for a second; and a zone that nobody asks for."""
    files = {}
    for name in ("well.example", "other.example"):
        files[name] = lab.folder / f"{name}.zone"
        files[name].write_text("$TTL 1\n@ SOA ns hostmaster 1 3600 600 86400 1\n@ NS ns\n* A 192.0.2.7\n", encoding="ascii")
    return files


@pytest.fixture
def endpoints(lab):
    return [f"127.0.{lab.names.number}.{host}:5304" for host in (45, 46, 47)]


@pytest.fixture
def nsd(lab, zones):
    """Starts nsd with one of the zones for as long as the block lasts, and gives its process group."""

    @contextlib.contextmanager
    def start(endpoint, zone="well.example"):
        with Servers(lab, f"outage-{next(FOLDERS)}") as servers:
            address, number = endpoint.split(":")
            child = servers.nsd(address, int(number), {zone: zones[zone]})
            try:
                yield child.pid
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGCONT)

    return start


@pytest.fixture
def one(lab, daemon, endpoints):
    return daemon(socket_config(lab, endpoints), NOBODY)


@pytest.fixture
def client(lab):
    return Client(loopback(lab), 5300)


def rows(one):
    return one.ctl("upstream", "list")["upstreams"]


def check_counters(one):
    """States, counters and the log tell the same story."""
    found, log = rows(one), one.log.read_text(encoding="utf-8").rpartition(" ready: ")[2]  # other tests' daemons wrote before
    assert sum(row["opened"] for row in found) == one.ctl("stats")["breakers_opened"]
    for row in found:
        assert log.count(f"upstream {row['address']}: breaker open:") == row["opened"], log
        assert row["breaker"] == "closed" or row["opened"] > 0, row


def names():
    """A popular name, then one that nobody has asked for, and so on."""
    for i, popular in enumerate(itertools.cycle(POPULAR)):
        yield popular
        yield f"new-{i}.well.example."


def stopped(nsd, endpoint, one):
    """Does not answer, and does not go away either."""
    with nsd(endpoint) as group:
        yield
        os.killpg(group, signal.SIGSTOP)
        assert until(lambda: rows(one)[0]["breaker"] != "closed", 30), rows(one)
        os.killpg(group, signal.SIGCONT)
        assert until(lambda: rows(one)[0]["breaker"] == "closed", 30), rows(one)
        yield


def restarted(nsd, endpoint, one):
    with nsd(endpoint):
        yield
    assert until(lambda: rows(one)[0]["breaker"] != "closed", 30), rows(one)
    with nsd(endpoint):
        assert until(lambda: rows(one)[0]["breaker"] == "closed", 30), rows(one)
        yield


def slowed(nsd, endpoint, one):
    """Works for a twentieth of a second, then not for a third of one."""
    with nsd(endpoint) as group:
        yield
        before = rows(one)[0]["sent"]
        for _ in range(8):
            os.killpg(group, signal.SIGSTOP)
            time.sleep(0.33)
            os.killpg(group, signal.SIGCONT)
            time.sleep(0.05)
        assert rows(one)[0]["sent"] > before
        yield


def refusing(nsd, endpoint, one):
    """REFUSED is an answer about a name, never a verdict on the server."""
    with nsd(endpoint):
        yield
    with nsd(endpoint, "other.example"):
        before = rows(one)[0]["failures"]
        assert until(lambda: rows(one)[0]["failures"] > before + 20, 30), rows(one)
        assert until(lambda: rows(one)[0]["breaker"] == "closed", 30), rows(one)
    with nsd(endpoint):
        yield


@pytest.mark.parametrize("trouble", [stopped, restarted, slowed, refusing])
def test_clients_do_not_notice_one_server_in_trouble(one, client, nsd, endpoints, trouble):
    with nsd(endpoints[1]), nsd(endpoints[2]):
        story = trouble(nsd, endpoints[0], one)
        next(story)
        with Load(client, names()) as load:
            next(story)
        story.close()
        check(load.outcomes)
        assert not any(is_stale(outcome) for outcome in load.outcomes)
        check_counters(one)
        opened = [row["opened"] for row in rows(one)]
        assert opened[1:] == [0, 0] and (opened[0] > 0 or trouble in (slowed, refusing)), opened


def test_when_all_are_stopped_stale_is_served_and_refreshed(one, client, nsd, endpoints):
    with contextlib.ExitStack() as stack:
        groups = [stack.enter_context(nsd(endpoint)) for endpoint in endpoints]
        with Load(client, POPULAR) as before:
            assert until(lambda: one.ctl("stats")["refreshes"] > 0 and len(before.outcomes) > RATE)
        check(before.outcomes)
        assert not any(is_stale(outcome) for outcome in before.outcomes)
        for group in groups:
            os.killpg(group, signal.SIGSTOP)
        time.sleep(1.2)  # what is in the cache expires
        with Load(client, POPULAR) as outage:
            assert until(lambda: all(row["breaker"] != "closed" for row in rows(one)), 60), rows(one)
            asked = len(outage.outcomes)
            assert until(lambda: len(outage.outcomes) > asked + RATE, 30)
        check(outage.outcomes)
        stale = [outcome for outcome in outage.outcomes if is_stale(outcome)]
        assert len(stale) == len(outage.outcomes) and all(outcome.reply.answer[0].ttl == 30 for outcome in stale)
        stats = one.ctl("stats")
        assert stats["stale_hits"] + stats["stale_served"] == len(stale), stats
        at_once = sorted(outcome.seconds for outcome in stale[-RATE // 2:])
        assert at_once[len(at_once) // 2] < 1, "while no breaker is closed, nobody waits"
        check_counters(one)
        for group in groups:
            os.killpg(group, signal.SIGCONT)
        assert until(lambda: all(row["breaker"] == "closed" for row in rows(one)), 60), rows(one)
        fresh = [until(lambda name=name: (client.ask(name).answer[0].ttl <= 1), 20) for name in POPULAR]
        assert all(fresh), "what was stale is asked for afresh"
        check_counters(one)
