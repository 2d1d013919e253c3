"""millraced --check, its errors, and millracectl."""

import json
import os

import pytest

from conftest import NOBODY
from lab.children import run
from lab.daemon import write_config
from support import until

GOOD = """\
upstreams:
  - group: default
    servers: ["127.0.0.11:5301"]
"""


@pytest.fixture
def check(build, tmp_path):
    def run_check(text):
        file = tmp_path / "millrace.yaml"
        file.write_text(text)
        return run([build / "millraced", "--check", "--config", file]), file

    return run_check


@pytest.mark.quick
def test_check_prints_what_is_in_effect_and_it_checks_again(check):
    done, _ = check(GOOD)
    assert done.returncode == 0, done.stdout
    assert "active: 2" in done.stdout and "127.0.0.1:5300" in done.stdout
    again, _ = check(done.stdout)
    assert again.returncode == 0 and again.stdout == done.stdout


def test_check_warns_of_what_has_no_effect(check):
    done, file = check(GOOD + "cache: {stale: 0s, stale-answer: at-once}\n")
    assert done.returncode == 0
    assert f"{file}: warning: cache.stale-answer at-once does nothing: cache.stale is 0s\n" in done.stdout


BAD = [
    ("unknown key", GOOD + "cash: {}\n", 4, "cash"),
    ("unknown key inside", GOOD + "cache:\n  entires: 5\n", 5, "entires"),
    ("wrong type", GOOD + "listen: 5300\n", 4, "listen"),
    ("bad address", 'upstreams:\n  - group: default\n    servers: ["127.0.0.300"]\n', 3, "servers"),
    ("bad unit", GOOD + "fanout: {stagger: 50lightyears}\n", 4, "stagger"),
    ("bad prefix", GOOD + 'allow: ["10.0.0.0/33"]\n', 4, "allow"),
    ("no upstreams", "listen: []\n", None, "upstreams"),
    ("not YAML", "upstreams: [\n", None, ""),
    ("contradiction", GOOD + 'eal: ["-l", "3"]\n', 4, "eal"),
]


@pytest.mark.parametrize("what, text, line, key", BAD, ids=[row[0] for row in BAD])
@pytest.mark.parametrize("checking", [True, False], ids=["--check", "start"])
def test_errors_name_file_line_and_key(build, check, what, text, line, key, checking):
    done, file = check(text)
    if not checking:
        done = run([build / "millraced", "--config", file])
    assert done.returncode == 2, done.stdout
    assert f"{file}:{line}:" in done.stdout if line else str(file) in done.stdout
    assert key in done.stdout


def test_no_such_file(build, tmp_path):
    done = run([build / "millraced", "--config", tmp_path / "nothing.yaml"])
    assert done.returncode == 2 and "nothing.yaml" in done.stdout


def test_an_address_that_is_taken(build, lab, sockets):
    write_config(sockets.folder / "second.yaml", {
        "listen": [f"127.0.{lab.names.number}.53:5300"], "upstreams": [{"group": "default", "servers": ["127.0.0.1:9"]}],
        "control": {"socket": str(sockets.folder / "second.sock")}})
    done = run([build / "millraced", "--config", sockets.folder / "second.yaml"])
    assert done.returncode not in (0, 2) and f"127.0.{lab.names.number}.53:5300" in done.stdout, done.stdout


def test_ctl_without_a_daemon(build, tmp_path):
    done = run([build / "millracectl", "--socket", tmp_path / "none.sock", "status"])
    assert done.returncode == 2 and "none.sock" in done.stdout


@pytest.mark.parametrize("words", [["frobnicate"], ["cache"], ["cache", "lookup"], ["cache", "lookup", "a.example"],
                                   ["cache", "lookup", "a.example", "NOTYPE"], ["cache", "lookup", "a..example", "A"],
                                   ["cache", "flush"]], ids=" ".join)
def test_ctl_errors(sockets, words):
    done = sockets.ctl_process(*words)
    assert done.returncode in (1, 2) and done.stdout.strip()
    assert sockets.ctl("status")["pid"] == sockets.process.pid, "the daemon goes on"


@pytest.mark.quick
def test_ctl_for_people_and_for_programs(build, sockets, local):
    local.ask("shared.lab.example")
    for words in (["status"], ["stats"], ["cache", "lookup", "shared.lab.example", "A"]):
        assert isinstance(sockets.ctl(*words), dict)
        text = run([build / "millracectl", "--socket", sockets.socket, *words])
        assert text.returncode == 0 and text.stdout.strip()
        with pytest.raises(ValueError):
            json.loads(text.stdout)
    found = sockets.ctl("cache", "lookup", "shared.lab.example", "A")
    assert found["found"] is True and found["addresses"] == ["192.0.2.80"] and found["rcode"] == "NOERROR"
    assert {"generation", "revision", "ttl"} <= set(found)
    assert sockets.ctl("cache", "lookup", "unheard.lab.example", "A")["found"] is False


def test_an_ordinary_user_needs_no_key_for_the_control_socket(build, lab):
    folder = lab.folder / "ordinary"
    folder.mkdir(exist_ok=True)
    os.chown(folder, 65534, 65534)
    config = folder / "millrace.yaml"
    write_config(config, {"listen": [f"127.0.{lab.names.number}.54:5300"],
                          "upstreams": [{"group": "default", "servers": ["127.0.0.1:9"]}]})
    with_folder = [*NOBODY, "env", f"XDG_RUNTIME_DIR={folder}"]
    process = lab.children.start([*with_folder, build / "millraced", "--config", config], folder / "log")
    assert until(lambda: run([*with_folder, build / "millracectl", "status"]).returncode == 0), (folder / "log").read_text()
    assert (folder / "millrace" / "control.sock").is_socket()
    assert run([*with_folder, build / "millracectl", "quit"]).returncode == 0
    assert process.wait(10) == 0
    done = run([*NOBODY, "env", "-u", "XDG_RUNTIME_DIR", build / "millraced", "--config", config])
    assert done.returncode == 1 and "control.sock" in done.stdout, done.stdout
    assert "control: socket" in done.stdout and "XDG_RUNTIME_DIR" in done.stdout, done.stdout


def test_the_control_socket_is_not_for_everybody(sockets):
    assert sockets.socket.stat().st_mode & 0o777 == 0o660
