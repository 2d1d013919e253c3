"""The clients: our own generator, dnsperf, kxdpgun. Each gives a dict of the same keys, as far as it knows them."""

import json
import math
import os
import random
import re
import time

from lab import LabError
from lab.children import run

from .target import spent

ZONE = "load.example"
IN_FLIGHT = 128  # of dnsperf's questions: more at once overflow the receive buffers that most servers leave as they are
PATIENCE = 60  # seconds beyond its own time that a client is given


class Generator:
    """dns_load. Prints "begin" and "end" around what it counts; the server's cost is taken between these.

    Over a device one process stays for all loads of a target: when a memif peer leaves, the driver of DPDK 22.11 unmaps the
    rings under the server's polling thread, which may die of it.
    """

    def __init__(self, build, lab):
        self._program = build / "bench/dns_load"
        self._lab = lab
        self._runs = 0
        self._staying = {}  # by where: (process, its log, its FIFO)

    def load(self, target, *arguments, seconds, prefix=(), longest=None):
        arguments = ["--seconds", seconds, *arguments, *(["--echo"] if target.echo else [])]
        start = self._start if target.is_on_kernel else self._command
        child, log, offset = start(target, arguments, prefix)
        deadline = time.monotonic() + (longest or seconds + PATIENCE)
        try:
            before = await_line("begin", log, offset, child, deadline) and target.usage()
            after = await_line("end", log, offset, child, deadline) and target.usage()
            report = json.loads(await_line("{.*}", log, offset, child, deadline))
        finally:
            if target.is_on_kernel:
                child.kill()
                child.wait(5)
        target.asked += report["sent"]
        return {**report, "core_seconds": spent(before, after),
                "checked": "ID and question of every answer" if target.echo else "every answer, its address included"}

    def _start(self, target, arguments, prefix):
        """--polite: the kernel works on our CPU too."""
        self._runs += 1
        log = self._lab.folder / f"dns_load-{self._runs}"
        return self._lab.children.start([*prefix, self._program, *target.where, *arguments, "--polite"], log), log, 0

    def _command(self, target, arguments, prefix):
        assert not prefix
        where = tuple(target.where)
        if where not in self._staying:
            self._runs += 1
            log, fifo = (self._lab.folder / f"dns_load-{self._runs}{what}" for what in ("", ".commands"))
            os.mkfifo(fifo)
            self._staying[where] = (self._lab.children.start([self._program, *where, "--commands", fifo], log), log, fifo)
        child, log, fifo = self._staying[where]
        offset = log.stat().st_size
        with open(os.open(fifo, os.O_RDWR), "w", encoding="ascii") as commands:  # does not wait for the reader
            commands.write(" ".join(map(str, arguments)) + "\n")
            commands.flush()
            text = await_line("begin|{.*}", log, offset, child, time.monotonic() + PATIENCE)  # read before we close it
            assert text
        return child, log, offset


def await_line(pattern, log, offset, child, deadline):
    """The first line like this that the child prints."""
    while True:
        ended = child.poll() is not None
        text = log.read_bytes()[offset:].decode("utf-8", errors="replace")
        if found := re.search(rf"^({pattern})$", text, re.MULTILINE):
            return found[0]
        if ended or time.monotonic() > deadline:
            raise LabError(f"{log.name} did not come to an end: {text.strip()[-500:]}")
        time.sleep(0.01)


def dnsperf(target, questions, seconds, prefix=()):
    address, port = target.endpoint
    meter = Meter(target)
    output = run([*prefix, "dnsperf", "-s", address, "-p", port, "-d", questions, "-l", seconds, "-c", 8, "-q", IN_FLIGHT, "-t", 1],
                 timeout=seconds + PATIENCE).stdout
    meter.stop()
    found = {key: re.search(rf"{key}:\s+([\d.]+)", output) for key in ("sent", "completed", "lost", r"Run time \(s\)")}
    if not all(found.values()):
        raise LabError(f"dnsperf did not work:\n{output[-500:]}")
    sent, completed, lost, ran = (float(match[1]) for match in found.values())
    codes = dict(re.findall(r"([A-Z]+) (\d+) \(", (re.search(r"Response codes:(.*)", output) or [""])[0]))
    return {"sent": int(sent), "answered": int(completed), "lost": int(lost), "seconds": ran,
            "answers_per_second": completed / ran, "rcodes": {code: int(count) for code, count in codes.items()},
            "core_seconds": meter.core_seconds(ran), "checked": "dnsperf: IDs and rcodes"}


def kxdpgun(target, interface, questions, seconds, rate, cpu, prefix=()):
    """Sends at `rate` whatever comes back, so what is lost was too much."""
    address, port = target.endpoint
    meter = Meter(target)
    output = run([*prefix, "kxdpgun", "-F", cpu, "-t", seconds, "-Q", rate, "-i", questions, "-I", interface, "-p", port,
                  address], timeout=seconds + PATIENCE).stdout
    meter.stop()
    sent, replies = (re.search(pattern, output) for pattern in (r"total queries:\s+(\d+)", r"total replies:\s+(\d+)"))
    if not sent or not replies:
        raise LabError(f"kxdpgun did not work:\n{output[-500:]}")
    codes = {code: int(count) for code, count in re.findall(r"responded (\w+):\s+(\d+)", output)}
    return {"sent": int(sent[1]), "answered": int(replies[1]), "lost": int(sent[1]) - int(replies[1]), "seconds": seconds,
            "answers_per_second": int(replies[1]) / seconds, "rcodes": codes, "core_seconds": meter.core_seconds(seconds),
            "checked": "kxdpgun: rcodes"}


class Meter:
    """A server's core-seconds while a client runs that does not say when it begins and ends: its start is included. Of a
    server that polls all the time, the part that falls to the client's own time is taken."""

    def __init__(self, target):
        self._target = target
        self._before, self._begin = target.usage(), time.monotonic()

    def stop(self):
        self._spent, self._wall = spent(self._before, self._target.usage()), time.monotonic() - self._begin

    def core_seconds(self, seconds):
        share = min(1, seconds / self._wall) if self._target.polls else 1
        return {name: used * share for name, used in self._spent.items()}


def write_questions(file, names, pattern, kind="n", count=1_000_000, seed=1):
    """A file for dnsperf and kxdpgun: `count` questions over `names` names, uniform or Zipf as dns_load draws them."""
    draw = random.Random(seed)
    span, step = math.log(names + 1), 7919
    while math.gcd(step, names) != 1:
        step += 1

    def zipf():
        while True:
            rank = int(math.exp(draw.random() * span))
            if draw.random() * rank * math.log1p(1 / rank) <= math.log(2):
                return rank * step % names

    with open(file, "w", encoding="ascii") as out:
        for _ in range(count):
            out.write(f"{kind}{zipf() if pattern == 'zipf' else draw.randrange(names)}.{ZONE} A\n")
    return file
