"""The interface below a port is removed while millraced serves: it says so, and goes on with its other ports."""

import os

import pytest

from conftest import end
from lab import WWW
from lab.children import run
from lab.daemon import xdp_config
from support import Subscriber, addresses, until

ALL = sorted(sum(WWW.values(), []))
CPUS = sorted(os.sched_getaffinity(0))[:2]


@pytest.fixture
def veth(lab):
    """A pair of its own, to be removed by the test."""
    name, peer = f"mr-away{lab.names.number}", f"mr-peer{lab.names.number}"
    run(["ip", "link", "del", name])
    must("ip", "link", "add", name, "type", "veth", "peer", "name", peer)
    for end_of_it in (name, peer):
        must("ip", "link", "set", end_of_it, "up")
    yield name
    run(["ip", "link", "del", name])


def must(*command):
    done = run(command)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(len(CPUS) < 2, reason="two ports need two CPUs")
@pytest.mark.parametrize("driver", ["net_af_xdp", "net_af_packet"])
def test_an_interface_that_is_removed_takes_its_port_alone_with_it(lab, daemon, nsd, veth, driver):
    config = xdp_config(lab.names, nsd, CPUS[0])
    config["ports"][0]["idle"] = "sleep"
    lost = f"{driver}1,iface={veth}"
    config["ports"].append({"device": lost, "lcores": [CPUS[1]], "addresses": [f"198.19.{lab.names.number}.54"], "idle": "sleep"})
    one = daemon(config)
    client = Subscriber(lab)
    seen = lambda: one.ctl("ports")["ports"]  # noqa: E731
    answers = lambda: addresses(client.ask("www.lab.example")) == ALL  # noqa: E731
    assert until(answers, 20) and [port["state"] for port in seen().values()] == ["serving"] * 2
    must("ip", "link", "del", veth)
    assert until(lambda: seen()[lost]["state"] == "removed", 30)
    assert until(lambda: "restart millraced when the device is there again" in one.log.read_text())
    of_it = lambda: [line for line in one.log.read_text().splitlines() if lost in line or "healthy" not in line]  # noqa: E731
    log = of_it()
    assert sum(f"port {lost}: its device is gone" in line for line in log) == 1
    assert seen()[lost]["link"] == "down" and seen()[lost]["removals"] == 1
    assert until(answers) and seen()[config["ports"][0]["device"]]["state"] == "serving"
    for _ in range(20):
        seen()
    assert of_it() == log, "nothing more is said of it, whoever asks"
    end(one)
