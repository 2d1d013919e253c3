"""Servers that are given by name: a real server is asked for their addresses, scripted ones are found there."""

import concurrent.futures

import pytest

from conftest import NOBODY, loopback, socket_config
from lab.daemon import write_config
from real import Servers
from support import Client, addresses, until
from upstream import Script

pytestmark = pytest.mark.timeout(120)

ZONE = """\
$TTL 1
@ SOA ns hostmaster {serial} 3600 600 86400 1
@ NS ns
ns A {address}
dns A {address}
"""


class Bootstrap:
    """An nsd that knows dns.example.net; the name's address may be changed."""

    def __init__(self, lab, servers):
        self.servers = servers
        self.address = f"127.0.{lab.names.number}.61"
        self.endpoint = f"{self.address}:5306"
        self.serial = 0

    def start(self, address):
        self.serial += 1
        zones = {}
        for name in ("example.net", "up.test"):
            zones[name] = self.servers.folder / f"{name}-{self.serial}"
            zones[name].write_text(ZONE.format(serial=self.serial, address=address), encoding="ascii")
        self.servers.nsd(self.address, 5306, zones)

    def restart(self, address):
        self.servers.end_all()
        self.start(address)


@pytest.fixture
def bootstrap(lab, request):
    with Servers(lab, request.node.name) as servers:
        yield Bootstrap(lab, servers)


@pytest.fixture
def client(lab):
    return Client(loopback(lab), 5300)


def host(upstream):
    return upstream.endpoint.split(":")[0]


def config(lab, bootstrap, **more):
    group = {"group": "default", "servers": ["dns.example.net:5302"], "bootstrap": [bootstrap.endpoint], **more}
    return {**socket_config(lab, []), "upstreams": [group]}


def rows(one):
    return [(row["name"], row["address"]) for row in one.ctl("upstream", "list")["upstreams"]]


def test_a_name_is_resolved_at_start_and_kept_fresh(lab, daemon, bootstrap, client, upstreams):
    for upstream, address in zip(upstreams, ("192.0.2.11", "192.0.2.12")):
        for i in range(1000):
            upstream.scripts[f"n{i}.example."] = Script((f"n{i}.example. 300 IN A {address}",))
    bootstrap.start(host(upstreams[0]))
    one = daemon(config(lab, bootstrap), NOBODY)
    assert until(lambda: rows(one) == [("dns.example.net:5302", upstreams[0].endpoint)], 20), rows(one)
    assert addresses(client.ask("n0.example")) == ["192.0.2.11"]

    bootstrap.restart(host(upstreams[1]))  # TTL 1, taken for 30
    assert until(lambda: rows(one) == [("dns.example.net:5302", upstreams[1].endpoint)], 60), rows(one)
    before = upstreams[0].asked.copy()
    assert addresses(client.ask("n1.example")) == ["192.0.2.12"]
    assert upstreams[0].asked == before
    assert f"upstream dns.example.net:5302: its addresses are {host(upstreams[1])}" in "".join(one.last_lines(60))


def test_the_operators_word_of_a_name_goes_for_its_next_address(lab, daemon, bootstrap, upstreams):
    bootstrap.start(host(upstreams[0]))
    one = daemon(config(lab, bootstrap), NOBODY)
    assert until(lambda: rows_of_name(one) == [upstreams[0].endpoint], 20), rows(one)
    assert "no upstream's address or name" in one.ctl_process("upstream", "down", "ns.example.net").stdout
    assert "all upstreams are down" in one.ctl("upstream", "down", "DNS.example.net")["warning"]
    bootstrap.restart(host(upstreams[1]))
    assert until(lambda: rows_of_name(one) == [upstreams[1].endpoint], 60), rows(one)
    row, = one.ctl("upstream", "list")["upstreams"]
    assert (row["override"], row["name_override"]) == ("down", "down")
    assert one.ctl("upstream", "auto", "dns.example.net:5302")["override"] == "auto"


@pytest.mark.quick
def test_a_slow_bootstrap_server_is_waited_for(lab, daemon, client, upstreams):
    told = Script((f"dns.example.net. 300 IN A {host(upstreams[0])}",), delay=0.2)
    upstreams[2].scripts["dns.example.net."] = told
    group = {"group": "default", "servers": ["dns.example.net:5302"], "bootstrap": [upstreams[2].endpoint]}
    daemon({**socket_config(lab, []), "upstreams": [group]}, NOBODY)
    assert until(lambda: addresses(client.ask("a.script.example")) == ["192.0.2.200"], 20)


@pytest.mark.quick
def test_without_its_bootstrap_server_addresses_stay(lab, daemon, bootstrap, client, upstreams):
    bootstrap.start(host(upstreams[0]))
    one = daemon(config(lab, bootstrap), NOBODY)
    assert until(lambda: rows_of_name(one) == [upstreams[0].endpoint], 20), rows(one)
    bootstrap.servers.end_all()
    content = config(lab, bootstrap, merge={"policy": "off"})
    write_config(one.config, {**content, "control": {"socket": str(one.socket)}})
    assert one.ctl("config", "reload")["changed"] == ["upstreams"]
    assert addresses(client.ask("b.script.example")) == ["192.0.2.200"]
    assert until(lambda: "not resolved" in "".join(one.last_lines(60)), 10), one.last_lines(60)
    assert rows(one) == [("dns.example.net:5302", upstreams[0].endpoint)]


def test_a_name_that_nobody_knows_is_shown_without_address(lab, daemon, bootstrap, client, upstreams):
    content = config(lab, bootstrap, servers=["dns.example.net:5302", {"address": upstreams[0].endpoint, "priority": 1}])
    one = daemon(content, NOBODY)
    assert addresses(client.ask("a.script.example")) == ["192.0.2.200"]
    assert [row["address"] for row in one.ctl("upstream", "list")["upstreams"]] == [None, upstreams[0].endpoint]
    bootstrap.start(host(upstreams[1]))
    assert until(lambda: rows_of_name(one) == [upstreams[1].endpoint], 60)
    assert addresses(client.ask("b.script.example")) == ["192.0.2.200"]
    assert upstreams[1].asked["b.script.example."] == 1


def rows_of_name(one):
    return [row["address"] for row in one.ctl("upstream", "list")["upstreams"] if "name" in row]


@pytest.mark.quick
def test_a_reload_to_a_name_has_the_old_server_serve_until_it_is_resolved(lab, daemon, client, upstreams):
    upstreams[2].scripts["dns.example.net."] = Script((f"dns.example.net. 300 IN A {host(upstreams[1])}",), delay=0.5)
    one = daemon(socket_config(lab, [upstreams[0].endpoint]), NOBODY)
    group = {"group": "default", "servers": ["dns.example.net:5302"], "bootstrap": [upstreams[2].endpoint]}
    write_config(one.config, {**socket_config(lab, []), "upstreams": [group], "control": {"socket": str(one.socket)}})
    with concurrent.futures.ThreadPoolExecutor(1) as beside:
        reloaded = beside.submit(one.ctl, "config", "reload")
        asked = 0
        while not reloaded.done():
            assert addresses(client.ask(f"n{asked}.script.example")) == ["192.0.2.200"]
            asked += 1
    assert reloaded.result()["changed"] == ["upstreams"]
    assert addresses(client.ask("after.script.example")) == ["192.0.2.200"]
    assert upstreams[1].asked["after.script.example."] == 1


@pytest.mark.quick
def test_a_reload_to_a_name_that_nobody_knows_is_refused(lab, daemon, client, upstreams):
    upstreams[2].scripts["dns.example.net."] = Script(rcode="SERVFAIL")
    one = daemon(socket_config(lab, [upstreams[0].endpoint]), NOBODY)
    group = {"group": "default", "servers": ["dns.example.net:5302"], "bootstrap": [upstreams[2].endpoint]}
    write_config(one.config, {**socket_config(lab, []), "upstreams": [group], "control": {"socket": str(one.socket)}})
    done = one.ctl_process("config", "reload")
    assert done.returncode != 0 and "no address is known of any server of group" in done.stdout, done
    assert "group default: upstream dns.example.net:5302: A not resolved: failure" in one.last_lines(60)
    assert addresses(client.ask("a.script.example")) == ["192.0.2.200"]


@pytest.mark.quick
def test_two_names_of_one_address_are_one_server_and_one_name_may_have_two_ports(
        lab, daemon, bootstrap, client, upstreams):
    bootstrap.start(host(upstreams[0]))
    names = ["dns.example.net:5302", "dns.up.test:5302", "dns.example.net:5303"]
    one = daemon(config(lab, bootstrap, servers=names), NOBODY)
    address = host(upstreams[0])
    wanted = [(names[0], f"{address}:5302"), (names[1], None), (names[2], f"{address}:5303")]
    assert until(lambda: rows(one) == wanted and "group have" in one.last_lines(60), 20), (rows(one), one.last_lines(60))
    assert addresses(client.ask("a.script.example")) == ["192.0.2.200"]
    assert upstreams[0].asked["a.script.example."] == 1


@pytest.mark.quick
def test_a_name_does_not_lead_to_a_listener_on_all_addresses(lab, daemon, bootstrap):
    bootstrap.start(loopback(lab))
    content = {**config(lab, bootstrap, servers=["dns.example.net:5300"]), "listen": ["0.0.0.0:5300"]}
    one = daemon(content, NOBODY)
    assert until(lambda: "A not resolved: no address that may be asked" in one.last_lines(60), 20), one.last_lines(60)
    assert rows(one) == [("dns.example.net:5300", None)]
