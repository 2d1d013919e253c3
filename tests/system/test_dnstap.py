"""The query log, read by other programs: fstrm_capture, which speaks Frame Streams, and dnstap-ldns."""

import collections
import os
import re
import signal
import subprocess

import dns.flags
import pytest

from conftest import LCORE, NOBODY, socket_config
from hostile import Hostile, reply_to, send_tcp
from lab.children import run
from lab.daemon import write_config, xdp_config
from support import Subscriber, addresses, stop, until
from upstream import Script

pytestmark = pytest.mark.timeout(120)


class Reader:
    """fstrm_capture on a Unix socket, or at an address. What it has read is whole when it has ended."""

    def __init__(self, folder, address=None):
        self.socket, self.file = folder / "dnstap.sock", folder / "dnstap.log"
        self.to = f"tcp:{address}:6000" if address else f"unix:{self.socket}"
        where = ["-a", address, "-p", "6000"] if address else ["-u", self.socket]
        self.process = subprocess.Popen(["fstrm_capture", "-t", "protobuf:dnstap.Dnstap", *where, "-w", self.file],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if not address:
            assert until(self.socket.exists, 20)
            os.chmod(self.socket, 0o777)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(20)

    def lines(self):
        """Of each message: kind, peer, protocol, question."""
        self.end()
        return lines_of(self.file)


def lines_of(file):
    done = run(["dnstap-ldns", "-q", "-r", file])
    assert done.returncode == 0, done.stdout
    out = []
    for line in done.stdout.splitlines():
        found = re.fullmatch(r'[\d-]+ [\d:.]+ (\w\w) (\S+) (UDP|TCP) \d+b "(\S+)\." IN (\w+)', line)
        assert found or line.endswith('"." IN NS'), line  # of a probe
        if found:
            kind, peer, transport, name, qtype = found.groups()
            out.append((kind, peer, transport, name.lower(), qtype))
    return out


@pytest.fixture
def folder(lab):
    path = lab.folder / "dnstap"
    path.mkdir(exist_ok=True)
    for left in path.iterdir():
        left.unlink()
    return path


@pytest.fixture
def reader(folder):
    one = Reader(folder)
    yield one
    one.end()


@pytest.fixture
def tcp_reader(lab, folder):
    one = Reader(folder, f"127.0.{lab.names.number}.60")
    yield one
    one.end()


def start(daemon, lab, upstreams, reader, **dnstap):
    one = daemon(socket_config(lab, [upstreams[0].endpoint], dnstap={"to": reader.to, **dnstap}), NOBODY)
    assert until(lambda: one.ctl("stats")["dnstap"]["connected"], 20), one.last_lines()
    return one


@pytest.mark.quick
def test_clients_and_upstreams_over_udp_and_tcp(lab, daemon, local, upstreams, reader):
    one = start(daemon, lab, upstreams, reader, identity="edge1")
    local.ask("one.example.")
    local.ask("one.example.")
    local.ask("one.example.", tcp=True)
    stop(one)
    kinds = collections.Counter((kind, transport) for kind, _, transport, name, _ in reader.lines() if name == "one.example")
    of_clients = {what: count for what, count in kinds.items() if what[0].startswith("C")}
    assert of_clients == {("CQ", "UDP"): 2, ("CR", "UDP"): 2, ("CQ", "TCP"): 1, ("CR", "TCP"): 1}
    assert set(kinds) - set(of_clients) == {("FQ", "UDP"), ("FR", "UDP")}, "once, or more often if it was slow"
    text = run(["dnstap-ldns", "-y", "-r", reader.file]).stdout
    assert 'identity: "edge1"' in text and 'version: "millraced ' in text
    response = next(part for part in text.split("\n---") if "FORWARDER_RESPONSE" in part and "one.example" in part.lower())
    assert f'response_address: "{upstreams[0].endpoint.split(":")[0]}"' in response and "response_port: 5302" in response
    assert "192.0.2.200" in response, "the whole message"
    times = re.findall(r"(query|response)_time: !!timestamp (\S+ \S+|\S+)", text)
    assert times and all(stamp.startswith("20") for _, stamp in times)


def test_a_reader_over_tcp(lab, daemon, local, upstreams, tcp_reader):
    one = start(daemon, lab, upstreams, tcp_reader)
    local.ask("one.example.")
    stop(one)
    assert {kind for kind, _, _, name, _ in tcp_reader.lines() if name == "one.example"} == {"CQ", "CR", "FQ", "FR"}


def test_what_went_on_over_tcp(lab, daemon, local, reader):
    """The upstream's reply over UDP is truncated."""
    upstream = Hostile(f"127.0.{lab.names.number}.31", 5302,
                       lambda server, query, client: server.send(reply_to(query, "192.0.2.1", dns.flags.TC).to_wire(), client),
                       lambda connection, query: send_tcp(connection, reply_to(query, "192.0.2.7").to_wire()))
    try:
        one = start(daemon, lab, [upstream], reader)
        assert addresses(local.ask("big.example.")) == ["192.0.2.7"]
        stop(one)
    finally:
        upstream.close()
    seen = {(kind, transport) for kind, _, transport, name, _ in reader.lines() if name == "big.example"}
    assert seen >= {("CQ", "UDP"), ("CR", "UDP"), ("FQ", "UDP"), ("FQ", "TCP"), ("FR", "TCP")}
    assert ("CQ", "TCP") not in seen and ("CR", "TCP") not in seen


def test_on_a_polling_lcore(lab, daemon, nsd, reader):
    config = xdp_config(lab.names, nsd[:1], LCORE)
    one = daemon({**config, "dnstap": {"to": f"unix:{reader.socket}", "messages": ["client-query", "client-response"]}})
    assert until(lambda: one.ctl("stats")["dnstap"]["connected"], 20)
    subscriber = Subscriber(lab)
    for _ in range(3):
        subscriber.ask("www.lab.example")
    stop(one)
    lines = reader.lines()
    assert collections.Counter(kind for kind, _, _, name, _ in lines if name == "www.lab.example") == {"CQ": 3, "CR": 3}
    assert {kind for kind, *_ in lines} == {"CQ", "CR"}


def test_what_is_wanted_changes_by_a_reload(lab, daemon, local, upstreams, reader):
    upstreams[0].scripts["denied.example."] = Script(rcode="NXDOMAIN", authority=(
        "example. 900 IN SOA ns. host. 1 3600 600 86400 900",))
    one = start(daemon, lab, upstreams, reader, messages=["client-query"])
    local.ask("first.example.")

    def change(**dnstap):
        write_config(one.config, {**socket_config(lab, [upstreams[0].endpoint], dnstap={"to": f"unix:{reader.socket}", **dnstap}),
                                  "control": {"socket": str(one.socket)}})
        return one.ctl("config", "reload")

    assert change(messages=["client-response"], rcodes=["NXDOMAIN"])["changed"] == ["dnstap"]
    local.ask("second.example.")
    local.ask("denied.example.")
    change(clients=["192.0.2.0/24"], messages=["client-query", "upstream-query"])
    local.ask("third.example.")
    assert change(clients=["192.0.2.0/24"], messages=[], identity="other")["needs_restart"] == ["dnstap.identity"]
    local.ask("fourth.example.")
    stop(one)
    assert {(kind, name) for kind, _, _, name, _ in reader.lines() if name.endswith(".example")} == {
        ("CQ", "first.example"), ("CR", "denied.example"), ("FQ", "third.example")}


def test_a_sample(lab, daemon, local, upstreams, reader):
    one = start(daemon, lab, upstreams, reader, sample=4, messages=["client-query", "client-response"])
    for i in range(200):
        local.ask(f"s{i}.example.")
    stop(one)
    kinds = collections.defaultdict(set)
    for kind, _, _, name, _ in reader.lines():
        kinds[name].add(kind)
    assert 10 < len(kinds) < 150
    assert all(both == {"CQ", "CR"} for both in kinds.values()), "queries and their responses, or neither"


def test_a_reader_that_stops_and_one_that_goes_hold_up_nobody(lab, daemon, local, upstreams, reader):
    one = start(daemon, lab, upstreams, reader)
    local.ask("stopped.example.")
    reader.process.send_signal(signal.SIGSTOP)
    with local.socket() as s:
        query = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\7stopped\7example\0\0\1\0\1"
        for _ in range(60):
            if one.ctl("stats")["dnstap"]["dropped"] > 0:
                break
            for _ in range(500):
                s.send(query)
                assert s.recv(4096)[:2] == query[:2], "it answers all the same"
    assert one.ctl("stats")["dnstap"]["dropped"] > 0
    reader.process.send_signal(signal.SIGCONT)
    assert until(lambda: one.ctl("stats")["dnstap"]["written"] > 1000, 20)
    reader.process.kill()
    reader.process.wait(10)
    local.ask("alone.example.")
    assert until(lambda: (local.ask("alone.example."), not one.ctl("stats")["dnstap"]["connected"])[1], 20)
    reader.socket.unlink()
    again = Reader(reader.socket.parent)
    try:
        assert until(lambda: one.ctl("stats")["dnstap"]["connected"], 20), "it is found again"
        local.ask("again.example.")
        stop(one)
        assert ("CQ", "again.example") in {(kind, name) for kind, _, _, name, _ in again.lines()}
    finally:
        again.end()


def test_a_stopped_reader_does_not_hold_up_the_end(lab, daemon, local, upstreams, reader):
    one = start(daemon, lab, upstreams, reader)
    reader.process.send_signal(signal.SIGSTOP)
    for i in range(100):
        local.ask(f"e{i}.example.")
    stop(one)


def test_a_file(lab, daemon, local, upstreams):
    folder = lab.folder / "dnstap-file"
    folder.mkdir(exist_ok=True)
    os.chown(folder, 65534, 65534)
    file = folder / "log"
    for name in ("a", "b"):
        one = daemon(socket_config(lab, [upstreams[0].endpoint], dnstap={"to": f"file:{file}", "messages": ["client-query"]}), NOBODY)
        local.ask(f"{name}.example.")
        assert until(lambda one=one: one.ctl("stats")["dnstap"]["written"] == 1, 20)
        stop(one)
    assert [name for *_, name, _ in lines_of(file)] == ["b.example"]
    assert [name for *_, name, _ in lines_of(f"{file}.old")] == ["a.example"]


def test_where_it_cannot_be_written_that_is_said_once(lab, daemon, local, upstreams):
    one = daemon(socket_config(lab, [upstreams[0].endpoint], dnstap={"to": "unix:/nowhere/dnstap.sock"}), NOBODY)
    assert until(lambda: "dnstap: unix:/nowhere/dnstap.sock cannot be connected to: No such file" in one.last_lines(), 20)
    local.ask("a.example.")
    assert not one.ctl("stats")["dnstap"]["connected"]
    assert one.last_lines().count("/nowhere/dnstap.sock") == 1
