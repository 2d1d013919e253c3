"""What operators do while clients ask: none goes without an answer. bench/operations does it at a high rate, and measures."""

import pytest

from conftest import LCORE
from lab import Daemon
from lab.daemon import xdp_config
from steady import Steady
from support import stop, until

pytestmark = pytest.mark.timeout(180)

SELDOM = "1000000"
ACTS = {
    "reload": [["config", "reload"]],
    "set": [["config", "set", "cache.prefetch", "5"], ["config", "set", "limits.queries", "100000"]],
    "block": [["block", "add", "denied.example"], ["block", "remove", "denied.example"]],
    "dump": [["cache", "dump"]],
    "log": [["log-level", "error"], ["config", "set", "dnstap.sample", "1"], ["config", "set", "dnstap.sample", SELDOM], ["log-level", "info"]],
    "drain": [["drain"], ["resume"]],
}


@pytest.fixture(scope="module")
def one(lab, build, nsd):
    blocked, folder = lab.folder / "blocked", lab.folder / "operations"
    blocked.write_text("", encoding="ascii")
    folder.mkdir()
    run = Daemon(lab, build, xdp_config(
        lab.names, nsd, LCORE, cache={"file": str(folder / "cache")}, block=[{"file": str(blocked)}],
        dnstap={"to": f"file:{folder}/queries.dnstap", "sample": int(SELDOM)}), name="operations-daemon").start()
    run.blocked = blocked
    yield run
    stop(run)


def answers_come(one):
    """So that what is done next is done, and has been done, under load."""
    before = one.ctl("stats")["answered"]
    return until(lambda: one.ctl("stats")["answered"] >= before + 50, 60)


@pytest.mark.parametrize("act", ACTS)
def test_no_client_goes_without_an_answer(lab, one, act):
    one.blocked.write_text(f"{act}.example\n", encoding="ascii")  # so that a reload has something to do
    with Steady(lab) as clients:
        before = one.ctl("stats")
        assert answers_come(one)
        for words in ACTS[act]:
            said = one.ctl(*words)
            assert "error" not in said, said
            assert answers_come(one)
        after = one.ctl("stats")
    assert clients.count("lost") == 0 and clients.count("NOERROR") == clients.asked, clients.said
    assert after["misses"] == before["misses"], "none had to wait for an upstream"
    assert act != "log" or until(lambda: one.ctl("stats")["dnstap"]["written"] >= 50)
