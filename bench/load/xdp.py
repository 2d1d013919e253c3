"""(b) AF_XDP on veth: Millrace, the echo and Knot DNS (authoritative), and beside them the servers of (c) on kernel sockets."""

import contextlib
import json

from lab import Lab, LabError, Names
from lab.children import run as run_command
from lab.daemon import check_af_xdp

from . import clients, sockets
from .measure import NSD_NAMES, SOCKET_WINDOW, ZONE, count_busy, short, wait_for_line, zone_text
from .peers import knot
from .target import Echo, Millrace, Target

SERVERS = ["millrace", "dns_echo", "knot"]
FLOOD = 700_000  # questions a second from kxdpgun: more than a veth carries


def xdp(run):
    check_af_xdp()
    run.start_upstream()
    names = min(NSD_NAMES, max(run.options.names))
    load = f"hits {short(names)} uniform"
    questions = clients.write_questions(run.lab.folder / "questions", names, "uniform", count=run.options.questions)
    few = clients.write_questions(run.lab.folder / "few-questions", names, "uniform", count=20_000)  # kxdpgun copies all
    with contextlib.ExitStack() as labs:
        ends = []
        for i, name in enumerate([*SERVERS, "sockets"]):
            try:
                lab = labs.enter_context(Lab(more_names(run.lab.names, i + 1)))
                ends.append(End(run, lab, name, names))
            except LabError as error:
                run.say(f"{name} is left out: {error}")
        for end in ends:
            end.fill(run, names)
        for number in range(run.options.pairs):
            for end in ends:
                if end.is_paired or number < run.options.rounds:
                    end.measure(run, load, number, questions, few, names)


def more_names(names, i):
    """Of a lab beside the run's own."""
    number = names.number + i
    return Names(f"{names.name}-{i}", number, f"mr-le{number}", f"mr-ls{number}")


class End:
    """A veth pair, the server on it (all those on kernel sockets share one), and how to ask it from the other end."""

    def __init__(self, run, lab, name, names):
        self.lab = lab
        self.is_paired = name in SERVERS
        lab.make_network()
        self.inside = lab.inside()
        self._prepare()
        self.targets = getattr(self, f"_start_{name}")(run, names)

    def fill(self, run, names):
        for target in self.targets:
            if not target.echo and target.name != "knot":
                with target.turn():
                    run.generator.load(target, "--pattern", "each", "--names", names, "--window", SOCKET_WINDOW, "--polite",
                                       seconds=0, longest=60, prefix=self.inside)

    def measure(self, run, load, number, questions, few, names):
        seconds = max(1, round(run.options.seconds))
        for target in self.targets:
            with target.turn():
                full = count_busy(target, lambda: clients.dnsperf(target, questions, seconds, self.inside))
                run.add("xdp", load, target, "dnsperf", number, full)
                flood = count_busy(target, lambda: clients.kxdpgun(target, self.lab.names.sub, few, seconds, FLOOD,
                                                                   run.client_cpu, self.inside))
                run.add("xdp", load, target, "kxdpgun", number, flood)
                if number < run.options.rounds:
                    arguments = ["--pattern", "uniform", "--names", names, "--window", SOCKET_WINDOW]
                    run.half("xdp", load, target, number, arguments, full["answers_per_second"] / 2, self.inside)

    def _prepare(self):
        """Checksums that are whole, and neighbours that kxdpgun need not look for."""
        names = self.lab.names
        check(self.lab.inside("ethtool", "-K", names.sub, "tx", "off"))
        edge, sub = (json.loads(check(["ip", "-j", *where, "link", "show", "dev", interface]))[0]["address"]
                     for where, interface in (((), names.edge), (("-n", names.namespace), names.sub)))
        check(["ip", "-n", names.namespace, "neigh", "replace", names.edge4, "lladdr", edge, "dev", names.sub])
        check(["ip", "neigh", "replace", names.sub4, "lladdr", sub, "dev", names.edge])

    @property
    def _where(self):
        return [f"--connect={self.lab.names.edge4}:53"]

    def _start_millrace(self, run, _):
        names = self.lab.names
        config = {"listen": [], "ports": [{"device": f"net_af_xdp0,iface={names.edge}", "lcores": [run.server_cpu],
                                           "addresses": [names.edge4]}]}
        both = f"{run.client_cpu},{run.server_cpu}"
        daemon = run.millrace("millrace", config, run.upstream, NSD_NAMES, both, lab=self.lab)
        return [Millrace(daemon, self._where)]

    def _start_dns_echo(self, run, _):
        folder = run.folder("dns_echo", self.lab)
        names = self.lab.names
        child = run.start("dns_echo", [run.build / "bench/dns_echo", f"--vdev=net_af_xdp0,iface={names.edge}", "--address",
                                       names.edge4], lab=self.lab)
        wait_for_line(folder / "log", "ready", child)
        return [Echo(child, self._where, folder / "log")]

    def _start_knot(self, run, _):
        folder = run.folder("knot", self.lab)
        child = run.start("knot", knot(folder, self.lab.names.edge, ZONE, zone_text()), lab=self.lab)
        target = Target("knot", child, self._where)
        run.generator.load(target, "--names", 10, "--patience", 0.2, seconds=1, prefix=self.inside)
        check(["taskset", "-a", "-p", "-c", run.server_cpu, child.pid])  # knotd spreads its threads itself
        return [target]

    def _start_sockets(self, run, names):
        targets = sockets.start(run, run.upstream, run.options.peers, names, self.lab.names.edge4)
        for target in targets:
            if target.name == "millrace":
                target.name = "millrace-sockets"
        return targets


def check(command):
    done = run_command(command)
    if done.returncode:
        raise LabError(f"{' '.join(map(str, command))}: {done.stdout.strip()}")
    return done.stdout
