"""A scripted upstream server: what it says to a name, and when, is up to the test."""

import collections
import socket
import threading
from dataclasses import dataclass

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


@dataclass
class Script:
    """One name's reply. records: lines of a zone file, names absolute; authority likewise."""

    records: tuple = ()
    authority: tuple = ()
    rcode: str = "NOERROR"
    delay: float = 0
    silent: int = 0  # this many queries are lost first


class Upstream:
    """Answers by script, unknown names with one address; counts what it is asked over UDP."""

    def __init__(self, address, port):
        self.endpoint = f"{address}:{port}"
        self.scripts = {}
        self.asked = collections.Counter()
        self.is_silent = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, port))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _run(self):
        while True:
            data, client = self._socket.recvfrom(4096)
            if not data:
                return
            query = dns.message.from_wire(data)
            name = query.question[0].name.to_text().lower()
            self.asked[name] += 1
            script = self.scripts.get(name, Script((f"{name} 300 IN A 192.0.2.200",)))
            if self.is_silent or self.asked[name] <= script.silent:
                continue
            reply = compose(query, script)
            if script.delay:
                timer = threading.Timer(script.delay, self._send, (reply, client))
                timer.daemon = True
                timer.start()
            else:
                self._send(reply, client)

    def _send(self, reply, client):
        try:
            self._socket.sendto(reply, client)
        except OSError:
            pass  # the test is over


def tell_apart(upstreams, name, **more):
    """Each has an address of its own for the name: 192.0.2.1, .2, ... more: of Script."""
    for i, upstream in enumerate(upstreams, 1):
        upstream.scripts[name] = Script((f"{name} 300 IN A 192.0.2.{i}",), **more)


def compose(query, script):
    reply = dns.message.make_response(query, recursion_available=True)
    reply.set_rcode(dns.rcode.from_text(script.rcode))
    reply.answer = [_rrset(line) for line in script.records]
    reply.authority = [_rrset(line) for line in script.authority]
    return reply.to_wire()


def _rrset(line):
    name, ttl, rdclass, rdtype, data = line.split(maxsplit=4)
    return dns.rrset.from_text(name, int(ttl), rdclass, rdtype, data)
