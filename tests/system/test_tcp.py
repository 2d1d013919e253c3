"""DNS over TCP: many clients, slow ones, rude ones."""

import socket
import threading
import time

import dns.message
import pytest

from conftest import loopback, socket_config

pytestmark = pytest.mark.timeout(60)


def prefixed(name, number):
    query = dns.message.make_query(name, "A")
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


def test_a_client_that_never_reads_costs_little(own, lab):
    clients = [connect(lab) for _ in range(10)]
    for s in clients:
        s.setblocking(False)
        try:
            s.send(b"".join(prefixed("big.lab.example", i) for i in range(2000)))
        except BlockingIOError:
            pass
    time.sleep(1)
    with connect(lab) as s:
        s.sendall(prefixed("www.lab.example", 1))
        assert read_reply(s).id == 1
    for s in clients:
        s.close()
