"""Ports by any vdev string beside AF_XDP: af_packet, tap, memif (its peer is dpdk-testpmd on a tap) and ring."""

import json
import os
import socket

import dns.message
import pytest

from conftest import LCORE, socket_config
from lab import WWW
from lab.children import run
from lab.daemon import xdp_config
from support import Subscriber, addresses, until

ALL = sorted(sum(WWW.values(), []))
CPUS = sorted(os.sched_getaffinity(0))[:2]
OTHER_MAC = "02:00:00:00:00:53"


@pytest.fixture
def serve(lab, daemon, nsd):
    """Starts millraced on one device, on the lab's own addresses unless others are given."""

    def start(device, at=None, lcores=(LCORE,), **more):
        config = xdp_config(lab.names, nsd, LCORE)
        # Lcores that took every CPU would leave the kernel none to tidy up on: `ip` waits for that (rcu_barrier).
        config["ports"] = [{"device": device.format(edge=lab.names.edge), "lcores": list(lcores),
                            "addresses": at or [lab.names.edge4, lab.names.edge6],
                            "idle": "sleep" if len(lcores) > 1 else "poll"}]
        return daemon(config, **more)

    return start


@pytest.fixture
def tap(lab):
    """The kernel end of a tap, given to the subscribers once it is there: its name, the addresses beyond it."""
    return Tap(lab)


@pytest.fixture
def memif(lab):
    """The device string of either role on a socket that nobody has used."""
    path = lab.folder / "memif.sock"
    path.unlink(missing_ok=True)
    return lambda role: f"net_memif0,role={role},id=0,socket={path},socket-abstract=no"


class Tap:
    def __init__(self, lab):
        number = lab.names.number
        self.lab, self.name = lab, f"mr-tap{number}"
        self.near = f"198.19.{number}.2/24", f"2001:db8:1{number}::2/64"
        self.addresses = [f"198.19.{number}.53", f"2001:db8:1{number}::53"]

    def hand_over(self):
        """Nobody answers ARP or neighbour discovery beyond a tap, so the subscribers are told."""
        space = self.lab.names.namespace
        assert until(lambda: ip("link", "show", "dev", self.name).returncode == 0), "no tap interface"
        for words in [("link", "set", self.name, "netns", space), ("-n", space, "link", "set", self.name, "up"),
                      *(("-n", space, "addr", "add", near, "dev", self.name, *nodad)
                        for near, nodad in zip(self.near, ((), ("nodad",)), strict=True)),
                      *(("-n", space, "neigh", "replace", far, "lladdr", OTHER_MAC, "dev", self.name)
                        for far in self.addresses)]:
            done = ip(*words)
            assert done.returncode == 0, f"ip {' '.join(words)}: {done.stdout}"

    def clients(self):
        return [Subscriber(self.lab, address) for address in self.addresses]


class Peer:
    """dpdk-testpmd that carries every frame from a memif to a tap and back, until it is ended."""

    def __init__(self, lab, memif, tap):
        cpu = next(cpu for cpu in CPUS if cpu != LCORE)
        self.log = lab.folder / "testpmd.log"
        self.log.unlink(missing_ok=True)
        self.process = lab.children.start(
            ["nice", "taskset", "-c", cpu, "dpdk-testpmd", f"--lcores=0@{cpu},1@{cpu}", "--no-huge", "-m", "64", "--no-shconf", "--no-pci",
             "--no-telemetry", f"--file-prefix={lab.names.name}", f"--vdev={memif}", f"--vdev=net_tap0,iface={tap.name}",
             "--", "--forward-mode=io", "--total-num-mbufs=4096", "--no-lsc-interrupt", "--disable-link-check",
             "--stats-period=60"], self.log)
        # Before that the driver opens the tap again, by its name.
        assert until(lambda: "packets/burst" in self.log.read_text(), 15), self.log.read_text()
        tap.hand_over()

    def end(self, how="kill"):
        getattr(self.process, how)()
        self.process.wait(10)


def ip(*words):
    return run(["ip", *words])


def answers(client, tcp=False):
    """Whether the client gets the whole answer, within what the merge of three servers takes."""
    query = dns.message.make_query("www.lab.example", "A").to_wire()

    def whole():
        reply = client.send(query, tcp, timeout=0.5)
        return reply is not None and addresses(dns.message.from_wire(reply)) == ALL

    return until(whole)


def stop(one):
    one.process.terminate()
    assert one.wait() == 0, one.last_lines()


def test_af_packet_beside_the_kernel(lab, serve):
    """The kernel holds the address and gets every packet too: it answers TCP and ping, and says nothing to UDP/53."""
    one = serve("net_af_packet0,iface={edge}")
    (shown,) = one.ctl("ports")["ports"].values()
    assert shown["receive_ring"] == 512, "the driver's own, not what it was asked for"
    for address in (lab.names.edge4, lab.names.edge6):
        client = Subscriber(lab, address)
        assert answers(client) and answers(client, tcp=True)
        for _ in range(20):  # an ICMP error would be the socket's
            client.ask("shared.lab.example")
        assert run(lab.inside("ping", "-c", 1, "-W", 2, address)).returncode == 0
    other = Subscriber(lab)
    other.port = 5353
    with pytest.raises(ConnectionRefusedError):
        other.send(b"x" * 20, timeout=1)
    stop(one)


def test_af_packet_on_addresses_of_its_own_with_a_queue_for_each_lcore(lab, serve):
    """The kernel does not hold the address, so the subscribers are told where it is."""
    number = lab.names.number
    mac = json.loads(ip("-j", "link", "show", "dev", lab.names.edge).stdout)[0]["address"]
    own = f"198.18.{number}.54"
    ip("-n", lab.names.namespace, "neigh", "replace", own, "lladdr", mac, "dev", lab.names.sub)
    one = serve("net_af_packet0,iface={edge}", [own], CPUS)
    check_spread(one, Subscriber(lab, own))
    stop(one)


@pytest.mark.parametrize("lcores", [[LCORE], CPUS], ids=["one queue", "two queues"])
def test_tap(serve, tap, lcores):
    one = serve(f"net_tap0,iface={tap.name}", tap.addresses, lcores)
    tap.hand_over()
    assert all(answers(client) for client in tap.clients())
    if len(lcores) > 1:
        check_spread(one, tap.clients()[0])
    stop(one)


def check_spread(one, client):
    """Clients on many ports are all answered, and not by one lcore alone."""
    assert answers(client)
    for _ in range(40):
        client.ask("shared.lab.example")
    workers = one.ctl("status")["workers"]
    assert len(workers) == 2 and all(worker["received"] > 0 for worker in workers), workers


def test_memif_waits_for_its_peer_and_for_the_next_one(lab, serve, tap, memif):
    one = serve(memif("server"), tap.addresses)
    assert "net_memif0 has no link; it will answer when it comes" in one.log.read_text()
    for how in ("kill", "terminate"):
        peer = Peer(lab, memif("client"), tap)
        assert all(answers(client) for client in tap.clients())
        peer.end(how)
        assert one.process.poll() is None
    stop(one)


def test_memif_server_starts_again_after_kill_9(lab, serve, tap, memif):
    """The socket that the dead one left is no obstacle; that of a living one is."""
    first = serve(memif("server"), tap.addresses)
    assert "another program serves the memif socket" in refusal(serve, memif("server"))
    first.process.kill()
    first.wait()
    second = serve(memif("server"), tap.addresses)
    peer = Peer(lab, memif("client"), tap)
    assert all(answers(client) for client in tap.clients())
    peer.end()
    stop(second)
    assert not (lab.folder / "memif.sock").exists()


def test_what_a_port_is_and_counts_is_shown_and_its_link_is_told(lab, serve, tap, memif):
    one = serve(memif("server"), tap.addresses)
    seen = lambda: next(iter(one.ctl("ports")["ports"].values()))  # noqa: E731
    port = seen()
    assert (port["name"], port["driver"], port["link"], port["queues"]) == ("net_memif0", "net_memif", "down", 1)
    assert len(port["mac"].split(":")) == 6 and port["mtu"] >= 1280 and port["receive_ring"] > 0
    peer = Peer(lab, memif("client"), tap)
    assert all(answers(client) for client in tap.clients())
    assert seen()["link"] == "up" and seen()["received"] > 0 and seen()["sent"] > 0
    assert until(lambda: "the link is up" in one.log.read_text())
    peer.end()
    assert until(lambda: "the link is down" in one.log.read_text(), 30)
    assert seen()["link"] == "down"
    stop(one)


def test_without_ports_none_are_shown(lab, daemon, nsd):
    assert daemon(socket_config(lab, nsd)).ctl("ports") == {"ports": {}}


@pytest.mark.parametrize("zero_copy", ["no", "yes"])
def test_memif_client(lab, serve, tap, memif, zero_copy):
    peer = Peer(lab, memif("server"), tap)
    one = serve(f"{memif('client')},zero-copy={zero_copy}", tap.addresses)
    assert all(answers(client) for client in tap.clients())
    stop(one)
    peer.end("terminate")


def test_ring(serve, nsd):
    """What such a port sends comes back to it, and nothing else: it starts, polls, is listed and stops."""
    one = serve("net_ring0", lcores=CPUS)
    shown = [(worker["name"], worker["lcore"]) for worker in one.ctl("status")["workers"]]
    assert shown == [("net_ring0", cpu) for cpu in CPUS]
    assert one.ctl("stats")["received"] == 0
    stop(one)


REFUSED = [
    ("net_af_packet0,iface={edge},qpairs=2", [LCORE], "has qpairs=2 but 1 lcore(s)"),
    ("net_af_packet0,iface={edge},qpairs=1", CPUS, "has qpairs=1 but 2 lcore(s)"),
    ("net_af_xdp0,iface={edge}", CPUS, "has 1 queue(s), and port net_af_xdp0 needs 2"),
    ("net_vhost0,iface=/run/mr-vhost.sock,queues=1", CPUS, "has 1 queue(s) but 2 lcores"),
    ("net_memif0,role=server,socket=/run/mr-nobody.sock", CPUS, "is a memif, which has one queue, but 2 lcores"),
    ("net_af_packet0,iface=nothere0", [LCORE], "there is no interface nothere0"),
    ("net_af_packet0", [LCORE], "is not the name of a network interface"),
    ("net_memif0,role=server,socket=/nowhere/memif.sock,socket-abstract=no", [LCORE], "there is no directory /nowhere"),
    ("net_memif0,role=server,socket=/etc/passwd,socket-abstract=no", [LCORE], "/etc/passwd exists and is not a memif"),
    ("net_memif0,role=client,socket=/run/mr-nobody.sock,socket-abstract=no", [LCORE], "cannot wait for its peer"),
    ("net_tap0,iface=lo", [LCORE], "there is no device net_tap0"),
    ("net_nothing0", [LCORE], "DPDK does not start"),
]


@pytest.mark.parametrize("device, lcores, said", REFUSED, ids=[row[0] for row in REFUSED])
def test_what_cannot_work_is_refused_with_a_sentence(serve, device, lcores, said):
    assert said in refusal(serve, device, lcores=lcores)


def test_af_packet_beside_another_server(lab, serve):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((lab.names.edge4, 53))
        said = refusal(serve, "net_af_packet0,iface={edge}")
    assert f"{lab.names.edge4} UDP port 53: another program serves it" in said


def refusal(serve, *arguments, **options):
    """What a daemon that does not start says last."""
    one = serve(*arguments, ready=False, **options)
    assert one.launch().wait(20) == 1, one.last_lines()
    return one.last_lines(1)
