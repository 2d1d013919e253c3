"""Upstreams asked by the AF_XDP port (`via`): an nsd of both families at the subscribers' end, and what goes over the wire.

The source addresses are the edge's second ones, which the kernel answers ARP and neighbour discovery for, but does not choose
for its own sockets: those of IPv6 are deprecated (RFC 4862 5.5.4).
"""

import contextlib
import json
import random

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import Ether

from conftest import LCORE, end
from lab import Daemon
from lab.children import run
from lab.daemon import xdp_config
from lab.network import add_pair
from lab.servers import DOMAIN, start_nsd, zone
from support import Subscriber, checksums_right, until

PORT = 5304  # of the servers


class Via:
    """The daemon, its sources, and a look at what its end of the wire sends."""

    def __init__(self, lab):
        names = lab.names
        self.lab = lab
        self.sources = {4: [f"198.18.{names.number}.{last}" for last in (60, 61)],
                        6: [f"{names.edge6.rpartition('::')[0]}::{last}" for last in (60, 61)]}
        self.servers = {4: names.sub4, 6: names.sub6}
        self.daemon = None
        self.asked = 0

    def config(self, families=(4, 6), **more):
        names = self.lab.names
        servers = [f"{self.servers[4]}:{PORT}", f"[{self.servers[6]}]:{PORT}"]
        config = xdp_config(names, [servers[(4, 6).index(one)] for one in families], LCORE, **more)
        config["ports"][0].update({"next-hop": "routed", "idle": "sleep"})
        config["upstreams"][0].update({"via": "net_af_xdp0", "source": sum(self.sources.values(), [])})
        return config

    def ask(self, name=None, **more):
        """A name that nobody has asked for yet."""
        self.asked += 1
        return Subscriber(self.lab).ask(name or f"host-{self.asked}.{DOMAIN}", **more)

    def stats(self):
        return self.daemon.ctl("stats")

    @contextlib.contextmanager
    def wire(self):
        """The frames with a layer that our end has sent meanwhile: a function that waits for so many."""
        with contextlib.closing(Subscriber(self.lab).raw()) as raw:
            raw.settimeout(0.2)
            own = mac(self.lab.names.edge)
            seen = []

            def look(layer, count):
                def enough():
                    with contextlib.suppress(TimeoutError):
                        seen.append(Ether(raw.recv(4096)))
                    return len(wanted()) >= count

                def wanted():
                    return [one for one in seen if one.src == own and layer in one and PORT in (one[layer].dport, one[layer].sport)]

                until(enough)
                return wanted()
            yield look


def mac(interface, *where):
    return json.loads(run(["ip", "-j", *where, "link", "show", "dev", interface]).stdout)[0]["address"]


def must(*words):
    done = run(["ip", *map(str, words)])
    assert done.returncode == 0, f"ip {' '.join(map(str, words))}: {done.stdout}"


@pytest.fixture(scope="module")
def via(lab, build):
    one = Via(lab)
    names = lab.names
    for family, length in ((4, 32), (6, 128)):
        for source in one.sources[family]:
            must("addr", "add", f"{source}/{length}", "dev", names.edge, *(("nodad", "preferred_lft", "0") if family == 6 else ()))
        start_nsd(lab.children, lab.folder / f"via{family}", one.servers[family], PORT, DOMAIN, zone(1),
                  ["ip", "netns", "exec", names.namespace])
    one.daemon = Daemon(lab, build, one.config(), name="via").start()
    assert until(lambda: one.ask() and one.stats()["via_port"]["sent"] > 0, 30), one.daemon.last_lines()
    yield one
    end(one.daemon)
    for family, length in ((4, 32), (6, 128)):
        for source in one.sources[family]:
            run(["ip", "addr", "del", f"{source}/{length}", "dev", names.edge])


def known(via):
    """The kernel knows both servers' MAC addresses, and so does the daemon."""
    def sent_by_port():
        before = via.stats()["via_port"]
        via.ask()
        after = via.stats()["via_port"]
        return after["sent"] >= before["sent"] + 2 and after["fallbacks"] == before["fallbacks"]
    assert until(sent_by_port, 30), (via.stats()["via_port"], via.daemon.last_lines())


@pytest.mark.quick
def test_queries_leave_by_the_port(via):
    known(via)
    before = via.stats()
    with via.wire() as seen:
        for count in range(1, 61):
            assert via.ask().answer
            queries = seen(UDP, 2 * count)
    for family, layer in ((4, IP), (6, IPv6)):
        ours = [(one[layer].src, one[UDP].sport) for one in queries if layer in one]
        assert {source for source, _ in ours} == set(via.sources[family])
        ports = {port for _, port in ours}
        assert len(ours) >= 55 and len(ports) >= 50, "drawn anew for each"
        assert min(ports) >= 1024 and max(ports) - min(ports) > 32768
        steps = [b[1] - a[1] for a, b in zip(ours, ours[1:])]
        assert len(set(steps)) > 50, "no pattern from one to the next"
    assert all(checksums_right(one) for one in queries)
    after = via.stats()
    assert after["via_port"]["fallbacks"] == before["via_port"]["fallbacks"]
    assert after["via_port"]["received"] - before["via_port"]["received"] >= 60
    assert after["to_control"] > before["to_control"] and after["from_control"] > before["from_control"]


def test_a_truncated_reply_is_asked_again_over_the_kernels_tcp(via):
    with via.wire() as seen:
        reply = via.ask(f"big.{DOMAIN}", qtype="TXT", tcp=True)
        assert len(reply.answer) == 40
        connections = seen(TCP, 1)
    sources = {one[layer].src for one in connections for layer in (IP, IPv6) if layer in one}
    assert sources and not sources & set(sum(via.sources.values(), [])), "the kernel chooses its own"


def reply(via, family=4, **broken):
    """A frame that would be an upstream's reply, were the port open; but for the fields in `broken`."""
    names = via.lab.names
    layer = IP if family == 4 else IPv6
    src, dst = broken.pop("src", via.servers[family]), broken.pop("dst", via.sources[family][0])
    udp = UDP(**{"sport": PORT, "dport": random.randrange(1024, 65536), **broken.pop("udp", {})})
    return (Ether(src=mac(names.sub, "-n", names.namespace), dst=mac(names.edge)) / layer(src=src, dst=dst, **broken) / udp /
            DNS(id=1, qr=1, qd=DNSQR(qname="a.example"), an=DNSRR(rrname="a.example", rdata="192.0.2.66")))


FRAMES = [
    # what, the frame, what counts it: a key of `stats`; None: the kernel has it
    ("nobody's question", lambda via: reply(via), "dropped.unasked"),
    ("nobody's question, IPv6", lambda via: reply(via, 6), "dropped.unasked"),
    ("wrong checksum", lambda via: reply(via, udp={"chksum": 0x1234}), "dropped.checksum"),
    ("wrong checksum, IPv6", lambda via: reply(via, 6, udp={"chksum": 0x1234}), "dropped.checksum"),
    ("no checksum, IPv6", lambda via: reply(via, 6, udp={"chksum": 0}), "dropped.checksum"),
    ("wrong IPv4 checksum", lambda via: reply(via, chksum=0x1234), "dropped.checksum"),
    ("another sender", lambda via: reply(via, src=via.lab.names.sub4.rpartition(".")[0] + ".99"), None),
    ("another port of the sender", lambda via: reply(via, udp={"sport": PORT + 1}), None),
    ("a privileged port", lambda via: reply(via, udp={"dport": 1023}), None),
    ("the kernel's address", lambda via: reply(via, dst=via.lab.names.edge4), None),
    ("a first fragment", lambda via: fragment_of(reply(via)), None),
    ("a first fragment, IPv6", lambda via: fragment_of(reply(via, 6)), None),
]


def fragment_of(frame):
    if IP in frame:
        return fragment(frame, 32)[0]
    ip = frame[IPv6]
    inner = ip.payload
    ip.remove_payload()
    return frame / IPv6ExtHdrFragment(m=1, nh=17, id=7) / bytes(inner)[:64]


@pytest.mark.parametrize("what, frame, counter", FRAMES, ids=[row[0] for row in FRAMES])
def test_what_is_no_reply(via, what, frame, counter):
    known(via)

    def counts():
        stats = via.stats()
        return {"received": stats["received"], "via_port.unasked": stats["via_port"]["unasked"],
                **{f"dropped.{why}": count for why, count in stats["dropped"].items()}}

    before = counts()
    with contextlib.closing(Subscriber(via.lab).raw()) as raw:
        raw.send(bytes(frame(via)))
    expected = dict(before)
    if counter:
        expected[counter] += 1
        expected["received"] += 1
        assert until(lambda: counts() == expected), (counts(), expected)
    else:
        Subscriber(via.lab).ask("localhost")  # behind it
        expected["received"] += 1
        assert until(lambda: counts()["received"] >= expected["received"])
        assert counts() == expected, "the program has left it to the kernel"


def fallbacks(via):
    return via.stats()["via_port"]["fallbacks"]


@pytest.fixture(scope="module")
def detour(via):
    """Another link to the servers, which is not the port's."""
    names = via.lab.names
    near, far = f"mr-dedge{names.number}", f"mr-dsub{names.number}"
    hosts = {4: [f"198.19.{50 + names.number}.{last}" for last in (1, 2)], 6: [f"2001:db8:d{names.number:x}::{last}" for last in (1, 2)]}
    add_pair(names, near, far, 1, [(f"{hosts[4][0]}/24", f"{hosts[4][1]}/24"), (f"{hosts[6][0]}/64", f"{hosts[6][1]}/64")])
    yield {family: ("via", hosts[family][1], "dev", near) for family in (4, 6)}
    run(["ip", "link", "del", near])


@pytest.mark.parametrize("family", [4, 6])
def test_without_a_route_by_the_port_the_kernel_takes_over(via, detour, family):
    """And the port again, once it has one."""
    known(via)
    where = f"{via.servers[family]}/{32 if family == 4 else 128}"
    asked = via.daemon.ctl("upstream", "list")["upstreams"]
    before = fallbacks(via)
    must(f"-{family}", "route", "add", where, *detour[family])
    assert until(lambda: via.ask().answer and fallbacks(via) >= before + 10, 30), via.stats()["via_port"]
    assert until(lambda: heard(via, family) >= heard_of(asked, via, family) + 10), "the kernel's queries are answered"
    must(f"-{family}", "route", "del", where, *detour[family])
    known(via)


def heard_of(rows, via, family):
    return next(row["replies"] for row in rows if via.servers[family] in row["address"])


def heard(via, family):
    return heard_of(via.daemon.ctl("upstream", "list")["upstreams"], via, family)


def test_a_neighbour_that_is_lost_is_the_kernels_to_find(via):
    known(via)
    names = via.lab.names
    space = ("netns", "exec", names.namespace)
    must("-n", names.namespace, "neigh", "replace", names.edge4, "lladdr", mac(names.edge), "nud", "permanent", "dev", names.sub)
    must(*space, "sysctl", "-qw", f"net.ipv4.conf.{names.sub}.arp_ignore=8")  # it no longer says where it is
    before = fallbacks(via)
    must("neigh", "del", names.sub4, "dev", names.edge)
    assert until(lambda: via.ask().answer and fallbacks(via) >= before + 3, 30), via.stats()["via_port"]
    must(*space, "sysctl", "-qw", f"net.ipv4.conf.{names.sub}.arp_ignore=0")
    must("-n", names.namespace, "neigh", "del", names.edge4, "dev", names.sub)
    known(via)


def test_by_a_port_with_a_kernel_interface(lab, build, via):
    """A tap: its exception path finds the neighbour, and carries TCP; the queries go past it."""
    names = lab.names
    far, kernel, space = f"mr-vtap{names.number}", f"mr-vdns{names.number}", names.namespace
    service, source, server = (f"198.19.{70 + names.number}.{last}" for last in (53, 60, 2))
    config = via.config(families=(4,))
    config["ports"] = [{"device": f"net_tap0,iface={far}", "lcores": [LCORE], "addresses": [service], "idle": "sleep",
                        "next-hop": "routed", "kernel": {"interface": kernel, "addresses": [f"{service}/24", f"{source}/32"]}}]
    config["upstreams"] = [{"group": "default", "servers": [f"{server}:{PORT}"], "via": "net_tap0", "source": [source]}]
    one = Daemon(lab, build, config, name="via-tap").start()
    must("link", "set", far, "netns", space)
    must("-n", space, "link", "set", far, "address", "02:00:00:00:00:78", "up")
    must("-n", space, "addr", "add", f"{server}/24", "dev", far)
    start_nsd(lab.children, lab.folder / "via-tap-nsd", server, PORT, DOMAIN, zone(1), ["ip", "netns", "exec", space])
    client = Subscriber(lab, service)
    assert until(lambda: client.ask(f"shared.{DOMAIN}").answer, 30)
    asked = iter(range(1000))

    def by_port():
        before = one.ctl("stats")["via_port"]
        reply = client.ask(f"host-{next(asked)}.{DOMAIN}")
        after = one.ctl("stats")["via_port"]
        return reply.answer and after["received"] > before["received"] and after["fallbacks"] == before["fallbacks"]

    assert until(by_port, 30), (one.ctl("stats")["via_port"], one.last_lines())
    assert len(client.ask(f"big.{DOMAIN}", qtype="TXT", tcp=True).answer) == 40
    assert one.ctl("stats")["from_kernel"] > 0
    end(one)


def test_a_reload_keeps_the_ways(via):
    config = via.daemon.config
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace(f'"source": ["{via.sources[4][0]}", ', '"source": ['), encoding="utf-8")
    try:
        assert via.daemon.ctl("config", "reload")["needs_restart"] == ["upstreams.via"]
        known(via)
        assert via.ask().answer
    finally:
        config.write_text(text, encoding="utf-8")
    assert via.daemon.ctl("config", "reload")["needs_restart"] == []
    known(via)
