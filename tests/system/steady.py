"""Clients that ask all the while, and lose nothing of themselves."""

import re
import subprocess

from lab.children import run
from support import Beside

NAMES = [f"host-{i}.lab.example A" for i in range(100)]
AT_ONCE, PAUSE = 10, 0.02  # questions, seconds: 500 a second at most
OUTSTANDING = 100  # less than each queue on the way holds: none overflows, however slow the machine is


class Steady(Beside):
    """dnsperf asks for names that are cached until the block ends; then it waits for what has no answer yet."""

    def __init__(self, lab):
        self._command = lab.inside("dnsperf", "-s", lab.names.edge4, "-c", 4, "-q", OUTSTANDING, "-t", 20, "-n", 1, "-l", 100)
        self.asked, self.said = 0, ""
        file = lab.folder / "steady"
        file.write_text("".join(f"{name}\n" for name in NAMES), encoding="ascii")
        said = run([*self._command, "-d", file]).stdout
        assert f"NOERROR {len(NAMES)} (100.00%)" in said, said

    def beside(self):
        """It reads the names from a pipe, and stops at its end."""
        with subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as perf:
            while not self.leaving.wait(PAUSE):
                try:
                    perf.stdin.write("".join(f"{NAMES[(self.asked + i) % len(NAMES)]}\n" for i in range(AT_ONCE)))
                    perf.stdin.flush()
                except BrokenPipeError:
                    break  # what it says shows that it asked less
                self.asked += AT_ONCE
            self.said, _ = perf.communicate()

    def count(self, what):
        """How many were "lost", or got a reply of the code; after the block."""
        assert "Queries completed" in self.said, self.said
        found = re.search(rf" {what}:? +(\d+)", self.said)
        return int(found[1]) if found else 0
