"""What is taken from the machine for a run, and given back: CPUs, hugepages."""

import contextlib
import os
import pathlib

HUGEPAGES = pathlib.Path("/proc/sys/vm/nr_hugepages")
BEFORE = pathlib.Path("/run/millrace-load-hugepages")  # how many there were; a crashed run leaves it to the next one
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
    if before >= WANTED:
        yield
        return
    BEFORE.write_text(str(before), encoding="ascii")
    try:
        with contextlib.suppress(OSError):
            HUGEPAGES.write_text(str(WANTED), encoding="ascii")
        yield
    finally:
        give_back()


def give_back():
    """The number that a run before us, or this one, has changed."""
    with contextlib.suppress(OSError):
        HUGEPAGES.write_text(BEFORE.read_text(encoding="ascii"), encoding="ascii")
        BEFORE.unlink()
