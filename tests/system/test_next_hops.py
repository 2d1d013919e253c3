"""Replies routed as the kernel would (`next-hop: routed`), on the lab's AF_XDP port and on a tap with a kernel interface.

The queries are raw frames of a router whose MAC address nobody else has, for a client beyond it; the replies are seen on
the wire. Routes and neighbours are the kernel's own, changed while the daemon runs.
"""

import contextlib
import json
import random
import socket
import struct

import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from conftest import LCORE, end
from lab import Daemon
from lab.children import run
from lab.daemon import xdp_config
from support import Subscriber, until

NAME = "shared.lab.example"
ROUTER_A, ROUTER_B, ROUTER_C = (f"02:00:00:00:00:{last}" for last in ("aa", "bb", "cc"))
SOL_PACKET, PACKET_AUXDATA, VLAN_VALID = 263, 8, 1 << 4
VLAN = 7


def ip(*words):
    return run(["ip", *map(str, words)])


def must(*words):
    done = ip(*words)
    assert done.returncode == 0, f"ip {' '.join(map(str, words))}: {done.stdout}"


def shown(*words):
    done = ip("-j", *words)
    return json.loads(done.stdout or "[]") if done.returncode == 0 else []


class Wire:
    """One port: the interface whose routes count, what is at the other end, and who asks from beyond it."""

    def __init__(self, lab, interface, far, service):
        number = lab.names.number
        self.lab, self.interface, self.far, self.service = lab, interface, far, service
        self.clients = {4: f"198.19.{100 + number}.7", 6: f"2001:db8:f{number:x}::7"}
        self.beyond = {4: f"198.19.{100 + number}.0/24", 6: f"2001:db8:f{number:x}::/48"}
        self.daemon = None

    def mac(self, interface=None, namespace=()):
        return shown(*namespace, "link", "show", "dev", interface or self.interface)[0]["address"]

    def far_mac(self):
        return self.mac(self.far, ("-n", self.lab.names.namespace))

    def far_link_local(self):
        (link,) = shown("-n", self.lab.names.namespace, "addr", "show", "dev", self.far)
        return next(each["local"] for each in link["addr_info"] if each["scope"] == "link" and each["family"] == "inet6")

    def route(self, family, *by, verb="replace"):
        must(f"-{family}", "route", verb, self.beyond[family], *by)

    def forget(self):
        """No route to the clients, and no neighbour that a test has made up."""
        for family in (4, 6):
            ip(f"-{family}", "route", "del", self.beyond[family])
            ip(f"-{family}", "neigh", "flush", "dev", self.interface, "nud", "permanent")

    def ask(self, family=4, client=None, tags=()):
        """Where the reply to one query of router A's goes: its MAC address and its VLAN tags. None: there is none."""
        ident = random.randrange(1 << 16)
        frame = Ether(src=ROUTER_A, dst=self.mac())
        for tag in tags:
            frame /= Dot1Q(vlan=tag)
        layer = IPv6 if family == 6 else IP
        frame /= layer(src=client or self.clients[family], dst=self.service[family]) / UDP(sport=40000, dport=53)
        with contextlib.closing(Subscriber(self.lab).raw(self.far)) as raw:
            raw.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            raw.send(bytes(frame / DNS(id=ident, rd=1, qd=DNSQR(qname=NAME))))
            for _ in range(1000):
                try:
                    reply = read(raw)
                except TimeoutError:
                    return None
                if reply and reply[0] == ident:
                    return reply[1:]
        return None

    def goes_to(self, mac, *tags, family=4, seconds=20, **more):
        """Whether replies soon go there."""
        where = until(lambda: (now := self.ask(family, **more)) == (mac, tags) and now, seconds)
        assert where == (mac, tags), f"not {mac}: {self.ask(family, **more)}; {self.daemon.ctl('ports')}"
        return True

    def shown(self):
        (port,) = self.daemon.ctl("ports")["ports"].values()
        return port

    def unrouted(self):
        return self.daemon.ctl("stats")["unrouted"]


def read(raw):
    """The next frame: ID, destination and VLAN tags of a reply, None of anything else. The kernel has taken the outer
    tag off (tpacket_auxdata)."""
    data, aux, _, _ = raw.recvmsg(4096, socket.CMSG_SPACE(20))
    frame = Ether(data)
    if UDP not in frame or frame[UDP].sport != 53 or DNS not in frame:
        return None
    tags = [layer.vlan for layer in layers(frame) if isinstance(layer, Dot1Q)]
    for level, kind, octets in aux:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, control, _ = struct.unpack("IIIHHHH", octets[:20])
            if status & VLAN_VALID:
                tags.insert(0, control & 0xfff)
    return frame[DNS].id, frame.dst, tuple(tags)


def layers(layer):
    while layer:
        yield layer
        layer = layer.payload


@pytest.fixture(scope="module")
def edge(lab, build, nsd):
    """On the AF_XDP port, the interface is the port's own."""
    names = lab.names
    wire = Wire(lab, names.edge, names.sub, {4: names.edge4, 6: names.edge6})
    config = xdp_config(names, nsd, LCORE)
    config["ports"][0].update({"next-hop": "routed", "idle": "sleep"})
    wire.daemon = Daemon(lab, build, config, name="routed").start()
    Subscriber(lab).ask(NAME)  # from now on it is a hit
    yield wire
    end(wire.daemon)


@pytest.fixture(autouse=True)
def no_routes_are_left(request):
    wires = [request.getfixturevalue(name) for name in ("edge", "tap") if name in request.fixturenames]
    yield
    for wire in wires:
        wire.forget()


@pytest.mark.quick
def test_the_route_decides_not_the_sender(edge):
    """Router A asks, the route says B: the kernel is made to find B by ARP, and the reply arrives there."""
    before = edge.unrouted()
    assert edge.goes_to(ROUTER_A), "there is no route to the client"
    assert edge.unrouted() > before
    must("neigh", "flush", "dev", edge.interface)
    edge.route(4, "via", edge.lab.names.sub4, "dev", edge.interface)
    assert edge.goes_to(edge.far_mac())
    before = edge.unrouted()
    assert edge.ask() == (edge.far_mac(), ())
    assert edge.unrouted() == before
    port = edge.shown()
    assert port["next_hop"] == "routed" and port["gateways"] >= 1 and port["neighbours"] >= 1
    assert port["routes"] >= len(shown("-4", "route", "show")), port


def test_an_ipv6_link_local_gateway(edge):
    edge.route(6, "via", edge.far_link_local(), "dev", edge.interface)
    assert edge.goes_to(edge.far_mac(), family=6)
    edge.route(4, "via", "inet6", edge.far_link_local(), "dev", edge.interface)
    assert edge.goes_to(edge.far_mac()), "IPv4 by an IPv6 gateway (RFC 8950)"


def gateway(edge, last, mac):
    """A router that the kernel is told about."""
    address = f"198.18.{edge.lab.names.number}.{last}"
    must("neigh", "replace", address, "lladdr", mac, "nud", "permanent", "dev", edge.interface)
    return address


def test_routes_and_neighbours_change_under_way(edge):
    b, c = gateway(edge, 201, ROUTER_B), gateway(edge, 202, ROUTER_C)
    edge.route(4, "via", b, "dev", edge.interface)
    assert edge.goes_to(ROUTER_B)
    edge.route(4, "via", c, "dev", edge.interface)
    assert edge.goes_to(ROUTER_C)
    gateway(edge, 202, "02:00:00:00:00:dd")
    assert edge.goes_to("02:00:00:00:00:dd"), "the router has another MAC address now"
    must("route", "replace", "blackhole", edge.beyond[4])
    assert edge.goes_to(ROUTER_A), "to nowhere is no way"
    must("route", "del", "blackhole", edge.beyond[4])
    edge.route(4, "via", b, "dev", edge.interface)
    assert edge.goes_to(ROUTER_B)
    must("route", "add", f"{edge.clients[4]}/32", "via", c, "dev", edge.interface)
    assert edge.goes_to("02:00:00:00:00:dd"), "the longest prefix counts"
    must("route", "del", f"{edge.clients[4]}/32")
    assert edge.goes_to(ROUTER_B)
    edge.forget()
    assert edge.goes_to(ROUTER_A)


def test_clients_are_spread_over_several_next_hops(edge):
    b, c = gateway(edge, 201, ROUTER_B), gateway(edge, 202, ROUTER_C)
    edge.route(4, *(word for by in (b, c) for word in ("nexthop", "via", by, "dev", edge.interface)))
    prefix = edge.clients[4].rpartition(".")[0]

    def taken():
        return {edge.ask(client=f"{prefix}.{last}")[0] for last in range(1, 40)}

    assert until(lambda: taken() == {ROUTER_B, ROUTER_C}, 20)
    ip("neigh", "del", c, "dev", edge.interface)
    assert until(lambda: taken() == {ROUTER_B}, 20), "the other one stands in for who is not known"


def test_a_neighbour_of_the_link_is_asked_for_by_nobody(edge):
    """On-link clients that the kernel does not know: their replies go to who has sent the query, and no ARP goes out."""
    stranger = f"198.18.{edge.lab.names.number}.77"
    before = edge.unrouted()
    assert [edge.ask(client=stranger) for _ in range(20)] == [(ROUTER_A, ())] * 20
    assert edge.unrouted() - before == 20
    assert not [one for one in shown("neigh", "show", "dev", edge.interface) if one["dst"] == stranger]
    gateway(edge, 77, ROUTER_B)
    assert edge.goes_to(ROUTER_B, client=stranger)


def test_a_next_hop_that_does_not_answer_is_told_of(edge):
    edge.route(4, "via", f"198.18.{edge.lab.names.number}.203", "dev", edge.interface)
    assert until(lambda: edge.shown()["gateways_unresolved"] == 1, 20)
    words = f"does not know the MAC address of next hop 198.18.{edge.lab.names.number}.203"
    assert until(lambda: words in edge.daemon.log.read_text(), 30), edge.daemon.last_lines()
    assert edge.ask() == (ROUTER_A, ())
    gateway(edge, 203, ROUTER_B)
    assert edge.goes_to(ROUTER_B)
    assert until(lambda: "the next hops of all routes are known" in edge.daemon.log.read_text(), 30)


def test_a_gateway_is_confirmed_now_and_then(edge):
    """What the kernel once knew is wrong by now. No frame of its own would make it look: millraced has it do so."""
    edge.route(4, "via", edge.lab.names.sub4, "dev", edge.interface)
    must("neigh", "replace", edge.lab.names.sub4, "lladdr", ROUTER_B, "nud", "stale", "dev", edge.interface)
    assert edge.goes_to(ROUTER_B)
    assert edge.goes_to(edge.far_mac(), seconds=60)


def test_a_vlan_interface_of_the_port_s(edge):
    inner = f"{edge.interface}.{VLAN}"

    def make():
        made = ip("link", "add", "link", edge.interface, "name", inner, "type", "vlan", "id", VLAN)
        if made.returncode:
            pytest.skip(f"this kernel has no VLAN interfaces: {made.stdout}")
        must("link", "set", inner, "up")
        must("addr", "add", f"198.19.{200 + edge.lab.names.number}.1/24", "dev", inner)
        by = f"198.19.{200 + edge.lab.names.number}.2"
        must("neigh", "replace", by, "lladdr", ROUTER_B, "nud", "permanent", "dev", inner)
        edge.route(4, "via", by, "dev", inner)

    make()
    assert edge.goes_to(ROUTER_B, VLAN)
    must("link", "del", inner)
    assert edge.goes_to(ROUTER_A)
    make()
    assert edge.goes_to(ROUTER_B, VLAN)
    must("link", "del", inner)


def test_a_flood_of_neighbours_is_followed(edge):
    """More notifications than the socket holds: what was lost is read again."""
    number = edge.lab.names.number
    lines = "".join(f"neigh replace 198.18.{number}.{last} lladdr 02:00:00:{turn:02x}:00:{last:02x} nud permanent "
                    f"dev {edge.interface}\n" for turn in range(40) for last in range(100, 200))
    batch = edge.daemon.folder / "batch"
    batch.write_text(lines, encoding="ascii")
    must("-batch", batch)
    assert edge.goes_to("02:00:00:27:00:96", client=f"198.18.{number}.150")


@pytest.fixture(scope="module")
def tap(lab, build, nsd):
    """A tap port, whose exception path has the interface. The far end is the subscribers'."""
    number = lab.names.number
    far, kernel = f"mr-tap{number}", f"mr-dns{number}"
    service = {4: f"198.19.{number}.53", 6: f"2001:db8:1{number}::53"}
    wire = Wire(lab, kernel, far, service)
    config = xdp_config(lab.names, nsd, LCORE)
    config["ports"] = [{"device": f"net_tap0,iface={far}", "lcores": [LCORE], "addresses": list(service.values()),
                        "idle": "sleep", "next-hop": "routed",
                        "kernel": {"interface": kernel, "addresses": [f"{service[4]}/24", f"{service[6]}/64"]}}]
    wire.daemon = Daemon(lab, build, config, name="routed-tap").start()
    space = lab.names.namespace
    assert until(lambda: ip("link", "show", "dev", far).returncode == 0), "no tap interface"
    # Until it is handed over, the far end has the same MAC address: of the two, duplicate address detection may leave
    # the kernel interface without a link-local address, and without one it solicits no neighbours.
    must("addr", "add", "fe80::53/64", "dev", kernel, "nodad")
    must("link", "set", far, "netns", space)
    must("-n", space, "link", "set", far, "address", "02:00:00:00:00:77", "up")
    must("-n", space, "addr", "add", f"198.19.{number}.2/24", "dev", far)
    must("-n", space, "addr", "add", f"2001:db8:1{number}::2/64", "dev", far, "nodad")
    assert until(lambda: Subscriber(lab, service[4]).ask(NAME))
    yield wire
    end(wire.daemon)


@pytest.mark.parametrize("family", [4, 6])
def test_by_the_kernel_interface_of_the_port(tap, family):
    """The gateway's MAC address is found by way of the exception path; by its link-local address for IPv6."""
    must("neigh", "flush", "dev", tap.interface)
    tap.route(family, "via", tap.far_link_local() if family == 6 else f"198.19.{tap.lab.names.number}.2", "dev", tap.interface)
    assert tap.goes_to(tap.far_mac(), family=family)


def test_routes_that_go_with_their_interface(tap):
    """Down and up, removed, and made again by somebody else: the name counts, not the index."""
    number = tap.lab.names.number
    by = ("via", f"198.19.{number}.2", "dev", tap.interface)
    tap.route(4, *by)
    assert tap.goes_to(tap.far_mac())
    mac = tap.mac()
    must("link", "set", tap.interface, "down")
    assert tap.goes_to(ROUTER_A)
    must("link", "set", tap.interface, "up")
    tap.route(4, *by)
    assert tap.goes_to(tap.far_mac())

    must("link", "del", tap.interface)
    tap.mac = lambda *_: mac  # the port's stays
    assert tap.goes_to(ROUTER_A)
    words = f"there is no interface {tap.interface}"
    assert until(lambda: words in tap.daemon.log.read_text(), 30), tap.daemon.last_lines()
    must("link", "add", tap.interface, "type", "veth", "peer", "name", f"{tap.interface}p")
    must("link", "set", tap.interface, "up")
    must("link", "set", f"{tap.interface}p", "up")
    must("addr", "add", f"{tap.service[4]}/24", "dev", tap.interface)
    must("neigh", "replace", f"198.19.{number}.2", "lladdr", ROUTER_C, "nud", "permanent", "dev", tap.interface)
    tap.route(4, *by)
    assert tap.goes_to(ROUTER_C), "another interface of the same name"
    must("link", "del", tap.interface)


def test_a_port_that_the_kernel_does_not_know(lab, daemon, nsd):
    config = xdp_config(lab.names, nsd, LCORE)
    config["ports"] = [{"device": "net_ring0", "lcores": [LCORE], "addresses": [lab.names.edge4], "next-hop": "routed"}]
    one = daemon(config, ready=False)
    assert one.launch().wait(20) == 2
    assert "next-hop: expected sender or a MAC address" in one.last_lines()
