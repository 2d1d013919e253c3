"""The counters add up, and the access list decides who is served."""

import pytest

from support import until

KEYS = {"received", "answered", "hits", "misses", "coalesced", "upstream_queries", "published", "superseded", "late",
        "dropped"}


@pytest.fixture
def stats(request, client):
    one = request.getfixturevalue(request.node.callspec.params["client"])
    one.ctl("cache", "flush", "--all")
    return lambda: one.ctl("stats")


@pytest.mark.quick
def test_hits_and_misses(client, stats):
    before = stats()
    assert KEYS <= set(before)
    client.ask("shared.lab.example")
    until(lambda: stats()["published"] > before["published"])
    client.ask("shared.lab.example")
    client.send(b"\x12\x34\x81" + bytes(30), timeout=0.2)  # a response
    client.ask("shared.lab.example", rdclass="CH")
    after = stats()
    assert after["received"] - before["received"] == 4
    assert after["hits"] - before["hits"] == 1
    assert after["misses"] - before["misses"] == 1
    assert after["published"] > before["published"]
    assert 1 <= after["upstream_queries"] - before["upstream_queries"] <= 3
    assert dropped(after) - dropped(before) == 1


def test_every_packet_has_one_verdict_and_every_miss_an_end(client, stats):
    with client.socket() as s:
        for i in range(300):
            name = f"\x09miss-{i:04}\x04wild".encode() + b"\x03lab\x07example\x00\x00\x01\x00\x01"
            s.send(i.to_bytes(2, "big") + b"\x01\x00\x00\x01" + bytes(6) + name)
            s.send(bytes(i % 20))
    after = until(lambda: settled(stats()))
    assert after, stats()
    assert after["received"] == (after["answered"] + after["misses"] + after["refused"] + dropped(after))


def settled(stats):
    """The statistics, once nobody waits."""
    return stats if stats["misses"] == stats["woken"] + stats["abandoned"] else None


def dropped(stats):
    return sum(stats["dropped"].values())
