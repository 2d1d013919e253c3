"""Starting and ending on the port: what is attached is detached again, whatever happened."""

import json
import pathlib
import signal
import socket
import threading

import pytest

from conftest import LCORE
from lab.children import run
from lab.daemon import xdp_config
from support import Subscriber, until


@pytest.fixture
def start(lab, daemon, nsd):
    return lambda: daemon(xdp_config(lab.names, nsd, LCORE))


def attached(lab):
    shown = json.loads(run(["ip", "-j", "link", "show", "dev", lab.names.edge]).stdout)[0]
    return "xdp" in shown


def quit_by_command(one):
    assert one.ctl("quit") == {"stopping": True}


def quit_by(number):
    return lambda one: one.process.send_signal(number)


@pytest.mark.quick
@pytest.mark.parametrize("leave", [quit_by_command, quit_by(signal.SIGTERM), quit_by(signal.SIGINT)],
                         ids=["quit", "SIGTERM", "SIGINT"])
def test_leaves_nothing_behind(lab, start, subscriber, leave):
    one = start()
    assert attached(lab)
    subscriber.ask("shared.lab.example")
    leave(one)
    assert one.wait() == 0
    assert not attached(lab)
    assert not one.socket.exists()


def test_starts_again_after_kill_9(lab, start, subscriber):
    for _ in range(2):
        one = start()
        assert subscriber.ask("shared.lab.example").answer
        one.process.kill()
        one.wait()
    start()
    assert subscriber.ask("shared.lab.example").answer
    assert attached(lab)


def test_a_dead_daemon_does_not_stop_the_kernel(lab, start):
    one = start()
    one.process.kill()
    one.wait()
    assert run(lab.inside("ping", "-c", 1, "-W", 2, lab.names.edge4)).returncode == 0


def test_quits_with_queries_under_way(lab, start, subscriber):
    one = start()
    running = threading.Event()

    def ask_on():
        with subscriber.socket() as s:
            for i in range(5000):
                s.send(bytes([i >> 8, i & 255]) + b"\x01\x00\x00\x01" + bytes(6)
                       + f"\x0ahost-{i:05}".encode() + b"\x03lab\x07example\x00\x00\x01\x00\x01")
                if i == 1000:
                    running.set()

    thread = threading.Thread(target=ask_on)
    thread.start()
    running.wait()
    one.ctl("quit")
    assert one.wait() == 0
    thread.join()
    assert not attached(lab)


def test_two_daemons_do_not_share_an_interface(lab, start, daemon, nsd):
    """The second one says so and ends; the first one stays."""
    first = start()
    second = daemon(xdp_config(lab.names, nsd, LCORE), ready=False)
    assert second.launch().wait(20) != 0
    assert f"another millraced is serving {lab.names.edge}" in second.log.read_text()
    assert attached(lab) and first.process.poll() is None
    assert Subscriber(lab).ask("shared.lab.example").answer


def test_nor_from_two_containers_that_share_the_network(lab, start, daemon, nsd):
    """The second one sees another /run/millrace, and so no lock."""
    first = start()
    in_container = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o mode=755 none /run/millrace && exec "$@"', "sh"]
    second = daemon(xdp_config(lab.names, nsd, LCORE), prefix=in_container, ready=False)
    assert second.launch().wait(20) != 0
    assert f"another millraced is serving {lab.names.edge}" in second.log.read_text()
    assert attached(lab) and first.process.poll() is None
    assert Subscriber(lab).ask("shared.lab.example").answer


def test_the_lock_of_an_interface_is_roots(lab, start):
    """Any user could bind the abstract name that it once was."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as squatter:
        squatter.bind(f"\0millrace-xdp/{socket.if_nametoindex(lab.names.edge)}")
        one = start()
        own = f"xdp-*-{socket.if_nametoindex(lab.names.edge)}.lock"  # others may have been killed
        locks = list(pathlib.Path("/run/millrace").glob(own))
        assert locks and all(file.owner() == "root" for file in locks)
        quit_by_command(one)
        assert one.wait() == 0
    assert not any(file.exists() for file in locks)


def test_the_interface_can_be_taken_away(lab, start, subscriber):
    """Link down and up again: queries are answered as before."""
    start()
    subscriber.ask("shared.lab.example")
    run(["ip", "link", "set", lab.names.edge, "down"])
    run(["ip", "link", "set", lab.names.edge, "up"])
    run(["ip", "addr", "replace", f"{lab.names.edge6}/64", "dev", lab.names.edge, "nodad"])  # gone with the link
    assert until(lambda: subscriber.send(b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\x06shared\x03lab\x07example\x00"
                                         b"\x00\x01\x00\x01", timeout=0.5), 10)
