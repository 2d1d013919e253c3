"""A client that asks all the time and judges every answer: whose addresses, how many, and never older than was seen."""

import random
import select
import threading
import time

import dns.message
import dns.rcode
import dns.rdatatype

from racers import A, AAAA, NAMES, Origin, alias_of, count_of, is_chained, name_of, unpack

IN_FLIGHT = 200
PATIENCE = 4  # seconds


class Judge:
    """client: a support.Client; racers: where its answers come from. Runs between start() and stop()."""

    def __init__(self, client, racers, seed):
        self.checked = self.unanswered = self.failures = self.denials = self.merged = self.stale = 0
        self.complaints = []
        self._client, self._racers = client, racers
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._newest = {}  # of each question, the newest answer: a set of origins
        self._flushed = {}  # of each name, and of None for all: acknowledged to hold nothing from before, in ns
        self._last_id = 0
        self._set = 0  # the one set of servers that may be heard of
        self._stopping = False
        self._threads = [threading.Thread(target=self._ask_over_udp), threading.Thread(target=self._ask_over_tcp)]

    def start(self):
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._stopping = True
        for thread in self._threads:
            thread.join()

    def flushed(self, name, begun):
        """Acknowledged: nothing of this name (None: of any) from before `begun` (time.time_ns) may appear any more."""
        with self._lock:
            self._flushed[name] = begun

    def reloaded(self, set_, begun):
        with self._lock:
            self._set = set_
            self._flushed[None] = begun

    def expect_any_set(self):
        """A reload is under way: either set will do until it is acknowledged."""
        with self._lock:
            self._set = None

    def _question(self):
        name, qtype = self._chance.randrange(NAMES), self._chance.choice((A, AAAA))
        query = dns.message.make_query(name_of(name), qtype, use_edns=0)
        with self._lock:
            self._last_id = (self._last_id + 1) % 65536  # in turn: of those in flight no two have the same
            query.id = self._last_id
            # What is known when the question leaves; what becomes known while it is under way proves nothing.
            since = max(self._flushed.get(name, 0), self._flushed.get(None, 0))
            known = self._newest.get((name, qtype)), since, self._set
        return (name, qtype), query, known

    def _ask_over_udp(self):
        sockets = [self._client.socket() for _ in range(4)]
        waiting = {}  # (socket, ID): what was asked, when
        while not self._stopping:
            for s in sockets:
                if len(waiting) < IN_FLIGHT:
                    key, query, known = self._question()
                    waiting[s, query.id] = key, known, time.monotonic()
                    s.send(query.to_wire())
            for s in select.select(sockets, [], [], 0.002)[0]:
                data = s.recv(4096)
                asked = waiting.pop((s, int.from_bytes(data[:2], "big")), None)
                if asked:
                    self._judge(asked[0], asked[1], data)
            for where in [where for where, asked in waiting.items() if asked[2] < time.monotonic() - PATIENCE]:
                del waiting[where]
                self.unanswered += 1
        for s in sockets:
            s.close()

    def _ask_over_tcp(self):
        while not self._stopping:
            key, query, known = self._question()
            data = self._client.send(query.to_wire(), tcp=True)
            if data:
                self._judge(key, known, data)
            time.sleep(0.02)

    def _judge(self, key, known, data):
        reply = dns.message.from_wire(data, one_rr_per_rrset=True)
        name, qtype = key
        with self._lock:
            if reply.rcode() == dns.rcode.SERVFAIL:
                self.failures += 1  # of all three servers: there is nothing to be judged
                return
            origins, wrong = read(reply, name)
            self.checked += 1
            self.denials += not reply.answer
            self.merged += len({origin.server for origin in origins}) > 1
            self.stale += any(option.otype == 15 for option in reply.options)
            wrong = wrong or self._wrong_in_time(origins, qtype, known)
            if wrong:
                self.complaints.append(f"{wrong}: {name_of(name)} type {qtype}: {sorted(origins)}; newest before, "
                                       f"flushed, set: {known}; now {self._racers.ticks(qtype)}")
            newest = self._newest.get(key)
            if newest is None or newest < origins or is_later(origins, newest):
                self._newest[key] = origins

    def _wrong_in_time(self, origins, qtype, known):
        newest, since, set_ = known
        # A question that was under way when the next reload began may have been put to the next set.
        if set_ is not None and set_ == self._set and any(origin.set != set_ for origin in origins):
            return "a server of another set, after the reload"
        if since and any(origin.time < self._racers.ticks(qtype, since) for origin in origins):
            return "from before a flush that was acknowledged"
        # The same generation, perhaps completed meanwhile; or a later one.
        if newest and not (newest <= origins or is_later(origins, newest)):
            return "an older generation after a newer one"
        return ""


def is_later(origins, others):
    """As far as can be told: within one tick they may be either way."""
    return min(origin.time for origin in origins) >= max(origin.time for origin in others)


def read(reply, name):
    """Where everything in the reply comes from, and what is wrong with that."""
    origins, aliases = [], set()
    for rrset in reply.answer:
        for record in rrset:
            if record.rdtype == dns.rdatatype.CNAME:
                aliases.add(record.target.labels[0].lower())
            else:
                origins.append(unpack(record.address))
    if not reply.answer:
        origins = [denied_by(rrset[0], name) for rrset in reply.authority if rrset.rdtype == dns.rdatatype.SOA]
    return frozenset(origins), wrong_in_itself(reply, name, origins, aliases)


def denied_by(record, name):
    label = record.mname.labels[0].lower()
    return Origin(int(label[1:2]), int(label[2:3]), name, record.serial, 0)


def wrong_in_itself(reply, name, origins, aliases):
    if reply.question[0].name.to_text() != name_of(name):
        return f"another question's answer: {reply.question[0]}"
    if not origins:
        return f"neither addresses nor a denial: {reply.to_text()}"
    if any(origin.name != name for origin in origins):
        return "another name's address"
    if len(set(origins)) != len(origins):
        return "an address twice"
    if any(rrset.ttl > 3 for rrset in reply.answer) and not any(option.otype == 15 for option in reply.options):
        return "a TTL longer than any upstream's"
    if not reply.answer:
        return "" if len(origins) == 1 else "a denial by two"
    for server in {(origin.set, origin.server) for origin in origins}:
        own = [origin for origin in origins if (origin.set, origin.server) == server]
        if len({origin.time for origin in own}) > 1:
            return "two replies of one server"
        if len(own) != count_of(own[0].server, own[0].time):
            return "a part of one reply"
    if is_chained(name) and aliases != {alias_of(origin.set, origin.server) for origin in origins}:
        return f"addresses under another server's alias {aliases}"
    return ""
