"""(b) AF_XDP on veth: Millrace, the echo and Knot DNS (authoritative), each on a veth pair of its own."""

import contextlib
import json

from lab import Lab, LabError, Names
from lab.children import run as run_command
from lab.daemon import check_af_xdp

from . import clients
from .measure import NSD_NAMES, SOCKET_WINDOW, ZONE, count_busy, short, wait_for_line, zone_text
from .peers import knot
from .target import Echo, Millrace, Target

SERVERS = ["millrace", "dns_echo", "knot"]
FLOOD = 700_000  # questions a second from kxdpgun: more than a veth carries


def xdp(run):
    check_af_xdp()
    run.start_upstream()
    names = min(NSD_NAMES, max(run.options.names))
    questions = clients.write_questions(run.lab.folder / "questions", names, "uniform", count=run.options.questions)
    few = clients.write_questions(run.lab.folder / "few-questions", names, "uniform", count=20_000)  # kxdpgun copies all
    with contextlib.ExitStack() as labs:
        ends = []
        for i, name in enumerate(SERVERS):
            try:
                lab = labs.enter_context(Lab(more_names(run.lab.names, i + 1)))
                ends.append(End(run, lab, name))
            except LabError as error:
                run.say(f"{name} is left out: {error}")
        for end in ends:
            if end.target.name == "millrace":
                with end.target.turn():
                    run.generator.load(end.target, "--pattern", "each", "--names", names, "--window", SOCKET_WINDOW,
                                       "--polite", seconds=0, longest=60, prefix=end.inside)
        for number in range(run.options.pairs):
            for end in ends:
                end.measure(run, f"hits {short(names)} uniform", number, questions, few, names)


def more_names(names, i):
    """Of a lab beside the run's own."""
    number = names.number + i
    return Names(f"{names.name}-{i}", number, f"mr-le{number}", f"mr-ls{number}")


class End:
    """A server on its veth pair, and how to ask it from the other end."""

    def __init__(self, run, lab, name):
        self.lab = lab
        lab.make_network()
        self.inside = lab.inside()
        self._prepare()
        self.target = getattr(self, f"_start_{name}")(run)

    def measure(self, run, load, number, questions, few, names):
        address, seconds = self.lab.names.edge4, max(1, round(run.options.seconds))
        with self.target.turn():
            full = count_busy(self.target, lambda: clients.dnsperf(self.target, address, 53, questions, seconds, self.inside))
            run.add("xdp", load, self.target, "dnsperf", number, full)
            flood = count_busy(self.target, lambda: clients.kxdpgun(self.target, address, self.lab.names.sub, few, seconds, FLOOD,
                                                                    run.client_cpu, self.inside))
            run.add("xdp", load, self.target, "kxdpgun", number, flood)
            if number < run.options.rounds:
                arguments = ["--pattern", "uniform", "--names", names, "--window", SOCKET_WINDOW]
                run.half("xdp", load, self.target, number, arguments, full["answers_per_second"] / 2, self.inside)

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

    def _start_millrace(self, run):
        names = self.lab.names
        config = {"listen": [], "ports": [{"device": f"net_af_xdp0,iface={names.edge}", "lcores": [run.server_cpu],
                                           "addresses": [names.edge4]}]}
        both = f"{run.client_cpu},{run.server_cpu}"
        daemon = run.millrace("millrace", config, run.upstream, NSD_NAMES, both, lab=self.lab)
        return Millrace(daemon, self._where)

    def _start_dns_echo(self, run):
        folder = run.folder("dns_echo", self.lab)
        names = self.lab.names
        child = run.start("dns_echo", [run.build / "bench/dns_echo", f"--vdev=net_af_xdp0,iface={names.edge}", "--address",
                                       names.edge4], lab=self.lab)
        wait_for_line(folder / "log", "ready", child)
        return Echo(child, self._where, folder / "log")

    def _start_knot(self, run):
        folder = run.folder("knot", self.lab)
        child = run.start("knot", knot(folder, self.lab.names.edge, ZONE, zone_text()), lab=self.lab)
        target = Target("knot", child, self._where)
        run.generator.load(target, "--names", 10, "--patience", 0.2, seconds=1, prefix=self.inside)
        check(["taskset", "-a", "-p", "-c", run.server_cpu, child.pid])  # knotd spreads its threads itself
        return target


def check(command):
    done = run_command(command)
    if done.returncode:
        raise LabError(f"{' '.join(map(str, command))}: {done.stdout.strip()}")
    return done.stdout
