"""Upstream servers that delay, reorder, repeat, lose and contradict; and addresses that say where they come from.

Every address names the set of servers, the server, the name asked for, and the time at which the question arrived, by
the kernel's clock. Control asks for one Fetch before it asks for the next, so times order generations: whatever belongs
to a later generation of a name is later than everything of the earlier ones.
"""

import heapq
import ipaddress
import random
import selectors
import socket
import struct
import threading
import time
from typing import NamedTuple

ZONE = b"\x04race\x07example\x00"
NAMES = 40
A, CNAME, SOA, AAAA = 1, 5, 6, 28
SO_TIMESTAMPNS = 35  # Linux; Python does not name it
TICKS = {A: 1_000, AAAA: 1_000_000}  # a second; an IPv4 address has 16 bits for the time


class Origin(NamedTuple):
    set: int
    server: int
    name: int
    time: int  # in ticks since the racers' start
    index: int  # counts the addresses of one reply


def name_of(index):
    return f"n{index}.race.example."


def is_chained(name):
    """Each server reaches the addresses of these names through an alias of its own."""
    return name % 8 == 7


def is_troubled(name):
    """One server is slow for these names: its answers come when what another said has often expired already. And for
    two seconds and a half in six all servers are silent: what has expired is all that there is then."""
    return name % 4 == 1


def count_of(server, ticks):
    """How many addresses a reply has: its reader can tell whether one is missing."""
    return 1 + (ticks + server) % 3


def alias_of(set_, server):
    return b"c%d%d" % (set_, server)


def pack(origin, qtype):
    if qtype == A:
        return struct.pack(">BBH", 32 + 4 * origin.set + origin.server, origin.name << 2 | origin.index, origin.time & 0xffff)
    return struct.pack(">HHBBBBQ", 0x2001, 0xdb8, origin.set, origin.server, origin.name, origin.index, origin.time)


def unpack(address):
    raw = ipaddress.ip_address(address).packed
    if len(raw) == 4:
        first, second, ticks = struct.unpack(">BBH", raw)
        return Origin((first - 32) >> 2, (first - 32) & 3, second >> 2, ticks, second & 3)
    _, _, set_, server, name, index, ticks = struct.unpack(">HHBBBBQ", raw)
    return Origin(set_, server, name, ticks, index)


class Racers:
    """Serves several sets of three servers from one thread. sets: lists of addresses."""

    def __init__(self, sets, port, seed):
        self.endpoints = [[f"{address}:{port}" for address in addresses] for addresses in sets]
        self.asked = 0
        self.base = time.time_ns()
        self._chance = random.Random(seed)
        self._due = []  # a heap of (when, what number, socket, reply, client)
        self._selector = selectors.DefaultSelector()
        for set_, addresses in enumerate(sets):
            for server, address in enumerate(addresses, 1):
                s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                s.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
                s.setblocking(False)
                s.bind((address, port))
                self._selector.register(s, selectors.EVENT_READ, (set_, server))
        self._stopping = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self):
        self._stopping = True
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()

    def ticks(self, qtype, time_ns=None):
        """The present, or another time, as addresses of this type have it."""
        return ((time_ns or time.time_ns()) - self.base) * TICKS[qtype] // 1_000_000_000

    def _run(self):
        while not self._stopping:
            wait = min(self._due[0][0] - time.monotonic(), 0.1) if self._due else 0.1
            for key, _ in self._selector.select(max(0, wait)):
                self._receive(key.fileobj, *key.data)
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, s, reply, client = heapq.heappop(self._due)
                s.sendto(reply, client)

    def _receive(self, s, set_, server):
        while True:
            try:
                query, ancillary, _, client = s.recvmsg(4096, 64)
            except OSError:
                return  # all read; or an ICMP error: who asked has gone
            seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
            self.asked += 1
            reply = self._reply(query, set_, server, seconds * 1_000_000_000 + nanoseconds)
            for delay in self._delays(query, server) if reply else ():
                heapq.heappush(self._due, (time.monotonic() + delay, self.asked, s, reply, client))

    def _delays(self, query, server):
        """One for each time that the reply is sent; none: it is lost."""
        if is_load(query):
            return [0]
        drawn = self._chance.random()
        if drawn < 0.04:
            return []
        longest = 0.005 if drawn < 0.5 else 0.1 if drawn < 0.8 else 0.6 if drawn < 0.95 else 2.5
        troubled = is_troubled(asked_name(query))
        if troubled and time.monotonic() % 6 < 2.5:
            return []
        first = self._chance.uniform(0.7, 2.5) if troubled and server == 3 else self._chance.uniform(0, longest)
        return [first, first + self._chance.uniform(0, 0.3)] if self._chance.random() < 0.2 else [first]

    def _reply(self, query, set_, server, arrived):
        """None for what is not a question of ours."""
        end = query.lower().find(ZONE, 12) + len(ZONE)
        if end < 12 + len(ZONE):
            return None
        question, qtype = query[12:end + 4], int.from_bytes(query[end:end + 2], "big")
        if is_load(query):
            return message(query, question, 0, [(b"\xc0\x0c", qtype, 5, socket.inet_aton("192.0.2.1"))])
        name = asked_name(query)
        ticks = self.ticks(qtype, arrived)
        origins = [Origin(set_, server, name, ticks, i) for i in range(count_of(server, ticks))]
        drawn = self._chance.random()
        if drawn < 0.04:
            return message(query, question, 2, [])
        if drawn < 0.14:
            return message(query, question, 3 if drawn < 0.09 else 0, [], [soa(question, set_, server, ticks)])
        ttl = self._chance.choice((1, 1, 2, 3))
        owner, alias = b"\xc0\x0c", []
        if is_chained(name):
            label = alias_of(set_, server)
            alias = [(owner, CNAME, ttl, bytes([len(label)]) + label + owner)]
            owner = struct.pack(">H", 0xc000 | 12 + len(question) + 12)  # where the alias is written
        return message(query, question, 0, alias + [(owner, qtype, ttl, pack(origin, qtype)) for origin in origins])


def is_load(query):
    """One of the names of the load in the background: answered at once, judged by nobody."""
    return query[13:14] in b"lL"


def asked_name(query):
    """The index in "n17.race.example"."""
    return int(query[14:13 + query[12]])


def soa(question, set_, server, ticks):
    """Says where it comes from in its primary's name and its serial number."""
    zone = struct.pack(">H", 0xc000 | 12 + 1 + question[0])
    label = alias_of(set_, server)
    return zone, SOA, 1, bytes([len(label)]) + label + zone + zone + struct.pack(">IIIII", ticks & 0xffffffff, 60, 60, 60, 1)


def message(query, question, rcode, answers, authority=()):
    head = query[:2] + struct.pack(">HHHHH", 0x8180 | rcode, 1, len(answers), len(authority), 0)
    records = [owner + struct.pack(">HHIH", rtype, 1, ttl, len(data)) + data
               for owner, rtype, ttl, data in (*answers, *authority)]
    return head + question + b"".join(records)
