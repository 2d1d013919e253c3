"""Under a service manager: what it hears, what is left of privileges, where the log goes, who may give commands."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest

from conftest import LCORE, NOBODY, ROOT, loopback, socket_config
from lab.children import run
from lab.daemon import xdp_config
from support import Frozen, held, until

NET_ADMIN, NET_RAW = 1 << 12, 1 << 13
WATCHDOG_SECONDS = 1


class Manager:
    """The service manager's end: every datagram in its order."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.heard = []

    def listen(self):
        while True:
            try:
                self.heard.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return self.heard

    def hears(self, beginning, seconds=20):
        """Whether a datagram of that beginning comes from now on, or is among those not read yet."""
        seen = len(self.heard)
        return until(lambda: any(one.startswith(beginning) for one in self.listen()[seen:]), seconds)

    def close(self):
        self._socket.close()


@pytest.fixture
def manager(lab, monkeypatch):
    path = lab.folder / "notify"
    path.unlink(missing_ok=True)
    one = Manager(path)
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    monkeypatch.setenv("WATCHDOG_USEC", str(WATCHDOG_SECONDS * 1_000_000))
    yield one
    one.close()


@pytest.fixture
def on_sockets(lab, nsd):
    return lambda **more: socket_config(lab, nsd, **more)


@pytest.mark.quick
def test_hears_of_each_step(daemon, manager, on_sockets, local):
    one = daemon(on_sockets())
    assert manager.hears("READY=1")
    assert local.ask("www.lab.example")
    assert manager.hears("WATCHDOG=1") and manager.hears("STATUS=")
    one.process.send_signal(signal.SIGHUP)
    assert manager.hears("RELOADING=1\nMONOTONIC_USEC=") or "RELOADING" in str(manager.heard)
    assert until(lambda: manager.listen()[-1].startswith("READY=1") or manager.heard.count("READY=1") == 2)
    good = one.config.read_text()
    one.config.write_text("x: 1\n")
    assert "error" in one.ctl("config", "reload")
    assert until(lambda: manager.listen().count("READY=1") == 3), "a reload that was refused has ended, too"
    one.config.write_text(good)
    assert until(lambda: any("queries/s" in word for word in manager.listen()))
    one.ctl("drain")
    assert manager.hears("STATUS=not healthy: drained")
    one.ctl("quit")
    assert one.wait() == 0
    assert manager.listen()[-1] == "STOPPING=1"


HOLD = r"""
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
int recvmmsg(int s, struct mmsghdr* messages, unsigned count, int flags, struct timespec* timeout) {
    struct sockaddr_in at = {0};
    getsockname(s, (struct sockaddr*)&at, &(socklen_t){sizeof at});
    while (at.sin_port == htons(5301) && access(getenv("HELD_UNTIL"), F_OK)) usleep(10000);
    return syscall(SYS_recvmmsg, s, messages, count, flags, timeout);
}
"""


def test_is_not_ready_before_each_worker_has_turned(lab, daemon, manager, on_sockets, local, tmp_path):
    """One of two is held up where it first looks for queries."""
    go = tmp_path / "go"
    one = daemon(on_sockets(listen=[f"{loopback(lab)}:5300", f"{loopback(lab)}:5301"]), held(lab.folder, HOLD, go))
    try:
        assert local.ask("www.lab.example").answer, "the other and control are at work"
        assert not manager.hears("READY=1", 1)
    finally:
        go.touch()
    assert manager.hears("READY=1")


def stands_still(one, manager, thread):
    """Signs of life come, but not while the thread stands still."""
    assert manager.hears("WATCHDOG=1")
    with Frozen(one.process.pid, thread):
        assert until(lambda: any("stalled_s" in worker for worker in one.ctl("status")["workers"]), 30)
        manager.listen()
        manager.heard.clear()
        time.sleep(3 * WATCHDOG_SECONDS)
        assert "WATCHDOG=1" not in manager.listen()
    assert manager.hears("WATCHDOG=1", 30)


def test_a_socket_worker_that_stands_still_is_noticed(daemon, manager, on_sockets):
    stands_still(daemon(on_sockets()), manager, "millrace-socket")


def test_an_lcore_that_stands_still_is_noticed(lab, daemon, manager, nsd):
    stands_still(daemon(xdp_config(lab.names, nsd, LCORE)), manager, ("rte-worker", "lcore-worker", "dpdk-worker"))


def test_control_that_stands_still_is_noticed(daemon, manager, on_sockets):
    one = daemon(on_sockets())
    assert manager.hears("WATCHDOG=1")
    with Frozen(one.process.pid, "millraced"):
        time.sleep(WATCHDOG_SECONDS)
        manager.listen()
        manager.heard.clear()
        time.sleep(3 * WATCHDOG_SECONDS)
        assert not manager.listen()
    assert manager.hears("WATCHDOG=1", 30)


def sets_of_threads(pid):
    """Of each thread the lines of its status, as numbers."""
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        lines = dict(line.split(":\t") for line in (task / "status").read_text().splitlines() if ":\t" in line)
        yield {key: int(lines[key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")}


def check_privileges(one, kept, words):
    threads = list(sets_of_threads(one.process.pid))
    assert len(threads) > 1
    for sets in threads:
        assert sets == {"CapInh": 0, "CapPrm": kept, "CapEff": kept, "CapBnd": 0, "CapAmb": 0, "NoNewPrivs": 1}
    assert f"privileges kept: {words}" in one.log.read_text()


@pytest.mark.quick
def test_no_thread_keeps_more_than_a_port_needs(lab, daemon, nsd):
    check_privileges(daemon(xdp_config(lab.names, nsd, LCORE)), NET_ADMIN, "CAP_NET_ADMIN")


def test_kernel_sockets_keep_nothing(daemon, on_sockets):
    one = daemon(on_sockets())
    check_privileges(one, 0, "none")
    assert one.ctl("config", "reload")["reloaded"], "which root's files do not need any for"


def test_echo_requests_keep_raw_sockets(daemon, on_sockets):
    check_privileges(daemon(on_sockets(ranking={"icmp": True})), NET_RAW, "CAP_NET_RAW")


def test_nobody_but_root_may_look_into_its_memory(daemon, on_sockets):
    """The kernel gives the files of a process that must not be dumped to root (proc(5))."""
    one = daemon(on_sockets(), NOBODY)
    owner = os.stat(f"/proc/{one.process.pid}/maps").st_uid
    assert owner == 0, "it would leave a core"
    assert "privileges kept: none" in one.log.read_text()


def test_core_dumps_on_request(build, daemon, on_sockets):
    one = daemon(on_sockets(), NOBODY, ready=False)
    with subprocess.Popen([*NOBODY, build / "millraced", "--config", one.config, "--core-dumps"], stderr=subprocess.PIPE) as process:
        assert until(lambda: one.ctl_process("status").returncode == 0, 30)
        assert os.stat(f"/proc/{process.pid}/maps").st_uid == 65534
        assert pathlib.Path(f"/proc/{process.pid}/coredump_filter").read_text() == "00000011\n"
        process.terminate()
        process.communicate()
        assert process.returncode == 0


def test_json_lines(daemon, on_sockets):
    one = daemon(on_sockets(log={"format": "json"}))
    one.process.terminate()
    assert one.wait() == 0
    lines = [json.loads(line) for line in one.log.read_text().splitlines()]
    assert {"level", "message", "time"} == set(lines[0])
    assert any(line["message"].startswith("ready: ") and line["level"] == "info" for line in lines)


def test_json_lines_of_dpdk(lab, daemon, nsd):
    config = xdp_config(lab.names, nsd, LCORE, log={"format": "json"})
    one = daemon({**config, "eal": [*config["eal"], "--log-level=lib.eal:debug"]})
    lines = [json.loads(line) for line in one.log.read_text().splitlines()]
    assert any(line["message"].startswith("EAL: ") for line in lines)


def with_run(lab, *more):
    """In a mount namespace whose /run has the lab and, of the rest, what is asked for."""
    folder = lab.folder.parent
    script = ["mount --rbind /run /mnt", "mount -t tmpfs tmpfs /run", f"mkdir -p {folder}",
              f"mount --bind /mnt/{folder.relative_to('/run')} {folder}", *more, 'exec "$@"']
    return ["unshare", "--mount", "sh", "-c", " && ".join(script), "sh"]


def as_the_unit(lab):
    """Its user and its capabilities, but for the user's name."""
    unit = (ROOT / "deploy/systemd/millraced.service.in").read_text()
    names = next(line for line in unit.splitlines() if line.startswith("AmbientCapabilities=")).partition("=")[2].split()
    plus = ",".join("+" + name.removeprefix("CAP_").lower() for name in names)
    return [*with_run(lab, "mkdir /run/millrace", "chown 65534:65534 /run/millrace"), "env", "RUNTIME_DIRECTORY=/run/millrace",
            "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
            f"--inh-caps=-all,{plus}", f"--ambient-caps=-all,{plus}", f"--bounding-set=-all,{plus}", "--no-new-privs"]


def test_what_the_unit_gives_is_enough(lab, daemon, nsd, subscriber):
    one = daemon(xdp_config(lab.names, nsd, LCORE), as_the_unit(lab))
    assert subscriber.ask("www.lab.example").answer
    for sets in sets_of_threads(one.process.pid):
        assert (sets["CapPrm"], sets["CapEff"], sets["CapInh"], sets["CapAmb"]) == (NET_ADMIN, NET_ADMIN, 0, 0)
    one.process.terminate()
    assert one.wait() == 0
    assert "xdp" not in json.loads(run(["ip", "-j", "link", "show", "dev", lab.names.edge]).stdout)[0]


def test_journal(lab, daemon, on_sockets):
    folder = lab.folder / "journal"
    folder.mkdir(exist_ok=True)
    journal = Manager(folder / "socket")
    prefix = with_run(lab, "mkdir -p /run/systemd/journal", f"mount --bind {folder} /run/systemd/journal")
    one = daemon(on_sockets(log={"format": "journal"}), prefix)
    assert until(lambda: any("ready: " in entry for entry in journal.listen()))
    assert all(entry.startswith("PRIORITY=") and "\nSYSLOG_IDENTIFIER=millraced\n" in entry for entry in journal.heard)
    assert one.log.read_text() == ""
    journal.close()
    (folder / "socket").unlink()


def test_journal_that_is_not_there(lab, daemon, on_sockets):
    one = daemon(on_sockets(log={"format": "journal"}), with_run(lab), ready=False)
    one.launch()
    assert one.wait() == 1
    assert "cannot write to /run/systemd/journal/socket: No such file or directory; is systemd-journald running?" in \
        one.log.read_text()


def test_level_is_live(daemon, on_sockets):
    one = daemon(on_sockets())
    one.config.write_text(one.config.read_text() + "log: {level: warning}\n")
    assert one.ctl("config", "reload") == {"reloaded": True, "changed": ["log.level"], "needs_restart": []}
    before = one.log.read_text()
    one.process.send_signal(signal.SIGHUP)  # which the log has a line of, at info
    assert one.ctl("config", "reload")["changed"] == []
    one.ctl("quit")
    assert one.wait() == 0
    assert one.log.read_text() == before


def test_what_wants_a_restart_is_named(daemon, on_sockets):
    one = daemon(on_sockets(control={"group": "daemon"}))
    one.config.write_text(one.config.read_text().replace('"group": "daemon"', '"mode": "0600"') + "log: {format: json}\n")
    assert one.ctl("config", "reload")["needs_restart"] == ["control.mode", "control.group", "log.format"]


def as_group(group, *command):
    return run(["setpriv", "--reuid=65534", f"--regid={group}", "--clear-groups", *command])


@pytest.mark.quick
def test_commands_are_for_the_group(build, daemon, on_sockets):
    one = daemon(on_sockets(control={"group": "daemon"}))
    ask = [build / "millracectl", "--socket", one.socket, "health"]
    assert oct(one.socket.stat().st_mode)[-4:] == "0660" and one.socket.group() == "daemon"
    assert as_group(1, *ask).returncode != 2
    refused = as_group(65534, *ask)
    assert refused.returncode == 2 and "Permission denied" in refused.stdout


def test_commands_are_for_root_alone(build, daemon, on_sockets):
    one = daemon(on_sockets(control={"group": "daemon", "mode": "0600"}))
    assert as_group(1, build / "millracectl", "--socket", one.socket, "health").returncode == 2
    assert one.ctl("health")


def test_a_group_that_is_not_there(daemon, on_sockets):
    one = daemon(on_sockets(control={"group": "no-such-group"}), ready=False)
    one.launch()
    assert one.wait() == 1
    assert "this machine has no group no-such-group; make it with `groupadd -r no-such-group`" in one.log.read_text()
