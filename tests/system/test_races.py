"""Every answer is right while servers race, an operator flushes and reloads, and others ask: the whole daemon, end to end."""

import itertools
import random
import re
import signal
import subprocess
import time

import pytest

from conftest import LCORE, NOBODY, loopback, socket_config
from judge import Judge
from lab.daemon import write_config, xdp_config
from racers import NAMES, Racers, name_of
from support import Client, Subscriber, until

SECONDS = 18
THOROUGH = 2  # seconds between two actions that empty the whole cache, on average
LEAST_CHECKED = 1000
LOAD_NAMES, LOAD_RATE = 500, 500  # names, questions a second


@pytest.fixture
def racers(lab):
    one = Racers([[f"127.0.{lab.names.number}.{first + i}" for i in (1, 2, 3)] for first in (30, 40)], 5302, seed=1)
    yield one
    one.close()


@pytest.fixture(params=["port", "sockets"])
def scene(request, lab, daemon, racers):
    """What runs, who asks it, and its configuration with one of the two sets of servers."""
    def config(set_):
        if request.param == "port":
            return xdp_config(lab.names, racers.endpoints[set_], LCORE)
        return socket_config(lab, racers.endpoints[set_])

    if request.param == "port":
        return daemon(config(0)), Subscriber(lab), config
    return daemon(config(0), NOBODY), Client(loopback(lab), 5300), config


@pytest.mark.timeout(90)
def test_every_answer_is_right_while_everything_happens_at_once(lab, scene, racers):
    one, client, config = scene
    judge = Judge(client, racers, seed=2)
    load = start_load(lab, client)
    operator = Operator(one, judge, config)
    judge.start()
    try:
        operator.work(SECONDS)
    finally:
        judge.stop()
    stats, loaded = one.ctl("stats"), completed(load)
    print(f"{judge.checked} answers checked: {judge.merged} merged, {judge.denials} denials, {judge.stale} stale; "
          f"{judge.failures} failures and {judge.unanswered} unanswered besides; {operator.flushes} flushes, "
          f"{operator.reloads} reloads; {racers.asked} questions to the servers; {loaded} answers to dnsperf; "
          + ", ".join(f"{key} {stats[key]}" for key in ("merged", "superseded", "disagreements", "late", "cancelled")))
    assert not judge.complaints, "\n".join([f"{len(judge.complaints)} of {judge.checked} answers:", *judge.complaints[:10]])
    assert judge.checked >= LEAST_CHECKED and judge.merged and judge.denials
    assert operator.flushes >= 5 and operator.reloads >= 2
    assert stats["merged"] and stats["superseded"] and stats["disagreements"]
    assert judge.unanswered + judge.failures < judge.checked / 5
    assert loaded > LOAD_NAMES


class Operator:
    """Flushes and reloads, and tells the judge what was acknowledged."""

    def __init__(self, one, judge, config):
        self.flushes = self.reloads = 0
        self._one, self._judge, self._config = one, judge, config
        self._chance = random.Random(3)
        self._set = 0

    def work(self, seconds):
        end = time.monotonic() + seconds
        # What empties the cache whole comes seldom: answers have to live for long enough to expire, too.
        thorough = itertools.cycle((self._reload, self._flush_all, self._hang_up, self._flush_zone, self._reload_nonsense))
        due = time.monotonic() + THOROUGH
        while time.monotonic() < end or (self._has_hardly_begun() and time.monotonic() < end + seconds):
            time.sleep(self._chance.uniform(0, 0.3))
            if time.monotonic() < due:
                self._flush_name()
            else:
                next(thorough)()
                due = time.monotonic() + self._chance.uniform(0.5, 1.5) * THOROUGH

    def _has_hardly_begun(self):
        """On a machine that is busy with other things."""
        return self.flushes < 10 or self.reloads < 2

    def _flush_name(self):
        name = self._chance.randrange(NAMES)
        self._flush(name, name_of(name))

    def _flush_all(self):
        self._flush(None, "--all")

    def _flush_zone(self):
        self._flush(None, "--zone", "race.example")

    def _flush(self, name, *arguments):
        begun = time.time_ns()
        assert "flushed" in self._one.ctl("cache", "flush", *arguments)
        self._judge.flushed(name, begun)
        self.flushes += 1

    def _reload(self):
        begun = self._change()
        assert self._one.ctl("config", "reload") == {"reloaded": True, "changed": ["upstreams"], "needs_restart": []}
        self._acknowledged(begun)

    def _hang_up(self):
        """Here the log has the acknowledgement."""
        before, begun = self._acknowledgements(), self._change()
        self._one.process.send_signal(signal.SIGHUP)
        assert until(lambda: self._acknowledgements() > before)
        self._acknowledged(begun)

    def _reload_nonsense(self):
        self._one.config.write_text("upstreams: nonsense\n")
        assert "error" in self._one.ctl("config", "reload")
        self._write()

    def _change(self):
        self._set = 1 - self._set
        self._write()
        self._judge.expect_any_set()
        return time.time_ns()

    def _acknowledged(self, begun):
        self._judge.reloaded(self._set, begun)
        self.reloads += 1

    def _write(self):
        write_config(self._one.config, {**self._config(self._set), "control": {"socket": str(self._one.socket)}})

    def _acknowledgements(self):
        return self._one.log.read_text().count("reloaded; changed")


def start_load(lab, client):
    queries = lab.folder / "load"
    queries.write_text("".join(f"l{i}.race.example A\n" for i in range(LOAD_NAMES)))
    command = ["dnsperf", "-s", client.address, "-p", str(client.port), "-d", str(queries), "-l", str(SECONDS), "-Q", str(LOAD_RATE)]
    if isinstance(client, Subscriber):
        command = lab.inside(*command)
    log = lab.folder / "dnsperf.log"
    return lab.children.start(command, log), log


def completed(load):
    process, log = load
    try:
        process.wait(SECONDS + 15)
    except subprocess.TimeoutExpired:
        process.kill()
    return int(re.search(r"completed:\s+(\d+)", log.read_text())[1])
