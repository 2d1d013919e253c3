"""Health, what the announcer makes of it, and the drill of two appliances behind a router."""

import json
import os
import pathlib
import signal
import subprocess

import pytest

from conftest import BUILD, NOBODY, ROOT, socket_config
from support import until

ANNOUNCE, DRILL = ROOT / "deploy/anycast/announce", ROOT / "deploy/anycast/drill"
RATE = 300


@pytest.fixture
def one(lab, daemon, upstreams):
    return daemon(socket_config(lab, [upstreams[0].endpoint]), NOBODY)


def is_healthy(one):
    done = one.ctl_process("health")
    assert done.returncode == (0 if json.loads(done.stdout)["healthy"] else 1)
    return done.returncode == 0


def test_the_announcer_follows_health_drain_and_death(lab, one):
    one.ctl("drain")
    told = lab.folder / "told"
    told.write_text("")
    last = lambda: told.read_text()[-1:]  # noqa: E731
    announcer = lab.children.start([ANNOUNCE, "--socket", one.socket, "--linger", "0", "--interval", "0.1",
                                    "--up", f"printf + >>{told}", "--down", f"printf -- - >>{told}"], one.folder / "announcer")
    assert until(lambda: last() == "-", 20)
    one.ctl("resume")
    assert until(lambda: is_healthy(one), 20)
    assert until(lambda: last() == "+", 20)
    assert one.ctl("drain") == {"drained": True}
    assert one.ctl("status")["health"] == {"healthy": False, "reason": "drained"}
    assert until(lambda: last() == "-", 20)
    assert one.ctl("resume") == {"drained": False}
    assert until(lambda: last() == "+", 20)
    one.process.send_signal(signal.SIGKILL)
    assert until(lambda: last() == "-", 20)
    one.wait()
    one.start()
    assert until(lambda: last() == "+", 20)
    announcer.send_signal(signal.SIGTERM)
    assert announcer.wait(10) == 0
    assert last() == "-"


def test_without_upstreams_it_is_not_healthy(one, upstreams):
    assert until(lambda: is_healthy(one), 20)
    one.ctl("upstream", "down", upstreams[0].endpoint)
    assert until(lambda: not is_healthy(one), 20)
    assert one.ctl("health")["reason"] == "no upstream of the first group is up"
    one.ctl("upstream", "auto", upstreams[0].endpoint)
    assert until(lambda: is_healthy(one), 20)


def test_a_command_that_fails_is_told_and_tried_again(lab, one):
    log, mark = one.folder / "announcer", lab.folder / "mark"
    mark.unlink(missing_ok=True)
    lab.children.start([ANNOUNCE, "--socket", one.socket, "--up", "true", "--down", f"[ -e {mark} ] && touch {mark}-seen"], log)
    assert until(lambda: "ended with 1" in log.read_text())
    mark.touch()
    assert until(pathlib.Path(f"{mark}-seen").exists)
    assert log.read_text().count("ended with 1") == 1


@pytest.mark.skipif(not os.environ.get("MILLRACE_LONG"), reason="a minute: MILLRACE_LONG=1")
@pytest.mark.timeout(300)
def test_the_drill_loses_nothing_on_drain_and_little_on_kill():
    done = subprocess.run([DRILL, "--build", BUILD, "--rate", str(RATE), "--json"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=280, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    rows = {row["event"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert list(rows) == ["quiet", "drain", "kill", "cut"]
    for row in rows.values():
        assert row["asked"] > RATE
    for event in ("quiet", "drain"):
        assert (rows[event]["lost"], rows[event]["servfail"]) == (0, 0)
    assert rows["kill"]["lost"] <= RATE * (rows["kill"]["withdrawn_after_s"] + 1)  # and what was in flight
