"""A server under load: its process, its turns, what it costs."""

import contextlib
import json
import os
import pathlib
import signal
import time


class Target:
    def __init__(self, name, process, where, polls=False, echo=False):
        """where: arguments of dns_load that lead to it. polls: it never sleeps, so it is stopped between its turns."""
        self.name, self.process, self.where, self.polls, self.echo = name, process, where, polls, echo
        self.asked = 0  # unique names so far: the next ones are new to it
        self.filled = 0  # names in its cache
        self.is_on_kernel = where[0].startswith("--connect")  # whose work on the client CPU must not be held up
        self.pause()

    @property
    def pid(self):
        return self.process.pid

    @property
    def endpoint(self):
        """Address and port, where it is reached through a kernel."""
        return self.where[0].removeprefix("--connect=").split(":")

    @contextlib.contextmanager
    def turn(self):
        if self.polls:
            os.kill(self.pid, signal.SIGCONT)
        try:
            yield
        finally:
            self.pause()

    def pause(self):
        if self.polls and self.process.poll() is None:
            os.kill(self.pid, signal.SIGSTOP)

    def busy(self):
        """Cycles spent on packets and their number so far, of a server that counts them; else nothing."""

    def end(self):
        """Before its client: see clients.Generator."""
        self.process.terminate()
        os.kill(self.pid, signal.SIGCONT)
        self.process.wait(20)

    def usage(self):
        """Seconds on a CPU so far, by thread."""
        spent = {}
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # a thread that has just ended
                name = "main" if task.name == str(self.pid) else (task / "comm").read_text(encoding="ascii").strip()
                spent[name] = spent.get(name, 0) + int((task / "schedstat").read_text(encoding="ascii").split()[0]) / 1e9
        return spent

    def resident(self):
        """Octets of resident memory."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0


class Millrace(Target):
    """On a port. Its lcores poll, and count the cycles of the turns that had something to do."""

    def __init__(self, daemon, where):
        self._daemon = daemon
        super().__init__("millrace", daemon.process, where, polls=True)

    def busy(self):
        workers = self._daemon.ctl("status")["workers"]
        return {key: sum(worker[key] for worker in workers) for key in ("received", "busy_cycles")}


class Echo(Target):
    """dns_echo, which counts its own cycles."""

    def __init__(self, process, where, log):
        self._log = log
        super().__init__("dns_echo", process, where, polls=True, echo=True)

    def busy(self):
        """It prints a line of JSON when it is asked to."""
        lines = self._lines()
        os.kill(self.pid, signal.SIGUSR1)
        deadline = time.monotonic() + 5
        while len(self._lines()) == len(lines) and time.monotonic() < deadline:
            time.sleep(0.005)
        return json.loads(self._lines()[-1])

    def _lines(self):
        return [line for line in self._log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]


def spent(before, after):
    """Core-seconds by thread between two looks, threads that did nothing left out."""
    difference = {name: seconds - before.get(name, 0) for name, seconds in after.items()}
    return {name: seconds for name, seconds in difference.items() if seconds > 1e-4}
