"""The control socket, spoken to as control/command/README.md says, and by clients that mean no good."""

import json
import pathlib
import re
import socket
import subprocess
import sys

import pytest

from conftest import ROOT, NOBODY, socket_config
from support import until

PAGE = ROOT / "control/command/README.md"


@pytest.fixture
def one(daemon, lab, nsd):
    return daemon(socket_config(lab, nsd), NOBODY)


def ask_of_the_page(path):
    """The function that the page shows, as it stands there."""
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    definitions = code[:code.index("\nprint(")]
    names = {}
    exec(definitions, names)  # pylint: disable=exec-used
    return lambda *words: names["ask"](str(path), *words)


def connect(one):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(str(one.socket))
    return s


@pytest.mark.quick
def test_the_page_is_right(one):
    ask = ask_of_the_page(one.socket)
    assert ask("status")["pid"] == one.process.pid
    assert ask("config", "set", "cache.stale", "5s")["changed"] == ["cache.stale"]
    assert ask("local", "add", 'a.lan. TXT "x  y"')["unsaved"] is True
    assert ask("local", "list")["records"] == ['a.lan. TXT "x  y"']
    assert ask("nothing")["error"].startswith('unknown command "nothing"; there are: ')
    assert "error" in ask("config", "set", "cache.stale", "many")


def test_long_replies_come_whole(one):
    ask = ask_of_the_page(one.socket)
    records = ", ".join(f'"n{i}.lan. TXT {"x" * 200}"' for i in range(400))
    one.config.write_text(one.config.read_text(encoding="utf-8") + f"local: {{records: [{records}]}}\n", encoding="utf-8")
    assert ask("config", "reload")["changed"] == ["local"]
    assert len(ask("config", "show")["config"]) > 65536


BROKEN = [b"[", b'["status"', b"[" * 4000, b"\xff" * 100, b"status\0", b" ", b'["a"]["b"]', b"{}", b'[["status"]]', b"x" * 5000,
          b'["config","set","cache.stale","' + b"[" * 3000 + b'"]', b'["config","set","' + b"a." * 1500 + b'a","1"]',
          b'["config","set","' + b"a[0]" * 700 + b'","1"]', b'["config","set","cache","&a [*a]"]',
          b'["config","set","cache","!!binary x"]', b'["block","test","' + b"a." * 300 + b'"]', b'["acl","test",""]',
          b'["log-level",""]', b'["local","add","$INCLUDE /etc/passwd"]', b'["local","add","\\u0000"]']


def test_nonsense_is_refused_with_a_sentence(one):
    with connect(one) as s, s.makefile("rb") as replies:
        for request in BROKEN:
            s.sendall(request + b"\n")
            assert "error" in json.loads(replies.readline()), request
    assert one.ctl("config", "diff")["differences"] == []


def test_thousands_of_connections_disturb_nobody(one, local):
    """Some ask half, some read nothing, some do nothing at all; all are let go."""
    held, told = [], 0
    for i in range(3000):
        s = socket.socket(socket.AF_UNIX)
        s.setblocking(False)
        try:
            s.connect(str(one.socket))
            if i % 3 == 0:
                s.send(b'["config", "show"')
            elif i % 3 == 1:
                s.send(b'["config","show"]\n')
        except (BlockingIOError, BrokenPipeError, ConnectionError):
            told += 1
        held.append(s)
        if len(held) == 100:
            held.pop(0).close()
        if i % 500 == 0:
            assert local.ask("shared.lab.example").answer
    assert local.ask("shared.lab.example").answer
    assert until(lambda: one.ctl_process("status").returncode == 0, 60), "those that are idle are dropped"
    assert len(list(pathlib.Path(f"/proc/{one.process.pid}/fd").iterdir())) < 500
    for s in held:
        s.close()


HOLD_ALL = """
import socket, sys, time
def is_served(s):
    try:
        s.send(b'["log-level"]\\n')
        reply = s.recv(4096)
        return reply and b"too many" not in reply
    except OSError:
        return False
held = []
while True:
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(5)
    s.connect(sys.argv[1])
    if is_served(s):
        held.append(s)
    else:
        print("full", flush=True)
    held = [s for s in held if is_served(s)]
    time.sleep(0.01)
"""


def test_who_holds_all_connections_and_uses_them_gives_way(one):
    with subprocess.Popen([sys.executable, "-c", HOLD_ALL, one.socket], stdout=subprocess.PIPE) as hostile:
        try:
            for _ in range(20):
                assert hostile.stdout.readline() == b"full\n"
                assert one.ctl("status")["pid"] == one.process.pid
        finally:
            hostile.kill()


def test_who_does_not_read_is_dropped_and_others_are_served(one):
    silent = [connect(one) for _ in range(8)]
    for s in silent:
        for _ in range(50):
            s.setblocking(False)
            try:
                s.send(b'["config","show"]\n')
            except BlockingIOError:
                break
    for _ in range(10):
        assert one.ctl("status")["pid"] == one.process.pid
    for s in silent:
        s.close()
    assert until(lambda: one.ctl("status")["pid"] == one.process.pid)
