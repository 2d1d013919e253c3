"""The configuration file read again: SIGHUP and `config reload`."""

import signal

import dns.rcode
import pytest

from conftest import NOBODY, loopback, socket_config
from lab.daemon import write_config
from support import addresses, until
from upstream import tell_apart

NAME = "reload.script.example."


@pytest.fixture
def one(lab, daemon, upstreams):
    tell_apart(upstreams, NAME)
    return daemon(config(lab, upstreams[:1]), NOBODY)


def config(lab, upstreams, **more):
    return socket_config(lab, [upstream.endpoint for upstream in upstreams], **more)


def write(one, content):
    write_config(one.config, {**content, "control": {"socket": str(one.socket)}})


@pytest.mark.quick
def test_other_upstreams_answer_once_it_is_acknowledged(one, lab, local, upstreams):
    assert addresses(local.ask(NAME)) == ["192.0.2.1"]
    write(one, config(lab, upstreams[1:2]))
    assert one.ctl("config", "reload") == {"reloaded": True, "changed": ["upstreams"], "needs_restart": []}
    assert addresses(local.ask(NAME)) == ["192.0.2.2"]
    assert [row["address"] for row in one.ctl("status")["upstreams"]] == [upstreams[1].endpoint]


def test_a_hangup_does_the_same(one, lab, local, upstreams):
    assert addresses(local.ask(NAME)) == ["192.0.2.1"]
    write(one, config(lab, upstreams[2:], cache={"stale": "1h"}))
    one.process.send_signal(signal.SIGHUP)
    assert until(lambda: addresses(local.ask(NAME)) == ["192.0.2.3"])
    assert until(lambda: "reloaded; changed: upstreams, cache.stale" in one.last_lines())


def test_who_may_ask_and_the_cache_stays(one, lab, local, upstreams):
    local.ask(NAME)
    write(one, config(lab, upstreams[:1]) | {"allow": ["192.0.2.0/24"]})
    assert one.ctl("config", "reload")["changed"] == ["allow"]
    assert local.ask(NAME).rcode() == dns.rcode.REFUSED
    write(one, config(lab, upstreams[:1]))
    one.ctl("config", "reload")
    before = one.ctl("stats")["upstream_queries"]
    assert addresses(local.ask(NAME)) == ["192.0.2.1"]
    assert one.ctl("stats")["upstream_queries"] == before, "from the cache, which was not flushed"


def test_what_needs_a_restart_is_named_and_not_changed(one, lab, local, upstreams):
    write(one, config(lab, upstreams[:1], cache={"entries": 5}) | {"listen": [f"{loopback(lab)}:5399"]})
    assert one.ctl("config", "reload") == {"reloaded": True, "changed": [], "needs_restart": ["listen", "cache.entries"]}
    assert addresses(local.ask(NAME)) == ["192.0.2.1"]


@pytest.mark.parametrize("content, words", [
    ("upstreams: [\n", "well-formed YAML"),
    ("cash: 1\n", "unknown key"),
    (None, "expected a readable file"),
], ids=["not YAML", "unknown key", "no file"])
def test_a_bad_file_changes_nothing(one, local, content, words):
    assert addresses(local.ask(NAME)) == ["192.0.2.1"]
    one.config.unlink() if content is None else one.config.write_text(content)
    done = one.ctl_process("config", "reload")
    assert done.returncode == 1 and words in done.stdout and str(one.config) in done.stdout
    one.process.send_signal(signal.SIGHUP)
    assert until(lambda: "not reloaded" in one.last_lines())
    assert addresses(local.ask(NAME)) == ["192.0.2.1"]


def test_it_does_not_forward_to_itself_by_way_of_a_restart(one, lab, upstreams):
    """The endpoint that it still listens on is gone from the file, and stands there as an upstream."""
    write(one, {"listen": [f"{loopback(lab)}:5399"],
                "upstreams": [{"group": "default", "servers": [f"{loopback(lab)}:5300"]}]})
    done = one.ctl_process("config", "reload")
    assert done.returncode == 1 and "other than millraced itself" in done.stdout
    assert [row["address"] for row in one.ctl("status")["upstreams"]] == [upstreams[0].endpoint]
