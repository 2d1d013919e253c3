"""Clients: on loopback, and in the subscribers' namespace."""

import ctypes
import os
import pathlib
import socket
import subprocess
import threading
import time
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.query
from scapy.layers.inet import IP, UDP

CLONE_NEWNET = 0x40000000
PTRACE_ATTACH, PTRACE_DETACH, WALL = 16, 17, 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


@contextmanager
def namespace(name):
    """Sockets that this thread opens inside the block belong to the namespace, and stay there."""
    with open("/proc/thread-self/ns/net", "rb") as home, open(f"/run/netns/{name}", "rb") as there:
        _enter(there)
        try:
            yield
        finally:
            _enter(home)


def _enter(file):
    if _libc.setns(file.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns: " + os.strerror(ctypes.get_errno()))


PATIENCE = 20  # seconds, for what must come: the machine may be paused meanwhile


class Beside:
    """Something that goes on beside a block: `beside()` has to end once `leaving` is set."""

    def __enter__(self):
        self.leaving = threading.Event()
        self._thread = threading.Thread(target=self.beside)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.leaving.set()
        self._thread.join()


class Client:
    """Asks one address. bind: the client's own address."""

    def __init__(self, address, port=53, bind=None):
        self.address, self.port, self.bind = address, port, bind

    def socket(self, kind=socket.SOCK_DGRAM):
        s = socket.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET, kind)
        s.settimeout(4)
        if self.bind:
            s.bind((self.bind, 0))
        s.connect((self.address, self.port))
        return s

    def ask(self, name, qtype="A", tcp=False, patience=PATIENCE, **options):
        """The parsed reply. Options are dnspython's: use_edns, payload, want_dnssec, rdclass."""
        query = dns.message.make_query(name, qtype, **options)
        reply = dns.message.from_wire(self.send(query.to_wire(), tcp, patience), one_rr_per_rrset=True)
        assert reply.id == query.id and reply.question == query.question
        return reply

    def send(self, payload, tcp=False, timeout=4):
        """The reply's bytes, None when there is none in time."""
        with self.socket(socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as s:
            s.settimeout(timeout)
            try:
                if not tcp:
                    s.send(payload)
                    return s.recv(65535)
                s.sendall(len(payload).to_bytes(2, "big") + payload)
                return exactly(s, int.from_bytes(exactly(s, 2), "big"))
            except TimeoutError:
                return None


class Subscriber(Client):
    def __init__(self, lab, address=None, bind=None):
        super().__init__(address or lab.names.edge4, 53, bind)
        self.lab = lab

    def socket(self, kind=socket.SOCK_DGRAM):
        with namespace(self.lab.names.namespace):
            return super().socket(kind)

    def raw(self, interface=None):
        """A socket for whole Ethernet frames on the subscribers' end, or another interface of theirs."""
        with namespace(self.lab.names.namespace):
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            s.bind((interface or self.lab.names.sub, 0))
            s.settimeout(1)
            return s


def exactly(s, count):
    data = b""
    while len(data) < count:
        more = s.recv(count - len(data))
        assert more, "the server closed the connection"
        data += more
    return data


def burst(client, queries):
    """Sends all at once; the replies of a second."""
    replies = []
    with client.socket() as s:
        for query in queries:
            s.send(query.to_wire())
        s.settimeout(0.5)
        try:
            while True:
                replies.append(dns.message.from_wire(s.recv(4096)))
        except TimeoutError:
            return replies


def addresses(reply):
    """Of all A and AAAA records, sorted."""
    return sorted(record.address for rrset in reply.answer for record in rrset if record.rdtype in (1, 28))


class Frozen:
    """One thread of a process stands still, as if the kernel ran another in its place; the others go on."""

    def __init__(self, pid, name):
        tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
        self._tid = next(int(task.name) for task in tasks if (task / "comm").read_text().startswith(name))

    def __enter__(self):
        assert _libc.ptrace(PTRACE_ATTACH, self._tid, None, None) == 0, os.strerror(ctypes.get_errno())
        os.waitpid(self._tid, WALL)

    def __exit__(self, *_):
        assert _libc.ptrace(PTRACE_DETACH, self._tid, None, None) == 0, os.strerror(ctypes.get_errno())


def held(folder, source, go):
    """A prefix for a program's command: it has these functions, in C, in the place of libc's; they wait for the file `go`."""
    library = folder / "held.so"
    subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=source, text=True, check=True)
    asan = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    return ["env", f"LD_PRELOAD={library}", f"HELD_UNTIL={go}", f"ASAN_OPTIONS={asan}"]


def stop(daemon):
    """It ends, and well."""
    daemon.process.terminate()
    code = daemon.wait(20)
    assert code == 0, f"millraced ended with {code}:\n{daemon.last_lines(60)}"


def is_sanitized(daemon):
    """By the end of AddressSanitizer's shadow memory, which is where it is with each compiler on x86-64."""
    return "-10007fff8000 " in pathlib.Path(f"/proc/{daemon.process.pid}/maps").read_text(encoding="utf-8")


def until(condition, seconds=20):
    """The condition's first true value; its last one when the time is over. A slow or paused machine needs much of it."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(0.02)


def checksums_right(packet):
    """scapy computes a checksum that is not given; the same one must come out."""
    again = packet.copy()
    for layer in (IP, UDP):
        if layer in again:
            del again[layer].chksum
    return bytes(again) == bytes(packet)
