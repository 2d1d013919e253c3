"""Child processes that die with their parent, and are found again by the next run if even that failed."""

import ctypes
import os
import signal
import subprocess
import time

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """A sentence for the person at the terminal."""


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run(command, timeout=30, **options):
    """subprocess.run for a short command: bounded in time, dead when we are, its output as text."""
    return subprocess.run([str(c) for c in command], timeout=timeout, preexec_fn=_die_with_parent, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          **options)


def start_time(pid):
    """When the process started, in ticks after boot: with its number, a name that is never used twice. None if gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


class Children:
    """Starts long-running processes and notes each in a file before anything depends on it."""

    def __init__(self, file):
        self._file = file
        self._running = []

    def start(self, command, log):
        """A session of its own, so that Ctrl-C reaches us alone and the children are ended in order."""
        with open(log, "ab") as output:
            child = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=output,
                                     stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=_die_with_parent)
        self._running.append(child)
        with open(self._file, "a", encoding="ascii") as file:
            file.write(f"{child.pid} {start_time(child.pid)}\n")
        return child

    def end(self):
        """Ends ours, newest first, then those that a crashed run noted and that are still the same processes."""
        for child in reversed(self._running):
            _end_process(child.pid, lambda child=child: child.poll() is None)
        self._running.clear()
        for pid, started in self._noted():
            _end_process(pid, lambda pid=pid, started=started: start_time(pid) == started)

    def _noted(self):
        try:
            lines = self._file.read_text(encoding="ascii").split("\n")
        except OSError:
            return []
        pairs = [line.split() for line in lines if len(line.split()) == 2]
        return [(int(pid), int(started)) for pid, started in reversed(pairs) if started != "None"]


def _end_process(pid, alive):
    for number, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        if not alive():
            return
        try:
            os.kill(pid, number)
            os.kill(pid, signal.SIGCONT)  # one that is stopped would not notice
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while alive() and time.monotonic() < deadline:
            time.sleep(0.01)
