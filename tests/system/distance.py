"""A network whose addresses are as far away as a test says, with the kernel's own TCP and ICMP at both ends.

Two TUN devices, one here and one in a namespace that holds the addresses, and this program between them: packets
towards an address wait for as long as its round trip is to take, or are lost. (This needs no netem of the kernel.)
"""

import collections
import fcntl
import heapq
import os
import select
import socket
import struct
import threading
import time

from lab.children import run
from support import namespace

TUNSETIFF, TUN, NO_PACKET_INFORMATION = 0x400454CA, 0x0001, 0x1000
ICMP, TCP, SYN, ACK = 1, 6, 0x02, 0x10


class Distance:
    """As a context: the network is there. Addresses are `address(2)` to `address(14)`, of a documentation prefix."""

    def __init__(self, number):
        self._number = number
        self._near, self._far = f"mr-near{number}", f"mr-far{number}"
        self.prefix = f"{self.address(0)}/28"
        self.round_trips = {}  # address: seconds; others are dead
        self.probes = collections.Counter()  # (address, port): SYNs; (address, 0): echo requests
        self._listeners = []
        self._devices = []
        self._late = []  # heap of (due, number, device, packet)
        self._wake = os.pipe()
        self._thread = threading.Thread(target=self._run)

    def address(self, host):
        return f"198.51.100.{16 * self._number + host}"

    def listen(self, host, *ports):
        """A real listener on each port; nobody accepts, and the backlog is long."""
        for port in ports:
            with namespace(self._far):
                listener = socket.create_server((self.address(host), port), backlog=1000)
            self._listeners.append(listener)

    def __enter__(self):
        run(["ip", "netns", "del", self._far])  # of a run that was killed
        _do("ip", "netns", "add", self._far)
        try:
            self._devices.append(_tun(self._near))
            with namespace(self._far):
                self._devices.append(_tun(self._far))
            _do("ip", "addr", "add", f"{self.address(1)}/28", "dev", self._near)
            _do("ip", "link", "set", self._near, "up")
            for device in ("lo", self._far):
                _do("ip", "-n", self._far, "link", "set", device, "up")
            for host in range(2, 15):
                _do("ip", "-n", self._far, "addr", "add", f"{self.address(host)}/32", "dev", "lo")
            _do("ip", "-n", self._far, "route", "add", "default", "dev", self._far)
        except BaseException:
            self._clear()
            raise
        self._thread.start()
        return self

    def __exit__(self, *_):
        os.write(self._wake[1], b"x")
        self._thread.join()
        self._clear()

    def _clear(self):
        for listener in self._listeners:
            listener.close()
        for device in (*self._devices, *self._wake):
            os.close(device)
        run(["ip", "netns", "del", self._far])

    def _run(self):
        near, far = self._devices
        count = 0
        while True:
            wait = max(0, self._late[0][0] - time.monotonic()) if self._late else None
            ready, _, _ = select.select([near, far, self._wake[0]], [], [], wait)
            if self._wake[0] in ready:
                return
            now = time.monotonic()
            if near in ready:
                packet = os.read(near, 2048)
                delay = self._look_at(packet)
                if delay is not None:
                    count += 1
                    heapq.heappush(self._late, (now + delay, count, packet))
            if far in ready:
                os.write(near, os.read(far, 2048))
            while self._late and self._late[0][0] <= now:
                os.write(far, heapq.heappop(self._late)[2])

    def _look_at(self, packet):
        """Counts probes. The packet's delay; None: it is lost."""
        if packet[0] >> 4 != 4:
            return None
        address, header = socket.inet_ntoa(packet[16:20]), packet[(packet[0] & 15) * 4:]
        if packet[9] == TCP and header[13] & (SYN | ACK) == SYN:
            self.probes[address, int.from_bytes(header[2:4], "big")] += 1
        if packet[9] == ICMP and header[0] == 8:
            self.probes[address, 0] += 1
        return self.round_trips.get(address)


def _tun(name):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), TUN | NO_PACKET_INFORMATION))
    return device


def _do(*command):
    done = run(command)
    assert done.returncode == 0, done.stdout
