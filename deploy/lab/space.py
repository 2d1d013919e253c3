"""A network namespace of a program's own, for a client, a router or a machine."""

import ctypes
import os
import socket
import time

from .children import LabError, run


ETH_P_ALL, SOL_PACKET, PACKET_AUXDATA, CLONE_NEWNET = 3, 263, 8, 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def enter(file):
    """The network namespace of a /proc/PID/ns/net, for this thread."""
    if _libc.setns(file.fileno(), CLONE_NEWNET) != 0:
        raise LabError(f"cannot enter {file.name}: {os.strerror(ctypes.get_errno())}")


class Space:
    """A network namespace that lasts as long as a child of ours."""

    def __init__(self, lab, name):
        self._lab, self.name = lab, name
        self.child = lab.children.start(["unshare", "--net", "sleep", "infinity"], lab.folder / f"{name}-space")
        self.prefix = ["nsenter", f"--net=/proc/{self.child.pid}/ns/net"]
        await_that(lambda: os.readlink(f"/proc/{self.child.pid}/ns/net") != os.readlink("/proc/self/ns/net"),
                   "a network namespace")
        self.do("ip", "link", "set", "lo", "up")

    def do(self, *command):
        done = run([*self.prefix, *command])
        if done.returncode:
            raise LabError(f"{' '.join(map(str, command))}: {done.stdout.strip()}")
        return done.stdout

    def start(self, what, *command):
        return self._lab.children.start([*self.prefix, *command], self._lab.folder / f"{self.name}-{what}.log")

    def socket(self, *kind):
        with open("/proc/self/ns/net", encoding="ascii") as own, open(f"/proc/{self.child.pid}/ns/net", encoding="ascii") as there:
            enter(there)
            try:
                return socket.socket(*kind)
            finally:
                enter(own)

    def packet_socket(self, interface):
        """For whole Ethernet frames; what the kernel took off them is in the notes beside (packet(7))."""
        wire = self.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        wire.bind((interface, 0))
        return wire

    def add(self, interface, *addresses):
        for address in addresses:
            self.do("ip", "addr", "add", address, "dev", interface, *(["nodad"] if ":" in address else []))
        self.do("ip", "link", "set", interface, "up")


def await_that(condition, what, seconds=30):
    """How long it took."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            raise LabError(f"{what}: not within {seconds} s")
        time.sleep(0.005)
    return time.monotonic() - begun
