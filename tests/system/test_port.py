"""The AF_XDP port on veth: DNS over UDP is the lcore's, everything else the kernel's."""

import json
import re

import dns.flags
import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from conftest import LCORE
from lab import WWW
from lab.children import run
from support import Subscriber, checksums_right, until

ALL = sorted(sum(WWW.values(), []))


@pytest.mark.quick
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_dig(lab, port, family, transport):
    address = lab.names.edge4 if family == 4 else lab.names.edge6

    def asked():
        done = run(lab.inside("dig", f"-{family}", transport, "+short", "+tries=1", f"@{address}", "www.lab.example"))
        assert done.returncode == 0, done.stdout
        return sorted(done.stdout.split()) == ALL

    assert until(asked)


def test_the_lcore_answers_udp_and_not_tcp(port, subscriber):
    def received():
        return sum(worker["received"] for worker in port.ctl("status")["workers"] if worker.get("lcore") == LCORE)

    before = received()
    subscriber.ask("shared.lab.example")
    assert received() == before + 1
    subscriber.ask("shared.lab.example", tcp=True)
    assert received() == before + 1


@pytest.mark.quick
def test_kernel_keeps_ping_arp_and_neighbour_discovery(lab, port):
    for address in (lab.names.edge4, lab.names.edge6):
        run(["ip", "-n", lab.names.namespace, "neigh", "flush", "dev", lab.names.sub])
        done = run(lab.inside("ping", "-c", 2, "-i", "0.1", "-W", 2, address))
        assert " 0% packet loss" in done.stdout, done.stdout
    shown = run(["ip", "-j", "-n", lab.names.namespace, "neigh", "show", "dev", lab.names.sub]).stdout
    states = {entry["dst"]: entry["state"] for entry in json.loads(shown)}
    assert "PERMANENT" not in str(states), "the neighbours were to be found, not given"


def test_kernel_keeps_udp_to_other_ports(lab, port, subscriber):
    """Nobody listens there, so the kernel says so."""
    other = Subscriber(lab)
    other.port = 5353
    with pytest.raises(ConnectionRefusedError):
        other.send(b"x" * 20, timeout=1)


def test_dnsperf(lab, port):
    queries = lab.folder / "queries"
    queries.write_text("".join(f"host-{i}.lab.example A\n" for i in range(100)))
    perf = lab.inside("dnsperf", "-s", lab.names.edge4, "-d", queries, "-c", 8, "-q", 100)
    run([*perf, "-n", 1]) # misses
    before = port.ctl("stats")
    output = run([*perf, "-l", 3]).stdout
    completed = int(re.search(r"completed:\s+(\d+)", output)[1])
    assert completed > 100, output
    assert f"NOERROR {completed} (100.00%)" in output
    assert int(re.search(r"lost:\s+(\d+)", output)[1]) < completed / 1000, output
    after = port.ctl("stats")
    assert after["hits"] - before["hits"] > 0.9 * completed


def test_kxdpgun(lab, port, subscriber):
    """Its checksums are whole, a kernel client's are partial: both have to be taken."""
    subscriber.ask("shared.lab.example")
    queries = lab.folder / "gun"
    queries.write_text("shared.lab.example A\n")
    output = run(lab.inside("kxdpgun", "-F", 0, "-t", 2, "-Q", 5000, "-i", queries, "-I", lab.names.sub, "-p", 53,
                            lab.names.edge4)).stdout
    sent = int(re.search(r"total queries:\s+(\d+)", output)[1])
    replies = re.search(r"total replies:\s+(\d+)", output)
    assert sent > 500 and int(replies[1]) > 0.9 * sent, output
    assert not re.search(r"responded (SERVFAIL|REFUSED)", output), output


@pytest.mark.parametrize("family", [4, 6])
def test_large_answers(port, lab, family):
    """Without EDNS 512 octets, with it 1232 at most; TCP carries it all."""
    client = Subscriber(lab, lab.names.edge4 if family == 4 else lab.names.edge6)
    for payload in (None, 4096):
        reply = client.ask("big.lab.example", "TXT", **({"use_edns": 0, "payload": payload} if payload else {}))
        assert reply.flags & dns.flags.TC and not reply.answer
    reply = client.ask("big.lab.example", "TXT", tcp=True)
    assert not reply.flags & dns.flags.TC and len(reply.answer) == 40


FRAMES = [
    # what, fields, answered?, the counter of the drop
    ("good", {}, True, None),
    ("good over IPv6", {"family": 6}, True, None),
    ("no UDP checksum, IPv4", {"udp_chksum": 0}, True, None),
    ("no UDP checksum, IPv6", {"family": 6, "udp_chksum": 0}, False, "checksum"),
    ("wrong UDP checksum", {"udp_chksum": 0x1234}, False, "checksum"),
    ("wrong UDP checksum, IPv6", {"family": 6, "udp_chksum": 0x1234}, False, "checksum"),
    ("wrong IPv4 checksum", {"ip_chksum": 0x1234}, False, "checksum"),
    ("source port 0", {"udp_sport": 0}, False, "source"),
    ("multicast source", {"ip_src": "224.0.0.1"}, False, "source"),
    ("loopback source", {"ip_src": "127.0.0.1"}, False, "source"),
    ("UDP length past the IP payload", {"udp_len": 500, "udp_chksum": 0}, False, "frame"),
    ("UDP length of 7", {"udp_len": 7, "udp_chksum": 0}, False, "frame"),
    ("IP length past the frame", {"ip_len": 1000}, False, "frame"),
    ("first fragment", {"ip_flags": "MF"}, False, None),
    ("later fragment", {"ip_frag": 100}, False, None),
]


@pytest.mark.parametrize("what, broken, answered, counter", FRAMES, ids=[row[0] for row in FRAMES])
def test_frames(lab, port, subscriber, what, broken, answered, counter):
    subscriber.ask("shared.lab.example")
    before = port.ctl("stats")["dropped"]
    with subscriber.raw() as raw:
        sent = frame(lab, **broken)
        raw.send(sent)
        reply = until(lambda: dns_reply(raw, sent), 30 if answered else 0.3)
    assert bool(reply) == answered
    if answered:
        assert reply[UDP].sport == 53 and reply[DNS].ancount == 1
        assert checksums_right(reply)
    after = port.ctl("stats")["dropped"]
    counted = [why for why in after if after[why] != before.get(why, 0)]
    assert counted == ([counter] if counter else [])


def frame(lab, family=4, **broken):
    """A good query but for the fields in `broken`, which go to scapy's layers by their prefix, ip_ or udp_."""
    fields = {layer: {key[len(layer):]: value for key, value in broken.items() if key.startswith(layer)}
              for layer in ("ip_", "udp_")}
    names = lab.names
    network = IPv6(src=names.sub6, dst=names.edge6) if family == 6 else IP(**{"src": names.sub4, "dst": names.edge4,
                                                                             **fields["ip_"]})
    question = DNS(id=4711, rd=1, qd=DNSQR(qname="shared.lab.example"))
    link = Ether(src=mac(names.sub, "-n", names.namespace), dst=mac(names.edge))
    return bytes(link / network / UDP(**{"sport": 40000, "dport": 53, **fields["udp_"]}) / question)


def mac(interface, *where):
    return json.loads(run(["ip", "-j", *where, "link", "show", "dev", interface]).stdout)[0]["address"]


def dns_reply(raw, sent):
    """The next frame, if it is a reply from port 53."""
    try:
        data = raw.recv(2048)
    except TimeoutError:
        return None
    parsed = Ether(data)
    return parsed if data != sent and UDP in parsed and parsed[UDP].sport == 53 else None
