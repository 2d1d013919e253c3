"""What is said of a single upstream server: its priority, its weight, and that it is asked over TCP alone."""

import itertools
import socket
import socketserver
import threading

import dns.message
import pytest

from conftest import NOBODY, loopback, socket_config
from lab.daemon import write_config
from support import Client, addresses, until
from upstream import Script, compose

pytestmark = pytest.mark.timeout(120)


class _Handler(socketserver.StreamRequestHandler):
    def handle(self):
        query = dns.message.from_wire(self.rfile.read(int.from_bytes(self.rfile.read(2), "big")))
        name = query.question[0].name.to_text()
        reply = compose(query, Script((f"{name} 300 IN A 192.0.2.77",)))
        self.wfile.write(len(reply).to_bytes(2, "big") + reply)


class TcpServer(socketserver.ThreadingTCPServer):
    """Answers over TCP alone."""

    allow_reuse_address = True
    daemon_threads = True

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.05,)).start()
        return self

    def __exit__(self, *exception):
        self.shutdown()
        self.server_close()


@pytest.fixture
def client(lab):
    return Client(loopback(lab), 5300)


@pytest.mark.quick
def test_a_server_over_tcp_alone_and_one_that_stands_back(lab, daemon, client, upstreams):
    at = (f"127.0.{lab.names.number}.45", 5305)
    servers = [{"address": f"{at[0]}:{at[1]}", "tcp-only": True}, {"address": upstreams[0].endpoint, "priority": 1}]
    names = (f"n{i}.script.example." for i in range(10**6))

    def row(which=0):
        return one.ctl("upstream", "list")["upstreams"][which]

    def asked():
        one_row = row()  # a probe may be sent between two
        return one_row["sent"] - one_row["probes"]

    def is_found():
        client.ask(next(names))
        return row()["breaker"] == "closed"

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(at)
        udp.setblocking(False)
        with TcpServer(at, _Handler):
            one = daemon(socket_config(lab, servers, fanout={"deadline": "30s"}), NOBODY)
            for _ in range(5):
                assert addresses(client.ask(next(names))) == ["192.0.2.77"]
            assert row()["tcp_only"] and row()["srtt_ms"] > 0, row()
            assert row(1)["priority"] == 1 and row(1)["sent"] == 0, row(1)
        for _ in range(5):
            assert addresses(client.ask(next(names))) == ["192.0.2.200"], "it refuses: the next one is asked at once"
        assert until(lambda: client.ask(next(names)) and row()["breaker"] != "closed", 20), row()
        before = asked()
        for _ in range(5):
            assert addresses(client.ask(next(names))) == ["192.0.2.200"]
        assert asked() == before
        with TcpServer(at, _Handler):
            assert until(is_found, 20), row()
            assert addresses(client.ask(next(names))) == ["192.0.2.77"]
        with pytest.raises(BlockingIOError):
            udp.recv(1)


def test_weights_and_priorities_change_with_a_reload(lab, daemon, client, upstreams):
    names = (f"n{i}.script.example." for i in itertools.count())

    def config(*options):
        servers = [{"address": upstream.endpoint, **more} for upstream, more in zip(upstreams, options)]
        return socket_config(lab, servers, fanout={"strategy": "sequential", "deadline": "30s"})

    def asked(count):
        """How many of so many questions each one got."""
        before = [upstream.asked.total() for upstream in upstreams]
        for _ in range(count):
            assert addresses(client.ask(next(names))) == ["192.0.2.200"]
        return [upstream.asked.total() - then for upstream, then in zip(upstreams, before)]

    one = daemon(config({"priority": 2}, {"priority": 1}, {"priority": 3}), NOBODY)
    first, second, third = asked(40)
    assert second >= 40 and first == third == 0
    changed = config({"priority": 1}, {"priority": 1, "weight": 1000}, {"weight": 1000})
    write_config(one.config, {**changed, "control": {"socket": str(one.socket)}})
    assert one.ctl("config", "reload")["changed"] == ["upstreams"]
    rows = one.ctl("upstream", "list")["upstreams"]
    assert [row["weight"] for row in rows] == [1, 1000, 1000] and rows[1]["srtt_ms"] > 0, rows
    first, second, third = asked(40)
    assert third >= 40 and first == second == 0
