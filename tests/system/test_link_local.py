"""Upstream servers with link-local IPv6 addresses: the same address on two links is two servers."""

import subprocess

import pytest

from conftest import NOBODY, loopback, socket_config
from lab import servers
from lab.children import run
from support import Client, addresses, until

pytestmark = pytest.mark.timeout(60)
ADDRESS, PORT = "fe80::53", 5301


@pytest.fixture(scope="module")
def links(lab):
    """Two interfaces, behind each an edition of the zone."""
    names = [f"mr-link{lab.names.number}{i}" for i in (1, 2)]
    try:
        for server, name in enumerate(names, 1):
            run(["ip", "link", "add", name, "up", "type", "veth", "peer", "name", f"{name}p"])
            run(["ip", "link", "set", f"{name}p", "up"])
            run(["ip", "addr", "add", f"{ADDRESS}/64", "dev", name, "nodad"])
            servers.start(lab.children, lab.folder / f"nsd-{name}", server, f"{ADDRESS}%{name}", PORT)
        for name in names:
            servers.wait(f"{ADDRESS}%{name}", PORT)
        yield names
    finally:
        for name in names:
            run(["ip", "link", "del", name])


def test_both_are_asked(lab, daemon, links):
    one = daemon(socket_config(lab, [f"[{ADDRESS}%{name}]:{PORT}" for name in links]), NOBODY)
    client = Client(loopback(lab), 5300)
    both = servers.WWW[1] + servers.WWW[2]
    assert until(lambda: sorted(addresses(client.ask("www.lab.example"))) == sorted(both))
    for i in range(50):  # the sockets are used again, for either link
        assert addresses(client.ask(f"n{i}.wild.lab.example")) == ["192.0.2.99"]
    assert len(client.ask("big.lab.example", "TXT", tcp=True).answer) > 1, "it came over TCP"
    stats = one.ctl("stats")
    assert stats["upstream_tcp"] >= 1 and stats["upstream_timeouts"] == 0
    shown = {server["address"]: server for server in one.ctl("status")["upstreams"]}
    assert set(shown) == {f"[{ADDRESS}%{name}]:{PORT}" for name in links}


@pytest.mark.parametrize("address", [ADDRESS, f"[{ADDRESS}]:53", f"{ADDRESS}%nowhere0", "2001:db8::1%lo"])
def test_check_refuses_what_leads_nowhere(build, tmp_path, address):
    file = tmp_path / "config"
    file.write_text(f"upstreams: [{{group: a, servers: ['{address}']}}]\n", encoding="ascii")
    done = subprocess.run([build / "millraced", "--check", "--config", file], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert ('upstreams[0].servers[0]: expected a link-local address with an interface of this machine, such as '
            f'"[fe80::1%eth0]:53", found "{address}"') in done.stderr
