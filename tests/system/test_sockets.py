"""Kernel sockets, no privileges, no EAL."""

import os
import time

import pytest

from lab.children import run
from support import until


@pytest.mark.quick
def test_dig(lab, sockets, local):
    for transport in ("+notcp", "+tcp"):
        assert until(lambda: len(run(["dig", transport, "+short", f"@{local.address}", "-p", local.port,
                                      "www.lab.example"]).stdout.split()) == 5)


def test_runs_as_nobody_without_capabilities(sockets):
    status = open(f"/proc/{sockets.process.pid}/status", encoding="ascii").read()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["65534"] * 4
    assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0


def test_eal_is_not_started(sockets):
    assert not {name for name in threads(sockets) if name.startswith(("eal-", "rte_", "telemetry"))}
    assert "EAL" not in sockets.log.read_text()


def test_eal_is_started_for_a_port(port):
    """So that the test above can fail."""
    assert {name for name in threads(port) if name.startswith(("eal-", "rte_", "telemetry"))}


def threads(one):
    tasks = f"/proc/{one.process.pid}/task"
    return {open(f"{tasks}/{task}/comm", encoding="ascii").read().strip() for task in os.listdir(tasks)}


def test_idle_it_sleeps(sockets):
    def ticks():
        fields = open(f"/proc/{sockets.process.pid}/stat", encoding="ascii").read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def spent_in_a_second():
        before = ticks()
        time.sleep(1)
        return ticks() - before

    # The first seconds may still hold what starting takes; a worker that polls is at 100 in every one.
    spent = [spent_in_a_second()]
    while min(spent) >= 20 and len(spent) < 10:
        spent.append(spent_in_a_second())
    assert min(spent) < 20, f"hundredths of a second of CPU in each second of idleness: {spent}"
