"""Floods beside a client that asks normally: of garbage over AF_XDP, and of random names.

Garbage: a table of frames, each with the counter that it must end in, is sent round and round by a process of its
own. What was sent and did not arrive, the port has dropped; the client loses no more than that, and the counters say of
everything else exactly what it was.
"""

import collections
import contextlib
import multiprocessing
import os
import random
import time

import dns.message
import dns.rcode
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

from conftest import loopback, socket_config
from lab.daemon import write_config
from support import Client, addresses, is_sanitized
from test_port import mac
from upstream import Script

SECONDS = 60 if os.environ.get("MILLRACE_LONG") else 8
FRAMES_A_SECOND, QUERIES_A_SECOND, CLIENT_NAMES = 10_000, 200, 200
MOST_DROPPED = 0.7  # of the flood, where the lcore has to share its core; otherwise nothing was shown
MOST_GROWTH = 4 << 20  # octets, once every frame has been there
KERNEL = None  # the XDP program leaves these to the kernel
SEED = 161803


def question(name):
    return dns.message.make_query(name, "A", id=4711).to_wire()


def garbage(draw, head):
    return bytes.fromhex(head) + draw.randbytes(draw.randrange(1, 1400))


def corpus(names):
    """Pairs of the counter and the frame."""
    draw = random.Random(SEED)
    link = Ether(src=mac(names.sub, "-n", names.namespace), dst=mac(names.edge))
    good = question("shared.lab.example")
    prefix = names.sub4.rpartition(".")[0]

    def v4(payload=good, below=link, src=None, udp=(), **ip):
        source = src or f"{prefix}.{draw.randrange(60, 250)}"  # within the access list, and nobody's
        return bytes(below / IP(src=source, dst=names.edge4, **ip)
                     / UDP(**{"sport": draw.randrange(1024, 65536), "dport": 53, **dict(udp)}) / Raw(payload))

    def v6(payload=good, udp=(), between=None):
        ip = IPv6(src=names.sub6[:-1] + f"{draw.randrange(0x100, 0xffff):x}", dst=names.edge6)
        return bytes(link / (ip / between if between else ip)
                     / UDP(**{"sport": draw.randrange(1024, 65536), "dport": 53, **dict(udp)}) / Raw(payload))

    for _ in range(4):
        yield "answered", v4()
        yield "answered", v6()
        yield "answered", v4(below=link / Dot1Q(vlan=7))
        yield "answered", v4(good + draw.randbytes(1472 - len(good)))  # as large as the link carries
        yield "answered", v4(garbage(draw, "4711 2900 0001 0000 0000 0000"))  # an opcode that is not ours
        yield "answered", v4(garbage(draw, "4711 0100 ffff 0000 0000 0000"))  # too many questions
        yield "answered", v6(bytes.fromhex("4711 0100 0001 0000 0000 0000 c00c 0001 0001"))
        yield "answered", v4(good[:draw.randrange(12, len(good))])
        yield "misses", v4(question("ttl0.lab.example"))
        yield "refused", v4(src=f"203.0.113.{draw.randrange(1, 255)}")
        yield "short", v4(draw.randbytes(draw.randrange(12)))
        yield "response", v4(garbage(draw, "4711 8180 0001 0001 0000 0000"))
        yield "source", v4(src="224.0.0.1")
        yield "source", v4(src="127.0.0.1")
        yield "source", v4(src=names.edge4, udp={"sport": 53})
        yield "source", v6(udp={"sport": 0})
        yield "checksum", v4(udp={"chksum": draw.randrange(1, 0x100)})
        yield "checksum", v6(udp={"chksum": 0})
        yield "checksum", v4(chksum=0x1234)
        yield "frame", v4(len=1000)
        yield "frame", v4()[:draw.randrange(42, 60)]  # cut on its way
        yield "frame", v4(udp={"len": 7})
        yield "frame", v4(udp={"len": 600})
        yield KERNEL, v4(flags="MF")
        yield KERNEL, v4(frag=10)
        yield KERNEL, v6(between=IPv6ExtHdrFragment(m=1))
        yield KERNEL, v4(udp={"dport": 5353})
        yield KERNEL, v4(below=link / Dot1AD(vlan=1) / Dot1Q(vlan=2) / Dot1Q(vlan=3))
        yield KERNEL, bytes(link) + draw.randbytes(draw.randrange(1, 1400))
        yield KERNEL, draw.randbytes(14)


def send_frames(raw, frames, rounds, pause):
    """A burst, a pause, and so on: `rounds` times every frame, `pause` seconds for each."""
    due = time.monotonic()
    for i, frame in enumerate(frames * rounds):
        if i % 32 == 0:
            time.sleep(max(0, due - time.monotonic()))
            due += 32 * pause
        with contextlib.suppress(BlockingIOError):
            while raw.send(frame) != len(frame):
                pass


@contextlib.contextmanager
def flood(subscriber, frames, seconds):
    """A process that sends every frame equally often; gives how often."""
    rounds = seconds * FRAMES_A_SECOND // len(frames)
    with subscriber.raw() as raw:
        raw.setblocking(True)
        sender = multiprocessing.get_context("fork").Process(target=send_frames,
                                                             args=(raw, frames, rounds, 1 / FRAMES_A_SECOND))
        sender.start()
        yield rounds
        sender.join(seconds + 30)
        assert sender.exitcode == 0
    time.sleep(0.5)  # what is in rings and queues arrives, upstream's answers too


def ask_evenly(subscriber, seconds):
    """Asks for one name after the other, checks each reply; how many were asked and how many not answered."""
    asked, answered, due, end = 0, set(), time.monotonic(), time.monotonic() + seconds
    with subscriber.socket() as s:
        s.settimeout(0)
        while time.monotonic() < end + 1:
            if time.monotonic() < end and time.monotonic() >= due:
                s.send(dns.message.make_query(f"host-{asked % CLIENT_NAMES}.lab.example", "A", id=asked & 0xffff).to_wire())
                asked, due = asked + 1, due + 1 / QUERIES_A_SECOND
            with contextlib.suppress(BlockingIOError):
                reply = dns.message.from_wire(s.recv(2048))
                number = next(n for n in range(asked - 1, -1, -1) if n & 0xffff == reply.id) % CLIENT_NAMES
                assert reply.question[0].name.to_text() == f"host-{number}.lab.example."
                assert addresses(reply) == [f"198.19.{number >> 8}.{number & 255}"]
                answered.add(reply.id)
            time.sleep(0.001)
    return asked, asked - len(answered)


def counted(stats):
    """Verdicts by name; a miss that finds its answer cached meanwhile is answered."""
    return collections.Counter({name: stats[name] for name in ("answered", "misses", "refused")}) + \
        collections.Counter(stats["dropped"])


def memory(one):
    with open(f"/proc/{one.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.timeout(SECONDS + 60)
def test_a_flood_harms_nobody_and_is_counted(lab, port, subscriber):
    kinds, frames = zip(*corpus(lab.names))
    ask_evenly(subscriber, CLIENT_NAMES / QUERIES_A_SECOND)  # every name once: the cache is as large as it gets
    with flood(subscriber, frames, 1):
        pass
    before, size = port.ctl("stats"), memory(port)
    with flood(subscriber, frames, SECONDS) as rounds:
        asked, unanswered = ask_evenly(subscriber, SECONDS - 1)
    after = port.ctl("stats")
    assert after["received"] == sum(counted(after).values())
    got = counted(after) - counted(before)
    sent = collections.Counter(kind for kind in kinds if kind is not KERNEL)
    sent = collections.Counter({kind: count * rounds for kind, count in sent.items()})
    sent["answered"] += asked
    for counts in (got, sent):
        counts["answered"] += counts.pop("misses", 0)  # which of the two depends on what is cached
    dropped = sum(sent.values()) - sum(got.values())
    assert not got - sent, "counted without having been sent"
    assert 0 <= dropped <= MOST_DROPPED * sum(sent.values()), f"{sent - got} were sent and not received"
    unsent = after["send_failed"] - before["send_failed"]
    assert unanswered <= dropped + unsent, "the client lost what the port had received"
    growth = memory(port) - size
    assert growth < MOST_GROWTH or is_sanitized(port), f"{growth} octets more"
    print(f"{sum(sent.values())} sent, {dropped} dropped by the port, {unanswered} of {asked} unanswered, {growth} octets more")


ZONES, RANDOM_NAMES, OTHERS, RATE = 100, 30, 200, 1  # names of each zone; other clients' hits and misses; of a zone
PARTS = 10


class RandomNames(dict):
    """Scripts of a server: names that begin with "r" are denied by the zone above them."""

    def get(self, name, default=None):
        zone = name.partition(".")[2]
        return Script(authority=(f"{zone} 60 IN SOA a. b. 1 2 3 4 60",), rcode="NXDOMAIN") if name[0] == "r" else default


def ask_all(client, names, at_once=50):
    """Replies by name, all of them; never more questions at once than sockets have room for."""
    replies = {}
    with client.socket() as s:
        for start in range(0, len(names), at_once):
            for number, name in enumerate(names[start:start + at_once], start):
                s.send(dns.message.make_query(name, "A", id=number, use_edns=0).to_wire())
            for _ in names[start:start + at_once]:
                reply = dns.message.from_wire(s.recv(2048))
                replies[names[reply.id]] = reply
    return replies


def test_random_names_under_many_zones_harm_no_others(lab, daemon, upstreams):
    server = upstreams[0]
    server.scripts = RandomNames()
    config = socket_config(lab, [server.endpoint], limits={"fetches-per-zone": RATE})
    one, client = daemon(config), Client(loopback(lab), 5300)
    known = [f"known{i}.example" for i in range(OTHERS)]
    ask_all(client, known)
    ask_all(client, [f"r.z{zone}.test-flood" for zone in range(ZONES)])  # each zone has denied something
    flooded = [f"r{i}.z{zone}.test-flood" for zone in range(ZONES) for i in range(RANDOM_NAMES - 1)]
    started = time.monotonic()
    replies, others = {}, {}
    share = len(flooded) // PARTS
    for part in range(PARTS):  # the flood, some zones at a time, and others in between
        replies.update(ask_all(client, flooded[part * share:(part + 1) * share]))
        others.update(ask_all(client, known[part::PARTS] + [f"new{part}-{i}.example" for i in range(OTHERS // PARTS)]))
    seconds = time.monotonic() - started
    assert all(addresses(reply) == ["192.0.2.200"] for reply in others.values())
    assert len(others) == 2 * OTHERS and len(replies) == ZONES * (RANDOM_NAMES - 1)
    limited = [reply for reply in replies.values() if reply.rcode() == dns.rcode.SERVFAIL]
    assert all("over a limit" in reply.options[0].text for reply in limited)
    assert all(reply.rcode() == dns.rcode.NXDOMAIN for reply in replies.values() if reply not in limited)
    asked = sum(name[0] == "r" for name in server.asked) - ZONES
    # A zone is asked in one part alone: its share of the time is no more.
    assert asked <= ZONES * (RATE + 1) + ZONES // PARTS * RATE * seconds, "the upstream's part of the flood"
    assert 2 * len(limited) > len(replies)
    assert asked + len(limited) == len(replies)
    stats = one.ctl("stats")
    assert stats["limited_by"]["fetches_per_zone"] == len(limited)
    assert one.last_lines(1000).count("fetches-per-zone") <= 10 * (1 + seconds // 60)
    # The same again, to see what it would do.
    write_config(one.config, {**config, "limits": {"fetches-per-zone": RATE, "dry-run": True},
                              "control": {"socket": str(one.socket)}})
    assert one.ctl("config", "reload")["changed"] == ["limits"]
    again = ask_all(client, [f"r-dry{i}.z0.test-flood" for i in range(100)])
    assert all(reply.rcode() == dns.rcode.NXDOMAIN for reply in again.values())
    assert one.ctl("stats")["limited_by"] == stats["limited_by"]
    assert one.ctl("stats")["dry_run"]["fetches_per_zone"] > 0
    print(f"{len(replies)} random names in {seconds:.1f} s, {asked} asked; {len(others)} others, all answered")
