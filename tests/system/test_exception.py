"""The exception path: a tap port whose other end is the subscribers', and a kernel interface of its own behind it.

Nobody is told anybody's MAC address: ARP and neighbour discovery are the kernel's, beyond the port.
"""

import json
import multiprocessing
import os
import time

import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from conftest import LCORE, end
from lab import WWW, Daemon
from lab.children import run
from lab.daemon import xdp_config
from support import Client, Subscriber, until

ALL = sorted(sum(WWW.values(), []))
SUBSCRIBER_MAC = "02:00:00:00:00:77"  # or both ends would have that of the tap
RATE, FLOOD_A_SECOND, FLOOD_SECONDS = 1000, 10_000, 4
VLAN = 7


class Wire:
    """The names and addresses at both ends of the port."""

    def __init__(self, lab):
        number = lab.names.number
        self.lab, self.space = lab, lab.names.namespace
        self.far, self.kernel = f"mr-tap{number}", f"mr-dns{number}"  # the subscribers' end; behind the port
        self.service = [f"198.19.{number}.53", f"2001:db8:1{number}::53"]
        self.near = [f"198.19.{number}.2", f"2001:db8:1{number}::2"]

    def config(self, device, upstreams, **kernel):
        config = xdp_config(self.lab.names, upstreams, LCORE)
        config["ports"] = [{"device": device, "lcores": [LCORE], "addresses": self.service, "idle": "sleep",
                            "kernel": {"interface": self.kernel, **kernel}}]
        return config

    def hand_over(self):
        """The far end to the subscribers, with addresses and nothing else."""
        assert until(lambda: ip("link", "show", "dev", self.far).returncode == 0), "no tap interface"
        must("link", "set", self.far, "netns", self.space)
        must("-n", self.space, "link", "set", self.far, "address", SUBSCRIBER_MAC, "up")
        must("-n", self.space, "addr", "add", f"{self.near[0]}/24", "dev", self.far)
        must("-n", self.space, "addr", "add", f"{self.near[1]}/64", "dev", self.far, "nodad")

    def forget_neighbours(self):
        must("-n", self.space, "neigh", "flush", "dev", self.far)

    def inside(self, *words):
        return run(self.lab.inside(*words))

    def mac(self):
        return json.loads(ip("-j", "link", "show", "dev", self.kernel).stdout)[0]["address"]

    def raw(self):
        return Subscriber(self.lab).raw(self.far)


def ip(*words):
    return run(["ip", *map(str, words)])


def must(*words):
    done = ip(*words)
    assert done.returncode == 0, f"ip {' '.join(map(str, words))}: {done.stdout}"


@pytest.fixture(scope="module")
def wire(lab):
    return Wire(lab)


@pytest.fixture(scope="module")
def appliance(lab, build, nsd, wire):
    """millraced on the tap, with its kernel interface. One for the tests below that do not start their own."""
    config = wire.config(f"net_tap0,iface={wire.far}", nsd, addresses=[f"{wire.service[0]}/24", f"{wire.service[1]}/64"],
                         rate=RATE)
    one = Daemon(lab, build, config, name="appliance").start()
    wire.hand_over()
    yield one
    end(one)


def sums(daemon):
    """The counters, of which every received packet has one."""
    stats = daemon.ctl("stats")
    parts = stats["answered"] + stats["misses"] + stats["refused"] + stats["to_kernel"] + sum(stats["dropped"].values())
    assert stats["received"] == parts, stats
    return stats


@pytest.mark.parametrize("family", [4, 6])
def test_neighbours_are_found_and_ping_is_answered(appliance, wire, family):
    before = sums(appliance)
    wire.forget_neighbours()
    done = wire.inside("ping", f"-{family}", "-c", 3, "-i", "0.2", "-W", 4, wire.service[family == 6])
    assert " 0% packet loss" in done.stdout, done.stdout
    shown = json.loads(ip("-j", "-n", wire.space, "neigh", "show", "dev", wire.far).stdout)
    assert {entry["dst"]: entry.get("lladdr") for entry in shown}[wire.service[family == 6]] == wire.mac()
    after = sums(appliance)
    assert after["to_kernel"] >= before["to_kernel"] + 4 and after["from_kernel"] >= before["from_kernel"] + 4


@pytest.mark.quick
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_dig(appliance, wire, family, transport):
    wire.forget_neighbours()

    def asked():
        done = wire.inside("dig", f"-{family}", transport, "+short", f"@{wire.service[family == 6]}", "www.lab.example")
        assert done.returncode == 0, done.stdout
        return sorted(done.stdout.split()) == ALL

    assert until(asked, 10)


def test_a_query_never_goes_to_the_kernel(appliance, wire):
    client = Subscriber(wire.lab, wire.service[0])
    client.ask("shared.lab.example")
    queries = 200
    before, row = sums(appliance), kernel_row(appliance)
    for _ in range(queries):
        client.ask("shared.lab.example")
    after = sums(appliance)
    assert after["answered"] - before["answered"] == queries
    assert after["to_kernel"] - before["to_kernel"] < queries / 4  # neighbours asking, multicast listeners
    assert kernel_row(appliance)["written"] - row["written"] < queries / 4


def kernel_row(daemon):
    (row,) = daemon.ctl("status")["kernel_interfaces"]
    return row


def question(wire, *below, family=4):
    layer = IPv6(src=wire.near[1], dst=wire.service[1]) if family == 6 else IP(src=wire.near[0], dst=wire.service[0])
    frame = Ether(src=SUBSCRIBER_MAC, dst=wire.mac())
    for tag in below:
        frame /= tag
    return bytes(frame / layer / UDP(sport=40000, dport=53) / DNS(id=4711, rd=1, qd=DNSQR(qname="shared.lab.example")))


@pytest.mark.parametrize("family", [4, 6])
def test_a_tagged_query_is_answered_with_its_tag(appliance, wire, family):
    Subscriber(wire.lab, wire.service[0]).ask("shared.lab.example")
    before = sums(appliance)
    with wire.raw() as raw:
        raw.send(question(wire, Dot1Q(vlan=VLAN), family=family))
    assert until(lambda: sums(appliance)["answered"] > before["answered"])


def test_tags_stay_on_the_way_to_the_kernel_and_back(appliance, wire):
    """A VLAN interface on each side: ARP and ping go through the port with their tag."""
    inner = wire.kernel + f".{VLAN}"
    made = ip("link", "add", "link", wire.kernel, "name", inner, "type", "vlan", "id", VLAN)
    if made.returncode:
        pytest.skip(f"this kernel has no VLAN interfaces: {made.stdout}")
    number = wire.lab.names.number
    must("link", "set", inner, "up")
    must("addr", "add", f"198.19.{100 + number}.53/24", "dev", inner)
    must("-n", wire.space, "link", "add", "link", wire.far, "name", "tagged", "type", "vlan", "id", VLAN)
    must("-n", wire.space, "link", "set", "tagged", "up")
    must("-n", wire.space, "addr", "add", f"198.19.{100 + number}.2/24", "dev", "tagged")
    done = wire.inside("ping", "-c", 3, "-i", "0.2", "-W", 4, f"198.19.{100 + number}.53")
    assert " 0% packet loss" in done.stdout, done.stdout
    must("link", "del", inner)
    must("-n", wire.space, "link", "del", "tagged")


def flood(wire, mac):
    """ARP of one neighbour, and TCP SYN of many sources, by turns."""
    prefix = wire.near[0].rpartition(".")[0]
    stranger = "02:66:00:00:00:01"
    frames = [bytes(Ether(src=stranger, dst="ff:ff:ff:ff:ff:ff")
                    / ARP(op=1, hwsrc=stranger, psrc=f"{prefix}.9", pdst=wire.service[0]))]
    frames += [bytes(Ether(src=stranger, dst=mac) / IP(src=f"{prefix}.{100 + i}", dst=wire.service[0])
                     / TCP(sport=1024 + i, dport=80, flags="S")) for i in range(100)]
    with wire.raw() as raw:
        begin = time.monotonic()
        for sent in range(FLOOD_A_SECOND * FLOOD_SECONDS):
            raw.send(frames[0 if sent % 2 else 1 + sent // 2 % 100])
            if sent % 100 == 0:
                time.sleep(max(0, begin + sent / FLOOD_A_SECOND - time.monotonic()))


def test_a_flood_for_the_kernel_ends_neither_queries_nor_neighbours(appliance, wire):
    client = Subscriber(wire.lab, wire.service[0])
    client.ask("shared.lab.example")
    before, begin = sums(appliance), time.monotonic()
    process = multiprocessing.get_context("fork").Process(target=flood, args=(wire, wire.mac()), daemon=True)
    process.start()
    answered = 0
    while process.is_alive() and answered < 1000:
        done = wire.inside("dig", "+short", "+tries=3", "+timeout=3", f"@{wire.service[0]}", "shared.lab.example")
        assert done.returncode == 0 and done.stdout.strip(), done.stdout
        answered += 1
        if answered % 10 == 5:  # who knows nobody finds the appliance all the same
            wire.forget_neighbours()
    process.join(30)
    assert process.exitcode == 0 and answered > 0
    after, seconds = sums(appliance), time.monotonic() - begin
    assert after["dropped"]["kernel_rate"] - before["dropped"]["kernel_rate"] > FLOOD_A_SECOND * FLOOD_SECONDS / 10, after
    # All of a kind for the many SYN, a quarter for the one that sends ARP, one second's worth at once; and our own.
    assert after["to_kernel"] - before["to_kernel"] < 1.25 * RATE * (seconds + 1) + 10 * answered, after
    assert " 0% packet loss" in wire.inside("ping", "-c", 2, "-W", 4, wire.service[0]).stdout


# What follows needs no traffic: a port that is a loop will do.


def loop(wire, **kernel):
    return wire.config("net_ring0", ["127.0.0.1:9"], **kernel)


@pytest.fixture
def alone(appliance):
    """The interface's name is free: the appliance of the other tests has ended."""
    end(appliance)


def shown(wire):
    done = ip("-j", "addr", "show", "dev", wire.kernel)
    return json.loads(done.stdout)[0] if done.returncode == 0 else None


def test_the_interface_lives_as_long_as_the_daemon(alone, wire, daemon):
    for how in ("terminate", "kill"):
        one = daemon(loop(wire, mtu=1400, addresses=[f"{wire.service[0]}/24", f"{wire.service[1]}/64"]))
        interface = shown(wire)
        assert interface["mtu"] == 1400 and {"UP", "LOWER_UP"} <= set(interface["flags"])
        assert {f"{each['local']}/{each['prefixlen']}" for each in interface["addr_info"] if each["scope"] == "global"} \
            == {f"{wire.service[0]}/24", f"{wire.service[1]}/64"}
        getattr(one.process, how)()
        assert one.wait() == (0 if how == "terminate" else -9), one.last_lines()
        assert shown(wire) is None


def test_addresses_may_come_later(alone, wire, daemon):
    """TCP is served on them as soon as the operator's own tools have added them."""
    daemon(loop(wire))
    assert not [each for each in shown(wire)["addr_info"] if each["scope"] == "global"]
    for address, length, nodad in zip(wire.service, (24, 64), ((), ("nodad",)), strict=True):
        must("addr", "add", f"{address}/{length}", "dev", wire.kernel, *nodad)
        assert Client(address, bind=address).send(b"\0\0" + bytes(10), tcp=True) is not None


def test_a_name_that_is_taken(alone, wire, daemon):
    must("link", "add", wire.kernel, "type", "veth", "peer", "name", wire.kernel + "p")
    try:
        assert f"there is an interface {wire.kernel} already" in refusal(daemon(loop(wire), ready=False))
    finally:
        must("link", "del", wire.kernel)


def test_without_the_right(alone, wire, daemon):
    one = daemon(loop(wire), ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"], ready=False)
    os.chown(one.folder, 0, 0)
    assert "start millraced as root, or give it CAP_NET_ADMIN" in refusal(one)


def test_an_mtu_above_the_port_s(alone, wire, daemon):
    assert "has an MTU of 1500; its kernel interface" in refusal(daemon(loop(wire, mtu=2000), ready=False))


def refusal(one):
    assert one.launch().wait(20) == 1, one.last_lines()
    return one.last_lines(1)
