"""What an operator sees of running questions: inflight, trace."""

import threading

import dns.message
import dns.rcode
import pytest

from conftest import NOBODY, loopback, socket_config
from support import Client, addresses, until
from upstream import Script

NAME = "seen.script.example."


@pytest.fixture
def one(lab, daemon, upstreams):
    delays = (0, 0.05, 0.3)
    for i, (upstream, delay) in enumerate(zip(upstreams, delays), 1):
        upstream.scripts[NAME] = Script((f"{NAME} 300 IN A 192.0.2.{i}",), delay=delay)
        upstream.scripts["silent.script.example."] = Script(silent=99)
    return daemon(socket_config(lab, [upstream.endpoint for upstream in upstreams]), NOBODY)


@pytest.mark.quick
def test_trace_shows_each_step_in_order(one, lab, upstreams):
    client = Client(loopback(lab), 5300)
    client.ask(NAME)
    until(lambda: one.ctl("status")["fetches"] == 0)
    traced = one.ctl("trace", NAME, "A")
    assert traced["generation"] == 2, "asked afresh"
    events = traced["events"]
    assert [e["at_ms"] for e in events] == sorted(e["at_ms"] for e in events)
    names = [e["event"] for e in events]
    assert names[0] == "started" and names[-1] == "over"
    assert names.count("sent") == 3 and names.count("answer") == 3
    published = [e["note"].split(":")[0] for e in events if e["event"] == "published"]
    assert published == ["(2, 0) accepted", "(2, 1) accepted"]
    assert {e["upstream"] for e in events if e["event"] == "answer"} == {u.endpoint for u in upstreams}
    assert names.index("answer") < names.index("published")
    assert addresses(client.ask(NAME)) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]


def test_trace_takes_over_who_waits_and_shows_the_wake(one, lab, upstreams):
    name = "late.script.example."
    for upstream in upstreams:
        upstream.scripts[name] = Script((f"{name} 300 IN A 192.0.2.1",), delay=0.4)
    reply = []
    client = Client(loopback(lab), 5300)
    asker = threading.Thread(target=lambda: reply.append(client.ask(name)))
    asker.start()
    assert until(lambda: one.ctl("status")["waiting"] == 1)
    events = one.ctl("trace", name, "A")["events"]
    asker.join()
    assert addresses(reply[0]) == ["192.0.2.1"]
    woken = [e["note"] for e in events if e["event"] == "woken"]
    assert len(woken) == 1 and woken[0].startswith(loopback(lab)[:4])


def test_trace_of_silence_lasts_to_the_deadline(one, upstreams):
    events = one.ctl("trace", "silent.script.example", "A")["events"]
    assert "sent again" in [e["event"] for e in events]
    ended = {e["upstream"] for e in events if e["event"] in ("failed", "cancelled")}
    assert ended == {upstream.endpoint for upstream in upstreams}
    assert events[-1]["at_ms"] >= 2900


def test_inflight_lists_what_is_asked(one, lab, upstreams):
    client = Client(loopback(lab), 5300)
    asker = threading.Thread(target=client.send, args=(_query("silent.script.example."),), kwargs={"timeout": 3})
    asker.start()
    assert until(lambda: one.ctl("inflight")["live"] == 1)
    row = one.ctl("inflight")["fetches"][0]
    asker.join()
    assert row["name"] == "silent.script.example." and row["type"] == "A" and row["state"] == "asking"
    assert row["generation"] == 1 and row["waiters"] == 1 and row["age_ms"] < 1000
    assert row["upstreams"][upstreams[0].endpoint] == "asked"
    assert until(lambda: one.ctl("inflight") == {"live": 0, "fetches": []})


@pytest.mark.parametrize("words", [["trace"], ["trace", "a.example"], ["trace", "a.example", "NOTYPE"],
                                   ["trace", "a..b", "A"], ["trace", "a.example", "AXFR"], ["trace", "a.example", "ANY"], ["inflight", "x"], ["config"], ["config", "reload", "x"],
                                   ["cache", "flush", "--zone"], ["cache", "flush", "--zone", "--all"]], ids=" ".join)
def test_errors(one, words):
    done = one.ctl_process(*words)
    assert done.returncode in (1, 2) and done.stdout.strip()
    assert one.ctl("status")["pid"] == one.process.pid


def test_a_zone_is_flushed_and_nothing_beside_it(one, lab, upstreams):
    client = Client(loopback(lab), 5300)
    for name in ("zone.example", "www.zone.example", "otherzone.example"):
        client.ask(name)
    assert until(lambda: one.ctl("status")["fetches"] == 0)
    assert one.ctl("cache", "flush", "--zone", "zone.example") == {"flushed": 4}, "two names, each without DO and with it"
    assert one.ctl("cache", "lookup", "www.zone.example", "A")["found"] is False
    assert one.ctl("cache", "lookup", "otherzone.example", "A")["found"] is True


def test_denials_are_flushed_and_nothing_beside_them(one, lab, upstreams):
    soa = ("example. 900 IN SOA ns. host. 1 3600 600 86400 900",)
    for upstream in upstreams:
        upstream.scripts["late.example."] = Script(rcode="NXDOMAIN", authority=soa)
    client = Client(loopback(lab), 5300)

    def ask_both():
        assert addresses(client.ask("there.example.")) == ["192.0.2.200"]
        reply = client.ask("late.example.")
        assert until(lambda: one.ctl("status")["fetches"] == 0)
        return reply, [sum(upstream.asked[name] for upstream in upstreams) for name in ("there.example.", "late.example.")]

    reply, asked = ask_both()
    assert reply.rcode() == dns.rcode.NXDOMAIN
    assert ask_both()[1] == asked, "both are cached"
    for upstream in upstreams:
        upstream.scripts["late.example."] = Script(("late.example. 300 IN A 192.0.2.9",))
    assert one.ctl("cache", "flush", "--negative") == {"flushed": 2}, "the answer without DO and with it"
    reply, again = ask_both()
    assert addresses(reply) == ["192.0.2.9"] and again[0] == asked[0] and again[1] > asked[1]


def _query(name):
    return dns.message.make_query(name, "A").to_wire()
