"""An upstream that forwards our own questions back to us."""

import time

import dns.rcode
import pytest

from conftest import NOBODY, loopback, socket_config
from real import Servers
from support import Client, addresses, until

KNOWN = """\
  module-config: "iterator"
  local-zone: "up.test" static
  local-zone: "fine.example" static
  local-data: "www.fine.example 300 IN A 192.0.2.7"
"""


@pytest.fixture(params=["127.0.{}.41", "127.0.0.1"], ids=["alone", "shared"])
def forwarder(lab, request):
    """unbound, which knows one name and asks millraced for all others: from an address of its own, or from the one that
    all local clients have."""
    address = request.param.format(lab.names.number)
    with Servers(lab, f"loop-{address}") as servers:
        servers.unbound(address, 5303, KNOWN, f"forward-zone:\n  name: .\n  forward-addr: {loopback(lab)}@5300\n")
        yield f"{address}:5303"


def test_a_question_that_comes_back_is_servfail_at_once(lab, daemon, forwarder):
    one = daemon(socket_config(lab, [forwarder]), NOBODY)
    client = Client(loopback(lab), 5300)
    for name in ("a.loop.example.", "b.loop.example."):
        started = time.monotonic()
        assert client.ask(name).rcode() == dns.rcode.SERVFAIL
        assert time.monotonic() - started < 1.5
    assert addresses(client.ask("www.fine.example.")) == ["192.0.2.7"]
    time.sleep(1)  # a storm would go on
    stats = one.ctl("stats")
    assert 2 <= stats["loops"] <= 60, stats
    assert stats["upstream_queries"] <= 12 and stats["received"] <= 80, stats
    assert until(lambda: one.ctl("inflight")["live"] == 0)
