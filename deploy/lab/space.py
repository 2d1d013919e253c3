"""A network namespace of a program's own, for a client, a router or a machine."""

import os
import time

from .children import LabError, run


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
