"""(c) Kernel UDP sockets on loopback: Millrace, an echo, and the resolvers that Debian has."""

from lab import LabError, servers

from . import clients
from .measure import NSD_NAMES, SOCKET_WINDOW, ZONE, short
from .peers import PEERS
from .target import Target

ALL = ["millrace", "socket_echo", *PEERS]
ROOM = 1_000_000  # names that each cache has room for at least: unique names must not fill it
FEW = 10
LARGE = 2_000_000  # names; from here on only those that are compared in memory
LARGE_PEERS = ["millrace", "socket_echo", "dnsdist"]


def sockets(run):
    """Hits and NXDOMAIN, from the caches."""
    run.start_upstream()
    targets = start(run, run.upstream, run.options.peers)
    for names in run.options.names if run.wants("hits") else []:
        chosen = [target for target in targets if names < LARGE or target.name in LARGE_PEERS]
        for target in chosen:
            if not target.echo:
                run.fill(target, names, SOCKET_WINDOW, "sockets")
        for pattern in run.options.patterns:
            load = f"hits {short(names)} {pattern}"
            questions = clients.write_questions(run.lab.folder / "questions", names, pattern, count=run.options.questions)
            turns(run, load, chosen, ["--pattern", pattern, "--names", names], questions)
    if run.wants("nxdomain"):
        resolvers = [target for target in targets if not target.echo]
        for target in resolvers:
            run.fill_absent(target, SOCKET_WINDOW)
        questions = clients.write_questions(run.lab.folder / "questions", 10_000, "uniform", kind="x",
                                            count=run.options.questions)
        turns(run, "nxdomain 10k", resolvers, ["--pattern", "absent", "--names", 10_000], questions)


def turns(run, load, targets, arguments, questions):
    for number in range(run.options.rounds):
        for target in targets:
            run.add("sockets", load, target, "dnsperf", number,
                    clients.dnsperf(target, questions, max(1, round(run.options.seconds))))
            run.full_and_half("sockets", load, target, number, arguments, SOCKET_WINDOW)


def misses(run):
    """Through to a real nsd."""
    run.start_nsd()
    targets = start(run, run.nsd, [name for name in run.options.peers if name != "socket_echo"])
    names = min(NSD_NAMES, max(run.options.names))
    for target in targets:
        run.fill(target, names, SOCKET_WINDOW, "misses")
    for load, arguments in run.beyond_the_cache(names):
        for number in range(run.options.rounds):
            for target in targets:
                run.full_and_half("misses", load, target, number, arguments, SOCKET_WINDOW)


def memory(run):
    """Resident octets by names, of fresh servers, without load: the growth while filling, and what the filled server has more
    than one with room for few names, so that what is set aside at start counts too."""
    run.start_upstream()
    chosen = [name for name in LARGE_PEERS if name in run.options.peers and name != "socket_echo"]
    bare = {}
    for target in start(run, run.upstream, chosen, FEW):
        bare[target.name] = target.resident()
        target.end()
    for names in [n for n in run.options.names if n >= 1_000_000] or run.options.names[-1:]:
        for target in start(run, run.upstream, chosen, names):
            run.fill(target, names, SOCKET_WINDOW, "memory", bare.get(target.name))
            target.end()


def start(run, upstream, wanted, names=None, address="127.0.0.1"):
    """The servers, side by side. What does not start is said and left out."""
    most = names or max(ROOM, *run.options.names)
    targets = []
    for i, name in enumerate(wanted):
        here = (address, run.first_port + i)
        try:
            targets.append(Target(name, start_one(run, name, here, upstream, most),
                                  ["--connect={}:{}".format(*here)], echo=name == "socket_echo"))
        except LabError as error:
            run.say(f"{name} is left out: {error}")
    return targets


def start_one(run, name, here, upstream, names):
    unit = f"{name}-{here[1]}-{names}"
    if name == "millrace":
        return run.millrace(unit, {"listen": ["{}:{}".format(*here)]}, upstream, names, run.server_cpu).process
    folder = run.folder(unit)
    if name == "socket_echo":
        return run.start(unit, [run.build / "bench/socket_echo", "{}:{}".format(*here)])
    child = run.start(unit, PEERS[name](folder, here, upstream, names if names < LARGE or name in LARGE_PEERS else LARGE // 2))
    servers.wait(*here, name=f"n0.{ZONE}", qtype=1)
    return child
