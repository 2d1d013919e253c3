"""What is taken from the machine for a run, and given back: CPUs, hugepages."""

import contextlib
import os
import pathlib

from lab.children import start_time

HUGEPAGES = pathlib.Path("/proc/sys/vm/nr_hugepages")
TAKEN = pathlib.Path("/run/millrace-load-hugepages")  # how many there were before, and who changed it
WANTED = 512


def cpus():
    """The client's and the server's."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


@contextlib.contextmanager
def hugepages():
    """DPDK processes get theirs from here; without any they work too, with more TLB misses."""
    give_back()
    before = int(HUGEPAGES.read_text(encoding="ascii"))
    if TAKEN.exists() or before >= WANTED:
        yield
        return
    TAKEN.write_text(f"{before} {os.getpid()} {start_time(os.getpid())}", encoding="ascii")
    try:
        with contextlib.suppress(OSError):
            HUGEPAGES.write_text(str(WANTED), encoding="ascii")
        yield
    finally:
        give_back()


def give_back():
    """What we have changed, or a run that was killed."""
    with contextlib.suppress(OSError, ValueError):
        before, pid, started = TAKEN.read_text(encoding="ascii").split()
        if int(pid) == os.getpid() or str(start_time(int(pid))) != started:
            HUGEPAGES.write_text(before, encoding="ascii")
            TAKEN.unlink()
