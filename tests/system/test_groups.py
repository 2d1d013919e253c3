"""Groups of upstreams, and the routes that lead names to them: real servers, each of which would answer for all."""

import time

import dns.rcode
import pytest

from conftest import NOBODY, loopback, socket_config
from lab.daemon import write_config
from real import Servers
from support import Client, addresses, until

# What the servers of each group say of everybody's names: the address tells who was asked.
ZONE = """\
$TTL {ttl}
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A {address}
www A {address}
"""
FORWARDED = """\
  module-config: "iterator"
  local-zone: "up.test" static
  local-zone: "corp.example" transparent
  local-data: "www.corp.example 300 IN A 10.0.0.1"
"""


class World:
    """Two nsd of the default group, an nsd and an unbound of the internal one."""

    def __init__(self, lab, servers):
        base = f"127.0.{lab.names.number}."
        self.default = [f"{base}{51 + i}:5304" for i in (0, 1)]
        self.internal = [f"{base}{53 + i}:5304" for i in (0, 1)]
        self.other = f"{base}55:5304"
        for endpoint in self.default:
            servers.nsd(endpoint.split(":")[0], 5304, self._zones(servers, "192.0.2.1", "default"))
        servers.nsd(f"{base}53", 5304, self._zones(servers, "10.0.0.1", "internal"))
        servers.unbound(f"{base}54", 5304, FORWARDED,
                        f"stub-zone:\n  name: plain.corp.example\n  stub-addr: {base}53@5304\n"
                        f"forward-zone:\n  name: loop.corp.example\n  forward-addr: {loopback(lab)}@5300\n")
        servers.nsd(f"{base}55", 5304, self._zones(servers, "10.0.0.2", "other"))

    @staticmethod
    def _zones(servers, address, who):
        lead = {"public.example": "out CNAME www.corp.example.\nfar DNAME corp.example.\n",
                "corp.example": "out CNAME www.public.example.\nback CNAME out.public.example.\n"}
        zones = {}
        for name in ("public.example", "corp.example", "notcorp.example", "plain.corp.example", "up.test"):
            file = servers.folder / f"{who}-{name}"
            file.write_text(ZONE.format(ttl=300, address=address) + lead.get(name, ""), encoding="ascii")
            zones[name] = file
        return zones


@pytest.fixture(scope="module")
def world(lab):
    with Servers(lab, "groups") as servers:
        yield World(lab, servers)


@pytest.fixture
def client(lab):
    return Client(loopback(lab), 5300)


def config(lab, world, internal=None, **more):
    groups = [{"group": "default", "servers": world.default},
              {"group": "internal", "servers": internal or world.internal[:1], "merge": {"policy": "off"}}]
    routes = [{"suffix": "Corp.example", "group": "internal"}]
    return {**socket_config(lab, []), "upstreams": groups, "routes": routes, **more}


def reload(one, content):
    write_config(one.config, {**content, "control": {"socket": str(one.socket)}})
    return one.ctl("config", "reload")


@pytest.mark.quick
def test_each_name_is_answered_by_its_group(lab, daemon, world, client):
    one = daemon(config(lab, world), NOBODY)
    for tcp in (False, True):
        assert addresses(client.ask("www.public.example", tcp=tcp)) == ["192.0.2.1"]
        assert addresses(client.ask("www.notcorp.example", tcp=tcp)) == ["192.0.2.1"]
        assert addresses(client.ask("wWw.coRP.example", tcp=tcp)) == ["10.0.0.1"]
        assert addresses(client.ask("www.plain.corp.example", tcp=tcp)) == ["10.0.0.1"]
    sent = {row["address"]: row["sent"] for row in one.ctl("status")["upstreams"]}
    assert sent[world.internal[0]] == 2 and sum(sent[address] for address in world.default) >= 2
    assert one.ctl("cache", "lookup", "www.corp.example", "A")["addresses"] == ["10.0.0.1"]
    assert one.ctl("trace", "www.corp.example", "A")["group"] == "internal"


@pytest.mark.parametrize("name, address", [("out.public.example", "10.0.0.1"), ("www.far.public.example", "10.0.0.1"),
                                           ("out.corp.example", "192.0.2.1"), ("back.corp.example", "10.0.0.1")])
def test_a_chain_across_is_completed_by_the_other_group(lab, daemon, world, client, name, address):
    """Each of these servers has the whole chain, with an address of its own at the end."""
    one = daemon(config(lab, world), NOBODY)
    assert addresses(client.ask(name)) == [address]
    assert addresses(client.ask("www.corp.example")) == ["10.0.0.1"]
    assert addresses(client.ask("www.public.example")) == ["192.0.2.1"]
    assert one.ctl("cache", "lookup", name, "A")["addresses"] == [address]


def test_a_reload_of_one_group_leaves_the_other_alone(lab, daemon, world, client):
    one = daemon(config(lab, world), NOBODY)
    for name in ("www.public.example", "www.corp.example", "out.public.example"):
        client.ask(name)
    assert until(lambda: one.ctl("status")["fetches"] == 0), "completed"
    before = one.ctl("cache", "lookup", "www.public.example", "A")
    assert reload(one, config(lab, world, [world.other]))["changed"] == ["upstreams"]
    assert addresses(client.ask("www.corp.example")) == ["10.0.0.2"]
    assert addresses(client.ask("out.public.example")) == ["10.0.0.2"], "what was made of its answers went, too"
    after = one.ctl("cache", "lookup", "www.public.example", "A")
    assert (after["generation"], after["revision"]) == (before["generation"], before["revision"])
    assert {row["group"] for row in one.ctl("upstream", "list")["upstreams"]} == {"default", "internal"}


def test_a_group_is_flushed_and_what_was_made_of_it(lab, daemon, world, client):
    one = daemon(config(lab, world), NOBODY)
    for name in ("www.public.example", "www.corp.example", "out.public.example"):
        client.ask(name)
    assert until(lambda: one.ctl("status")["fetches"] == 0), "completed"
    assert one.ctl("cache", "flush", "--group", "internal")["flushed"] >= 2
    found = {name: one.ctl("cache", "lookup", f"{name}.example", "A")["found"]
             for name in ("www.public", "www.corp", "out.public")}
    assert found == {"www.public": True, "www.corp": False, "out.public": False}
    assert "error" in one.ctl("cache", "flush", "--group", "nobody's")


def test_new_routes_lead_names_at_once(lab, daemon, world, client):
    one = daemon(config(lab, world, routes=[]), NOBODY)
    for name in ("www.public.example", "www.corp.example", "out.public.example"):
        assert addresses(client.ask(name)) == ["192.0.2.1"]
    assert reload(one, config(lab, world))["changed"] == ["routes"]
    for name in ("www.corp.example", "out.public.example"):
        assert addresses(client.ask(name)) == ["10.0.0.1"]
    assert reload(one, config(lab, world, routes=[]))["changed"] == ["routes"]
    for name in ("www.corp.example", "out.public.example"):
        assert addresses(client.ask(name)) == ["192.0.2.1"]


def test_groups_change_places(lab, daemon, world, client):
    first = config(lab, world)
    one = daemon(first, NOBODY)
    for name in ("www.public.example", "www.corp.example"):
        client.ask(name)
    other = {**first, "upstreams": [first["upstreams"][1], first["upstreams"][0]], "routes": []}
    assert reload(one, other)["changed"] == ["upstreams", "routes"]
    assert addresses(client.ask("www.public.example")) == ["10.0.0.1"]
    rows = one.ctl("upstream", "list")["upstreams"]
    assert [row["group"] for row in rows] == ["internal", "default", "default"]
    assert rows[0]["sent"] >= 1, "what is known of a server stays with it"


def test_a_server_of_two_groups_has_its_state_in_each(lab, daemon, world):
    one = daemon(config(lab, world, [world.default[0], world.internal[0]]), NOBODY)
    down = one.ctl("upstream", "down", world.default[0])
    assert [row["group"] for row in down["upstreams"]] == ["default", "internal"]
    assert all(row["override"] == "down" for row in down["upstreams"])
    assert one.ctl("upstream", "auto", world.internal[0])["group"] == "internal"


def test_a_loop_through_a_route_is_noticed(lab, daemon, world, client):
    one = daemon(config(lab, world, world.internal[1:]), NOBODY)
    assert addresses(client.ask("www.corp.example")) == ["10.0.0.1"]
    started = time.monotonic()
    assert client.ask("a.loop.corp.example").rcode() == dns.rcode.SERVFAIL
    assert time.monotonic() - started < 1.5
    assert one.ctl("stats")["loops"] >= 1
    assert until(lambda: one.ctl("inflight")["live"] == 0)
