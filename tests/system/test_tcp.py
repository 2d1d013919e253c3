"""DNS over TCP: many clients, slow ones, rude ones."""

import pathlib
import socket
import threading
import time

import dns.message
import pytest

from conftest import loopback, socket_config
from support import Client, until

pytestmark = pytest.mark.timeout(60)


def prefixed(name, number, qtype="A"):
    query = dns.message.make_query(name, qtype)
    query.id = number
    wire = query.to_wire()
    return len(wire).to_bytes(2, "big") + wire


@pytest.fixture
def own(daemon, lab, nsd):
    return daemon(socket_config(lab, nsd, listen=[f"{loopback(lab)}:5310"]))


def connect(lab):
    return socket.create_connection((loopback(lab), 5310), timeout=10)


def exactly(s, count):
    data = b""
    while len(data) < count:
        part = s.recv(count - len(data))
        if not part:
            return data
        data += part
    return data


def read_reply(s):
    length = exactly(s, 2)
    return dns.message.from_wire(exactly(s, int.from_bytes(length, "big"))) if len(length) == 2 else None


def test_a_flood_of_pipelined_questions_does_not_hold_up_the_control_thread(own, lab, local):
    stop = time.monotonic() + 3

    def flood():
        with connect(lab) as s:
            batch = b"".join(prefixed("www.lab.example", i) for i in range(32))
            while time.monotonic() < stop:
                s.sendall(batch)
                for _ in range(32):
                    if read_reply(s) is None:
                        return

    threads = [threading.Thread(target=flood) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # It was seconds when a tick served every handler that was ready. The 5 ms of the design are for a machine that is
    # not shared with twenty clients and, perhaps, slowed by sanitizers.
    assert own.ctl("status")["longest_tick_ms"] < 500


def test_a_client_that_closes_its_half_still_gets_its_answers(own, lab):
    with connect(lab) as s:
        s.sendall(prefixed("half.wild.lab.example", 7) + prefixed("closed.wild.lab.example", 8))
        s.shutdown(socket.SHUT_WR)
        assert {read_reply(s).id, read_reply(s).id} == {7, 8}
        assert s.recv(1) == b""


def test_a_client_that_never_reads_costs_little(own, lab, local):
    """Of what clients do not read, the kernel holds some, and the daemon as much as it allows each of them: no more."""
    allowed = 128 << 10  # limits::tcp_queued_octets; the reply that passes it is still queued
    with connect(lab) as s:
        s.sendall(prefixed("huge.lab.example", 1, "TXT"))
        size = 2 + int.from_bytes(exactly(s, 2), "big")
        exactly(s, size - 2)
    before = own.ctl("stats")["answered"]
    clients = [connect(lab) for _ in range(10)]
    for s in clients:
        s.setblocking(False)
        try:
            s.send(b"".join(prefixed("huge.lab.example", i, "TXT") for i in range(1000)))
        except BlockingIOError:
            pass

    def answered_in_vain():
        answered = own.ctl("stats")["answered"]
        time.sleep(0.3)
        return answered if own.ctl("stats")["answered"] == answered else 0

    answered = until(answered_in_vain, 20) - before
    assert 10 < answered < 10000, "it stopped because nobody reads"
    held = answered * size - in_kernel(5310)
    assert 0 < held <= 10 * (allowed + size), f"{held >> 10} KiB of replies for 10 clients, {answered} of {size} octets"
    with connect(lab) as s:
        s.sendall(prefixed("www.lab.example", 1))
        assert read_reply(s).id == 1
    for s in clients:
        s.close()


def test_who_holds_all_connections_gives_way(daemon, lab, nsd):
    number = lab.names.number
    one = daemon(socket_config(lab, nsd, tcp={"connections": 8, "per-client": 4, "idle": "10m"}))
    address = loopback(lab)
    greedy = [Client(address, 5300, bind=f"127.0.{number}.{last}").socket(socket.SOCK_STREAM)
              for last in (101, 102) for _ in range(4)]
    assert until(lambda: one.ctl("stats")["tcp"]["accepted"] == 8)
    assert Client(address, 5300, bind=f"127.1.{number}.1").ask("www.lab.example", tcp=True).answer
    assert greedy[0].recv(1) == b"", "it was idle for longest"
    assert until(lambda: one.ctl("stats")["tcp"]["open"] == 7)
    more = Client(address, 5300, bind=f"127.0.{number}.103").socket(socket.SOCK_STREAM)
    again = Client(address, 5300, bind=f"127.0.{number}.103").socket(socket.SOCK_STREAM)
    assert greedy[4].recv(1) == b"", "of its own prefix, a host that holds more"
    last = Client(address, 5300, bind=f"127.0.{number}.101").socket(socket.SOCK_STREAM)
    assert last.recv(1) == b"", "nobody holds more"
    tcp = one.ctl("stats")["tcp"]
    assert (tcp["displaced"], tcp["refused"], tcp["accepted"]) == (2, 1, 11)
    for s in (*greedy, more, again, last):
        s.close()


def in_kernel(port):
    """Octets sent from this port that wait to be sent or to be read."""
    octets = 0
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        local, remote = (int(end.rpartition(":")[2], 16) for end in fields[1:3])
        to_send, to_read = (int(queue, 16) for queue in fields[4].split(":"))
        octets += to_send if local == port else to_read if remote == port else 0
    return octets
