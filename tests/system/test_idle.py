"""What an lcore does while nothing comes, on AF_XDP: how much of a CPU it takes, and that a burst finds it ready."""

import os
import pathlib
import select
import socket
import time

import pytest

from conftest import LCORE
from lab.daemon import xdp_config
from support import Subscriber

BURST = 256
SO_RCVBUFFORCE = 33
QUESTION = b"\x01\x00\x00\x01" + bytes(6) + b"\x06shared\x03lab\x07example\x00\x00\x01\x00\x01"
TICK = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def serve(lab, daemon, nsd):
    def start(idle):
        config = xdp_config(lab.names, nsd, LCORE)
        config["ports"][0]["idle"] = idle
        return daemon(config)

    return start


@pytest.mark.parametrize("idle, least, most", [("sleep", 0, 0.25), ("pause", 0.3, 1.1), ("poll", 0.3, 1.1)],
                         ids=lambda value: value if isinstance(value, str) else "")
def test_an_idle_lcore(lab, serve, subscriber, idle, least, most):
    """Polling gets what other programs leave of its CPU, so little is asked of that."""
    one = serve(idle)
    subscriber.ask("shared.lab.example")
    time.sleep(0.2)
    shares = [share(one, 0.5) for _ in range(2)]
    assert min(shares) < most and max(shares) >= least, shares
    for _ in range(5):
        assert replies_to_a_burst(lab) == BURST
        time.sleep(0.1)
    assert all("stalled" not in worker for worker in one.ctl("status")["workers"])


def share(one, seconds):
    """Of a CPU that the lcore's thread takes."""
    begin, used = time.monotonic(), ticks(one)
    time.sleep(seconds)
    return (ticks(one) - used) / TICK / (time.monotonic() - begin)


def ticks(one):
    for task in pathlib.Path(f"/proc/{one.process.pid}/task").iterdir():
        if (task / "comm").read_text().strip() == f"rte-worker-{LCORE}":
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])
    raise AssertionError("no thread of the lcore")


def replies_to_a_burst(lab):
    """Of so many queries at once, each of another ID."""
    with Subscriber(lab).socket() as s:
        s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)  # 256 replies count 200 kB there
        for number in range(BURST):
            s.send(number.to_bytes(2, "big") + QUESTION)
        seen = set()
        while len(seen) < BURST and select.select([s], [], [], 1)[0]:
            reply = s.recv(2048)
            assert reply[3] & 15 == 0 and reply[7] > 0
            seen.add(reply[:2])
        return len(seen)
