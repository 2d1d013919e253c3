#!/usr/bin/python3
"""clocks.py PROGRAM...: unit tests on a machine that has just booted, and on one that has been up for a century.

In a time namespace (time_namespaces(7)) CLOCK_BOOTTIME reads what we like. First it begins at zero, anew for each test suite, and
the clocks that tests make up begin at a century; then it is the other way round. So whoever mixes the two, takes a zero for long
ago or lets a number overflow fails a test. Exit code 77, skipped: time namespaces are not permitted here.
"""

import os
import pathlib
import re
import subprocess
import sys
import time

CENTURY = 100 * 365 * 86400  # seconds; the kernel's own end is 146 years
LIMIT = 60  # seconds for one suite
# The results that gtest writes are those of the ordinary run.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("GTEST_")}
OTHERS = {"simulation": ["--seeds", "100", "--seconds", "15"]}  # programs that are not gtest's, and what they are told


def main(programs):
    if reason := refusal():
        print(f"skipped, no time namespaces here: {reason}")
        return 77
    failed = []
    for program in programs:
        for suite in suites(program):
            failed += run("just booted", f"-{int(uptime())}", CENTURY, suite)
        failed += run("a century up", f"{CENTURY}", 1, everything(program))
    print(f"{len(failed)} failed" if failed else "passed", *failed, sep="\n")
    return 1 if failed else 0


def uptime():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def inside(offset, command):
    """The command that runs `command` with CLOCK_BOOTTIME moved by `offset` seconds."""
    return ["unshare", "--time", f"--boottime={offset}", "--fork", "--kill-child", *command]


def refusal():
    """Why there are no time namespaces; empty when there are."""
    try:
        tried = subprocess.run(inside(f"-{int(uptime())}", ["true"]), capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return str(error)
    return "" if tried.returncode == 0 else tried.stderr.strip() or f"unshare ends with {tried.returncode}"


def suites(program):
    """Commands, one for each suite of a gtest program."""
    name = pathlib.Path(program).name
    if name in OTHERS:
        return [everything(program)]
    listed = subprocess.run([program, "--gtest_list_tests"], env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout
    names = [line.split()[0] for line in listed.splitlines() if line[:1] != " " and line.split()[0].endswith(".")]
    assert names, f"{name} lists no tests"
    return [[program, "--gtest_brief=1", f"--gtest_filter={suite}*"] for suite in names]


def everything(program):
    return [program, *OTHERS.get(pathlib.Path(program).name, ["--gtest_brief=1"])]


def run(what, offset, made_up, command):
    """Empty, or the name of what failed, whose output is then printed."""
    environment = ENVIRONMENT | {"MILLRACE_CLOCK": str(made_up)}
    try:
        done = subprocess.run(inside(offset, command), env=environment, stdin=subprocess.DEVNULL, timeout=LIMIT, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        status, output = f"ends with {done.returncode}" if done.returncode else "", done.stdout
    except subprocess.TimeoutExpired as hanging:
        status, output = "hangs", (hanging.stdout or b"").decode(errors="replace")
    if not status:
        return []
    name = f"{what}: {pathlib.Path(command[0]).name} {' '.join(command[1:])} {status}"
    failures = "".join(line + "\n" for line in output.splitlines() if re.search(r"Failure|FAILED|^Expected|^  Actual|actual:", line))
    print(f"---- {name}\n{failures}{output[-4000:]}")
    return [name]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
