"""Who is served: the configured prefixes alone."""

import socket

import dns.rcode
import pytest

from conftest import LCORE, NOBODY, socket_config
from lab.children import run
from lab.daemon import xdp_config
from support import Client, Subscriber

FOREIGN4, FOREIGN6 = "203.0.113.2", "2001:db8:bad::2"


@pytest.fixture
def foreign(lab):
    """Subscribers with addresses of somebody else's."""
    for address in (f"{FOREIGN4}/32", f"{FOREIGN6}/128"):
        run(["ip", "-n", lab.names.namespace, "addr", "add", address, "dev", lab.names.sub, "nodad"])
    yield
    for address in (f"{FOREIGN4}/32", f"{FOREIGN6}/128"):
        run(["ip", "-n", lab.names.namespace, "addr", "del", address, "dev", lab.names.sub])


@pytest.mark.quick
def test_foreign_clients_are_refused_on_the_port(lab, daemon, nsd, foreign):
    config = xdp_config(lab.names, nsd, LCORE)
    config["allow"] = ["127.0.0.0/8", "198.18.0.0/15", f"2001:db8:{lab.names.number:x}::/48"]
    one = daemon(config)
    names = lab.names
    for address, own, other in ((names.edge4, names.sub4, FOREIGN4), (names.edge6, names.sub6, FOREIGN6)):
        assert Subscriber(lab, address, bind=own).ask("shared.lab.example").answer
        refused = Subscriber(lab, address, bind=other).ask("shared.lab.example")
        assert refused.rcode() == dns.rcode.REFUSED and not refused.answer
    assert one.ctl("stats")["upstream_queries"] <= 3


def test_foreign_clients_are_refused_on_sockets(lab, daemon, nsd):
    number = lab.names.number
    config = socket_config(lab, nsd)
    config["allow"] = [f"127.0.{number}.0/25"]
    daemon(config, NOBODY)
    for tcp in (False, True):
        ask = Client(f"127.0.{number}.53", 5300, bind=f"127.0.{number}.1").ask
        assert ask("shared.lab.example", tcp=tcp).answer
    foreign = Client(f"127.0.{number}.53", 5300, bind=f"127.0.{number}.200")
    assert foreign.ask("shared.lab.example").rcode() == dns.rcode.REFUSED
    with foreign.socket(socket.SOCK_STREAM) as s:
        assert s.recv(1) == b"", "closed before it asks: it takes no connection from others"
