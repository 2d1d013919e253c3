"""deploy/quickstart: twice in a row, and after one that was killed; with a recursor too."""

import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from conftest import BUILD, ROOT
from support import until

pytestmark = [pytest.mark.timeout(300),
              pytest.mark.skipif(BUILD != ROOT / "build", reason="quickstart uses the folder build")]


def quickstart(*options):
    return subprocess.Popen([ROOT / "deploy/quickstart", *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def left_overs():
    found = [path for path in ("/sys/class/net/edge0", "/run/netns/millrace-quickstart", "/run/millrace-lab/quickstart")
             if os.path.exists(path)]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"/run/millrace-lab/quickstart/" in command:
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def test_once_and_again():
    for _ in range(2):
        run = quickstart("--once")
        output, _ = run.communicate(timeout=120)
        assert run.returncode == 0, output
        for address in ("192.0.2.11", "192.0.2.21", "203.0.113.31"):
            assert address in output
        assert re.search(r"rate +[\d,]+ answers a second", output) and re.search(r"from the cache +\d", output)
        assert left_overs() == []


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 0), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_stays_until_told_to_end(number, code):
    run = quickstart()
    output = read_until(run, "tail -f")
    assert "cache flush www.lab.example" in output
    run.send_signal(number)
    run.communicate(timeout=30)
    assert run.returncode == code
    assert left_overs() == []


def test_after_a_crash():
    """kill -9 leaves no process, and the next run removes the rest."""
    run = quickstart()
    read_until(run, "tail -f")
    run.kill()
    run.communicate(timeout=30)
    assert until(lambda: not [line for line in left_overs() if not line.startswith("/")])
    test_once_and_again()


def test_recursive():
    """The first one crashes."""
    run = quickstart("--recursive")
    read_until(run, "tail -f")
    run.kill()
    run.communicate(timeout=30)
    for _ in range(2):
        run = quickstart("--recursive", "--once")
        output, _ = run.communicate(timeout=120)
        assert run.returncode == 0, output
        assert "NOERROR AD 192.0.2.11" in output and "NXDOMAIN AD" in output
        assert re.search(r"SERVFAIL .*\n.*extended error 6 \(DNSSEC Bogus\)", output)
        assert left_overs() == []


def read_until(run, text):
    output, deadline = "", time.monotonic() + 120
    while text not in output:
        line = run.stdout.readline()
        assert line and time.monotonic() < deadline, output
        output += line
    return output
