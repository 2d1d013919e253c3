"""A new millraced takes over from a running one: who asks meanwhile is answered, and what was known still is."""

import array
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import dns.message
import dns.rcode
import pytest

from conftest import LCORE, NOBODY, loopback, socket_config
from lab import network
from lab.children import run
from lab.daemon import xdp_config
from steady import OUTSTANDING, Steady
from support import Client, Subscriber, addresses, until
from upstream import Script

pytestmark = pytest.mark.timeout(180)


class Successor:
    """The same program once more, with the same configuration."""

    def __init__(self, lab, build, one, prefix=()):
        self.one, self.log = one, one.folder / "successor.log"
        self.process = lab.children.start([*prefix, build / "millraced", "--config", one.config, "--take-over"], self.log)

    def text(self):
        return self.log.read_text(encoding="utf-8")

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def serves(self):
        return self.one.ctl("status")["pid"] == self.process.pid


class Channel:
    """A successor of the test's own: what hand_over.hpp says of it."""

    def __init__(self, one, path):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.settimeout(20)
        self.listener.bind(str(path))
        self.listener.listen()
        self.reply = request(one.socket, "hand-over", str(path))
        self.channel, self.kept = None, []

    def sockets(self, keep=False):
        """How many it was given. Unless they are kept somebody else can bind to their addresses."""
        self.channel, _ = self.listener.accept()
        self.channel.settimeout(60)
        word, rights, _, _ = self.channel.recvmsg(64, socket.CMSG_LEN(253 * 4))
        assert word in (b"sockets none", b"sockets va", b"sockets pa") and rights[0][1] == socket.SCM_RIGHTS
        self.kept = array.array("i", rights[0][2])
        count = len(self.kept)
        if not keep:
            self.drop()
        return count

    def drop(self):
        while self.kept:
            os.close(self.kept.pop())

    def ask(self, word):
        """What is answered, but for the word."""
        self.channel.send(word.encode())
        said, of, *why = self.channel.recv(4096).decode().split(" ", 2)
        assert of == word
        return " ".join([said, *why])

    def close(self):
        self.drop()
        for each in (self.channel, self.listener):
            if each:
                each.close()


def request(path, *words):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(str(path))
        s.sendall(json.dumps(words).encode() + b"\n")
        with s.makefile() as replies:
            return json.loads(replies.readline())


class Asking:
    """A client that asks again and again, one question after the other, until it is told to stop."""

    def __init__(self, client, names, tcp=False):
        self.client, self.names, self.tcp = client, names, tcp
        self.stop, self.asked, self.unanswered, self.wrong = False, 0, 0, []
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stop:
            name = self.names(self.asked)
            self.asked += 1
            try:
                reply = self.client.ask(name, tcp=self.tcp, patience=4)
                if reply.rcode() != dns.rcode.NOERROR or not reply.answer:
                    self.wrong.append((name, dns.rcode.to_text(reply.rcode())))
            except TypeError:  # no reply in four seconds
                self.unanswered += 1
            except OSError as error:
                self.wrong.append((name, str(error)))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop = True
        self.thread.join()


@pytest.fixture
def successor(lab, build):
    started = []

    def start(one, prefix=()):
        started.append(Successor(lab, build, one, prefix))
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.fixture
def channel(lab):
    opened = []

    def take(one):
        path = lab.folder / f"channel-{len(opened)}"
        path.unlink(missing_ok=True)
        opened.append(Channel(one, path))
        return opened[-1]

    yield take
    for each in opened:
        each.close()


@pytest.fixture
def cache(lab):
    folder = lab.folder / "handed"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    (folder / "cache").unlink(missing_ok=True)
    return {"file": str(folder / "cache")}


def received_by_lcore(one):
    return next(row for row in one.ctl("status")["workers"] if row.get("lcore") == LCORE)["received"]


@pytest.mark.quick
def test_of_an_af_xdp_port(lab, daemon, upstreams, successor, cache):
    upstreams[0].scripts["slow.example."] = Script(("slow.example. 300 IN A 192.0.2.9",), delay=1.0)
    one = daemon(xdp_config(lab.names, [upstreams[0].endpoint], LCORE, cache=cache))
    assert until(lambda: one.ctl("health") == {"healthy": True}, 30)
    subscriber, found = Subscriber(lab), []
    assert addresses(subscriber.ask("known.example.")) == ["192.0.2.200"]
    before = upstreams[0].asked["known.example."]
    slow = threading.Thread(target=lambda: found.append(addresses(Subscriber(lab).ask("slow.example."))))
    with contextlib.ExitStack() as clients:
        hits, misses, *_ = all_of_them = [
            clients.enter_context(Asking(Subscriber(lab), names))
            for names in (lambda i: "known.example.", lambda i: f"n{i}.example.", lambda i: "known.example.", lambda i: f"m{i}.example.")]
        two = successor(one)
        assert until(lambda: "taking over" in one.last_lines(40), 30), two.text()
        slow.start()
        assert one.wait(60) == 0, one.last_lines() + two.text()
        slow.join()
        assert until(two.serves, 30), two.text()
        asked = hits.asked, misses.asked
        assert until(lambda: hits.asked > asked[0] + 20 and misses.asked > asked[1] + 20, 30)
    assert found == [["192.0.2.9"]], "who waited was answered"
    assert not any(each.wrong for each in all_of_them)
    lost = sum(each.unanswered for each in all_of_them)
    assert lost <= 1, "the kernel may lose a frame when its XDP program changes; silence would cost each of them one"
    assert upstreams[0].asked["known.example."] == before, "the cache went along: " + two.text()
    count = received_by_lcore(one)
    subscriber.ask("known.example.")
    assert received_by_lcore(one) > count, "the port has its lcore again"
    assert addresses(subscriber.ask("known.example.", tcp=True)) == ["192.0.2.200"]
    assert one.ctl("health") == {"healthy": True}, "no route flaps"
    assert two.end() == 0 and not one.socket.exists()


def test_of_an_af_xdp_port_under_load(lab, daemon, nsd, successor, cache):
    """As the old XDP program goes, the kernel frees what lies in the veth's ring: mostly nothing, more when a busy machine sends several
    times at once. A tenth of a second without service, which a take-over must not take, would cost half of what may be outstanding."""
    one = daemon(xdp_config(lab.names, nsd, LCORE, cache=cache))
    with Steady(lab) as clients:
        assert until(lambda: received_by_lcore(one) > 200, 60)
        two = successor(one)
        assert one.wait(60) == 0, one.last_lines() + two.text()
        assert until(two.serves, 30) and until(lambda: received_by_lcore(one) > 50, 60), two.text()
    lost = clients.count("lost")
    assert lost <= OUTSTANDING // 2 and clients.count("NOERROR") == clients.asked - lost, clients.said
    assert two.end() == 0


@pytest.fixture
def pair(lab):
    """One more veth pair: the interface for a port, and the address that is served there."""
    number = lab.names.number
    edge, address = f"mr-also{number}", f"198.19.2{number}.53"
    run(["ip", "link", "del", edge])
    network.add_pair(lab.names, edge, f"mr-asub{number}", 1, [(f"{address}/24", f"198.19.2{number}.2/24")])
    yield edge, address
    run(["ip", "link", "del", edge])


def test_of_two_af_xdp_ports_with_routed_next_hops(lab, daemon, upstreams, successor, pair):
    edge, address = pair
    config = xdp_config(lab.names, [upstreams[0].endpoint], LCORE)
    config["ports"].append({"device": f"net_af_xdp1,iface={edge}", "lcores": [min(os.sched_getaffinity(0))], "addresses": [address]})
    for port in config["ports"]:
        port.update({"next-hop": "routed", "idle": "sleep"})
    one = daemon(config)
    clients = [Subscriber(lab), Subscriber(lab, address)]

    def received():
        assert [addresses(client.ask("known.example.")) for client in clients] == [["192.0.2.200"]] * 2
        return [port["received"] for port in one.ctl("ports")["ports"].values()]

    received()
    two = successor(one)
    assert one.wait(60) == 0, one.last_lines() + two.text()
    assert until(two.serves, 30), two.text()
    before = received()
    assert all(now > then for now, then in zip(received(), before, strict=True)), "each port has its lcore again"
    assert two.end() == 0


def test_of_kernel_sockets_nothing_is_lost(lab, daemon, upstreams, successor, local):
    """Without a capability; and several times."""
    metrics = f"{loopback(lab)}:9153"
    one = daemon(socket_config(lab, [upstreams[0].endpoint], metrics={"listen": metrics}), NOBODY)
    mode, last = one.socket.stat().st_mode, one
    stream = local.socket(socket.SOCK_STREAM)
    with Asking(local, lambda i: "known.example.") as hits, \
            Asking(Client(loopback(lab), 5300), lambda i: f"n{i}.example.") as misses, \
            Asking(Client(loopback(lab), 5300), lambda i: f"t{i}.example.", tcp=True) as streams:
        for _ in range(3):
            two = successor(one, NOBODY)
            assert last.process.wait(60) == 0, one.last_lines() + two.text()
            assert until(two.serves, 30), two.text()
            last = two
    assert hits.asked > 20 and misses.asked > 20 and streams.asked > 20
    assert not hits.wrong and not misses.wrong and not hits.unanswered and not misses.unanswered
    assert len(streams.wrong) <= 3, "of each daemon that ended, a connection that it had accepted and not yet read"
    assert stream.recv(1) == b"", "a connection without a question ends with its daemon"
    assert b"millrace_" in urllib.request.urlopen(f"http://{metrics}/metrics", timeout=20).read()
    assert one.socket.stat().st_mode == mode and not one.socket.with_name("control.sock.successor").exists()
    assert last.end() == 0 and not one.socket.exists()


def test_with_nobody_there_it_starts_as_usual(lab, daemon, nsd, successor, local):
    """As a unit that was started so is restarted after a crash."""
    one = daemon(socket_config(lab, nsd), NOBODY)
    one.process.kill()
    one.wait()
    alone = successor(one, NOBODY)
    assert until(lambda: f"nobody to take over from at {one.socket}" in alone.text())
    assert until(lambda: "ready" in alone.text(), 30) and local.ask("www.lab.example").answer
    assert alone.end() == 0


def test_one_that_cannot_start_says_why_and_the_other_goes_on(lab, daemon, upstreams, successor):
    one = daemon(xdp_config(lab.names, [upstreams[0].endpoint], LCORE))
    text = one.config.read_text()
    one.config.write_text(text.replace(f"iface={lab.names.edge}", "iface=nowhere0"))
    two = successor(one)
    assert two.process.wait(60) == 3 and "nowhere0" in two.text()
    assert until(lambda: "has ended; this one goes on" in one.last_lines())
    before = received_by_lcore(one)
    assert addresses(Subscriber(lab).ask("known.example.")) == ["192.0.2.200"]
    assert received_by_lcore(one) > before, "it has not even left its port"


def test_one_that_is_told_to_end_takes_nothing(lab, daemon, nsd, successor, local):
    one = daemon(socket_config(lab, nsd), NOBODY)
    one.process.send_signal(signal.SIGSTOP)  # so that the other one waits for its answer
    two = successor(one, NOBODY)
    assert until(one.socket.with_name("control.sock.successor").exists, 30)
    two.process.send_signal(signal.SIGTERM)
    one.process.send_signal(signal.SIGCONT)
    assert two.process.wait(30) == 3 and "told to end" in two.text()
    assert local.ask("www.lab.example").answer and one.process.poll() is None
    assert until(lambda: "pid" in one.ctl("status"))


def test_beside_another_one_it_does_not_start_unless_it_takes_over(lab, build, daemon, nsd):
    one = daemon(socket_config(lab, nsd), NOBODY)
    done = subprocess.run([*NOBODY, build / "millraced", "--config", one.config], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3 and "another millraced is listening there" in done.stderr
    assert one.ctl("health")


def test_while_it_hands_over_it_may_be_told_to_end_but_not_to_read_its_file_again(lab, daemon, nsd, channel):
    one = daemon(socket_config(lab, nsd))
    channel(one).sockets()
    one.process.send_signal(signal.SIGHUP)
    assert until(lambda: "not reloaded: another millraced is taking over" in one.last_lines())
    one.process.terminate()
    assert one.wait() == 0 and one.socket.exists(), "which the other one has"
    one.socket.unlink()


def test_who_may_not_take_over(lab, daemon, nsd, channel):
    """Root's daemon trusts root's sockets; nobody's, that of nobody or root."""
    one = daemon(socket_config(lab, nsd))
    folder = lab.folder / "nobodys"
    folder.mkdir(exist_ok=True)
    os.chown(folder, 65534, 65534)
    (folder / "socket").unlink(missing_ok=True)
    code = "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.bind(sys.argv[1]); s.listen(); sys.stdin.read()"
    with subprocess.Popen([*NOBODY, "/usr/bin/python3", "-c", code, folder / "socket"], stdin=subprocess.PIPE) as theirs:
        assert until((folder / "socket").exists)
        (folder / "socket").chmod(0o777)
        assert until(lambda: "neither root's nor" in request(one.socket, "hand-over", str(folder / "socket"))["error"])
        theirs.stdin.close()
    assert "cannot reach" in request(one.socket, "hand-over", "/nowhere")["error"]
    assert "usage" in request(one.socket, "hand-over")["error"]
    first = channel(one)
    assert first.reply == {"offered": True} and first.sockets() == 3
    assert "already" in channel(one).reply["error"]


def test_a_successor_that_ends_early_leaves_all_as_it_was(lab, daemon, upstreams, channel, cache, local):
    one = daemon(socket_config(lab, [upstreams[0].endpoint], cache=cache))
    local.ask("known.example.")
    early = channel(one)
    early.sockets()
    assert early.ask("nonsense") == "failed not now"
    assert early.ask("cache") == "done" and os.path.getsize(cache["file"]) > 0
    assert early.ask("ports") == "done"
    for words in (["cache", "flush", "--all"], ["config", "set", "cache.stale", "1h"], ["config", "reload"], ["drain"]):
        assert "taking over" in one.ctl(*words)["error"], "the successor would not know of it"
    assert "healthy" in one.ctl("health") and one.ctl("status")["pid"] == one.process.pid
    early.close()
    assert until(lambda: "flushed" in one.ctl("cache", "flush", "--all"))
    assert "has ended; this one goes on" in one.last_lines()
    assert addresses(local.ask("other.example.")) == ["192.0.2.200"]


def test_after_one_that_ended_with_the_ports_kernel_sockets_answer_until_the_next(lab, daemon, upstreams, channel, successor):
    one = daemon(xdp_config(lab.names, [upstreams[0].endpoint], LCORE))
    subscriber, early = Subscriber(lab), channel(one)
    early.sockets()
    assert early.ask("ports") == "done"
    early.close()
    assert until(lambda: "restart this one, to have them back" in one.last_lines())
    assert addresses(subscriber.ask("known.example.")) == ["192.0.2.200"]
    assert addresses(subscriber.ask("known.example.", tcp=True)) == ["192.0.2.200"]
    two = successor(one)
    assert one.wait(60) == 0, two.text()
    assert until(two.serves, 30)
    count = received_by_lcore(one)
    assert addresses(subscriber.ask("known.example.")) == ["192.0.2.200"]
    assert received_by_lcore(one) > count


def asked_slowly(client, upstream, name="slow.example.", delay=1.2):
    """A thread that waits for the answer of a server that takes its time, and has been asked; and where it puts its addresses."""
    upstream.scripts[name] = Script((f"{name} 300 IN A 192.0.2.9",), delay=delay)
    found = []
    thread = threading.Thread(target=lambda: found.append(addresses(client.ask(name))))
    thread.start()
    assert until(lambda: upstream.asked[name] > 0)
    return thread, found


def test_a_port_is_left_when_nobody_waits_at_it_any_more(lab, daemon, upstreams, channel):
    one = daemon(xdp_config(lab.names, [upstreams[0].endpoint], LCORE))
    early = channel(one)
    early.sockets()
    thread, found = asked_slowly(Subscriber(lab), upstreams[0])
    assert early.ask("ports") == "done"
    thread.join()
    assert found == [["192.0.2.9"]]


def test_who_has_been_taken_over_from_receives_nothing_more(lab, daemon, upstreams, channel, local):
    one = daemon(socket_config(lab, [upstreams[0].endpoint]))
    local.ask("known.example.")
    other = channel(one)
    other.sockets(keep=True)
    thread, found = asked_slowly(local, upstreams[0])
    other.channel.send(b"over")
    assert until(lambda: "taken over; serving those who wait" in one.last_lines())
    assert local.send(dns.message.make_query("known.example.", "A").to_wire(), timeout=0.5) is None, "that is for the other one"
    thread.join()
    assert found == [["192.0.2.9"]] and one.wait(20) == 0


def test_one_that_is_left_without_ports_and_sockets_ends_with_an_error(lab, build, daemon, nsd, channel):
    """So that a service manager starts it again: also when it has taken over itself."""
    config = {**xdp_config(lab.names, nsd, LCORE), "eal": ["--no-huge", "--single-file-segments"]}
    config["ports"] = [{"device": f"net_memif0,role=server,id=0,socket={lab.folder}/alone.sock,socket-abstract=no", "lcores": [LCORE],
                        "addresses": ["192.0.2.53"], "idle": "sleep"}]
    one = daemon(config)
    two = Successor(lab, build, one)
    assert one.wait(60) == 0, two.text()
    assert until(two.serves, 30), two.text()
    last = channel(one)
    last.sockets()
    assert last.ask("ports") == "done"
    last.close()
    assert two.process.wait(20) == 1 and "has ended with the ports" in two.text()
