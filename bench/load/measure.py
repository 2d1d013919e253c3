"""One run: what it has started, what it measures, and what it found."""

import datetime
import pathlib
import time

from lab import Daemon, LabError, servers

from . import clients, machine
from .clients import ZONE
from .target import Target

WILDCARD = "192.0.2.1"  # of every name that nsd does not know better
NSD_NAMES = 10_000
DEVICE_WINDOW, SOCKET_WINDOW = 512, clients.IN_FLIGHT


class Run:
    def __init__(self, options, lab, samples):
        self.options, self.lab, self.build = options, lab, options.build
        self.client_cpu, self.server_cpu = machine.cpus()
        self.generator = clients.Generator(self.build, lab)
        number = lab.names.number
        self.upstream, self.nsd = (f"127.0.{number}.9", 5398), (f"127.0.{number}.8", 5397)
        self.first_port = 5000 + 20 * number  # of the servers on 127.0.0.1: named serves no other loopback address
        self.samples = samples  # a dict for each measurement
        self._started = time.monotonic()

    def say(self, text):
        print(f"{datetime.timedelta(seconds=int(time.monotonic() - self._started))}  {text}", flush=True)

    def wants(self, *loads):
        return any(load in self.options.loads for load in loads)

    # Servers.

    def start(self, name, command, cpu=None, lab=None):
        """A process on the server CPU; its folder is made by folder()."""
        lab = lab or self.lab
        cpu = self.server_cpu if cpu is None else cpu
        return lab.children.start(["taskset", "-c", cpu, *command], lab.folder / name / "log")

    def folder(self, name, lab=None):
        folder = (lab or self.lab).folder / name
        folder.mkdir()
        return folder

    def start_upstream(self):
        """The quick authority, which knows millions of names."""
        self.folder("upstream")
        self.start("upstream", [self.build / "bench/upstream", "{}:{}".format(*self.upstream), "--wrong-every",
                                self.options.wrong_every], self.client_cpu)
        servers.wait(*self.upstream, name=f"n1.{ZONE}", qtype=1)

    def start_nsd(self):
        """The real one: NSD_NAMES names of their own, and a wildcard for those that are asked once."""
        servers.start_nsd(self.lab.children, self.lab.folder / "nsd", *self.nsd, ZONE, zone_text())
        servers.wait(*self.nsd, name=ZONE, qtype=6)

    def millrace(self, name, config, upstream, most_names, cpus, lab=None):
        config = {"upstreams": [{"group": "default", "servers": ["{}:{}".format(*upstream)]}],
                  "allow": ["127.0.0.0/8", "198.18.0.0/15"],
                  "cache": {"entries": int(most_names * 1.25) + 1000, "memory": "8GiB"}, **config}
        return Daemon(lab or self.lab, self.build, config, ["taskset", "-c", cpus], name=name).start()

    # Measurements.

    def fill(self, target, names, window, scenario, bare=None):
        """Every name once, until each is answered; how much the server grew by it. bare: its octets with next to no cache."""
        before = target.resident()
        with target.turn():
            report = self.generator.load(target, "--pattern", "each", "--names", names, "--window", window, "--polite",
                                         "--patience", 2, seconds=0, longest=60 + names / 500)
        grown = target.resident() - before
        new, target.filled = names - target.filled, names
        self.add(scenario, f"fill {short(names)}", target, "dns_load", 0,
                 {**report, "names": names, "resident_before": before, "resident_growth": grown,
                  "octets_per_name": grown / new,
                  "octets_per_name_over_bare": (before + grown - bare) / names if bare else None})
        if report["wrong"]:
            self.say(f"{target.name}: {report['wrong']} wrong answers while filling, {report.get('first_wrong')}")

    def fill_absent(self, target, window):
        """10,000 absent names: enough questions that hardly one is left out."""
        self.generator.load(target, "--pattern", "absent", "--names", 10_000, "--window", window, "--polite",
                            seconds=2 + self.options.seconds / 2)

    def beyond_the_cache(self, names):
        """The loads that go through to nsd, and dns_load's arguments. `names` are in the cache."""
        unique = ["--wildcard", WILDCARD, "--polite"]
        if self.wants("misses"):
            yield "misses", ["--pattern", "unique", *unique]
        if self.wants("mix"):
            yield "mix 90% hits", ["--pattern", "uniform", "--names", names, "--unique-share", 0.1, *unique]

    def full_and_half(self, scenario, load, target, number, arguments, window):
        """At full speed; then at half of that, for the latencies."""
        seconds = self.options.seconds
        arguments = [*arguments, "--window", window, "--seed", 2 * number + 1]
        with target.turn():
            full = count_busy(target, lambda: self.generator.load(
                target, *arguments, "--first", target.asked, "--warm-up", min(0.3, seconds / 4), seconds=seconds))
            self.add(scenario, load, target, "dns_load", number, full)
            self.half(scenario, load, target, number, arguments, full["answers_per_second"] / 2)

    def half(self, scenario, load, target, number, arguments, rate, prefix=()):
        rate = max(1, int(rate))
        report = self.generator.load(target, *arguments, "--first", target.asked, "--rate", rate, "--warm-up", 0.1,
                                     seconds=max(0.5, self.options.seconds / 2), prefix=prefix)
        self.add(scenario, load, target, "dns_load at half", number, {**report, "rate": rate})

    def add(self, scenario, load, target, client, number, report):
        answers = report["answers_per_second"] * report["seconds"]
        cost = sum(report["core_seconds"].values())
        sample = {"scenario": scenario, "load": load, "server": target.name, "client": client, "round": number,
                  "polls": target.polls, **report}
        if answers > 0:
            sample["core_seconds_per_million"] = cost / answers * 1e6
        self.samples.append(sample)
        wrong = f", {report['wrong']:,} WRONG ({report.get('first_wrong')})" if report.get("wrong") else ""
        lost = f", {report['lost']:,} lost" if report.get("lost") else ""
        self.say(f"{scenario:8} {load:16} {client:16} round {number}  {target.name:14} "
                 f"{report['answers_per_second']:>11,.0f}/s{wrong}{lost}")


def count_busy(target, load):
    """The report of the load, with what the target has counted itself meanwhile."""
    before = target.busy()
    report = load()
    if before:
        after = target.busy()
        packets = after["received"] - before["received"]
        report["busy_cycles_per_packet"] = (after["busy_cycles"] - before["busy_cycles"]) / packets if packets else None
    return report


def wait_for_line(log, pattern, process, seconds=15):
    """The first line of the log that has the text; it is a server's sign that it is up."""
    deadline = time.monotonic() + seconds
    while pattern not in log.read_text(encoding="utf-8", errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise LabError(f"{pathlib.Path(log).parent.name} did not start:\n{log.read_text(errors='replace')[-800:]}")
        time.sleep(0.02)


def zone_text():
    """For nsd and knot: numbers and addresses as in zone.hpp."""
    lines = [f"$ORIGIN {ZONE}.", "$TTL 86400", "@ SOA ns hostmaster 1 3600 600 86400 86400", "@ NS ns", "ns A 192.0.2.53",
             f"* A {WILDCARD}", *(f"n{i} A {64 | i >> 24 & 31}.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}" for i in range(NSD_NAMES))]
    return "\n".join(lines) + "\n"


def short(names):
    """10000: "10k"."""
    return f"{names // 1_000_000}M" if names % 1_000_000 == 0 else f"{names // 1000}k" if names % 1000 == 0 else str(names)
