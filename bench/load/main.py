"""bench/load/run: options, the order of things, and what is written at the end."""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import signal
import subprocess
import sys

from lab import Lab, LabError, Names

from . import machine, memif, plot, report, sockets, xdp
from .measure import Run

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCENARIOS = {"ring": memif.ring, "memif": memif.memif, "sockets": sockets.sockets, "misses": sockets.misses, "xdp": xdp.xdp,
             "memory": sockets.memory}
LOADS = ["hits", "nxdomain", "misses", "mix"]
PROGRAMS = ["millraced", "millracectl", "bench/dns_load", "bench/dns_echo", "bench/socket_echo", "bench/upstream"]


def main():
    return run(measure, parse())


def run(measured, options):
    """The exit code of `measured`, which tidies up after itself however it is ended."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        return measured(options)
    except LabError as error:
        print(f"run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def measure(options):
    """What was measured is written whatever happens afterwards."""
    if os.geteuid() != 0:
        raise LabError("it makes network interfaces and reserves hugepages: run it as root")
    prepare(options)
    options.out.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {machine.cpus()[0]} | {machine.cpus()[1]})
    samples, failed = [], []
    machine.give_back()
    try:
        with contextlib.nullcontext() if options.quick else machine.hugepages():
            for name in options.only:
                try:
                    with free_lab() as lab:
                        SCENARIOS[name](Run(options, lab, samples))
                except LabError as error:
                    failed.append(name)
                    print(f"run: {name}: {error}", file=sys.stderr)
    finally:
        write(options, samples)
    wrong = sum(sample.get("wrong", 0) for sample in samples)
    if wrong:
        print(f"run: {wrong:,} answers were wrong", file=sys.stderr)
    return 1 if failed or wrong else 0


@contextlib.contextmanager
def free_lab():
    """One that no other run holds: the system tests run us too."""
    for number in (40, 50, 60):
        lab = Lab(Names(f"load{number}", number, f"mr-le{number}", f"mr-ls{number}"))
        try:
            lab.__enter__()
        except LabError:
            continue
        try:
            yield lab
        finally:
            lab.__exit__()
        return
    raise LabError("three other runs are under way")


def prepare(options):
    lists = [ROOT / "deploy/packages", ROOT / "bench/load/packages"] if options.install else []
    for packages in lists:
        if subprocess.run([ROOT / "deploy/install-packages", packages], check=False, timeout=900).returncode:
            raise LabError("installing packages failed")
    if options.build is None:
        options.build = ROOT / "build"
        programs = PROGRAMS + ["bench/worker_bench"] * ("ring" in options.only)
        command = [ROOT / "deploy/build", *(word for program in programs for word in ("-t", program)), "build"]
        if subprocess.run(command, check=False, timeout=3600, stdout=subprocess.DEVNULL).returncode:
            raise LabError("the build failed: deploy/build build")


def write(options, samples):
    if not samples:
        return
    text = report.table(samples)
    about = {"date": datetime.datetime.now().isoformat(timespec="seconds"), "machine": platform.platform(),
             "cpus": machine.cpus(), "options": {key: str(value) for key, value in vars(options).items()},
             "commit": subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False,
                                      timeout=10).stdout.strip()}
    found = {"about": about, "summary": report.summarise(samples), "ratios": report.ratios(samples),
             "costs": report.costs(samples), "implied": list(report.implied(samples)), "samples": samples}
    (options.out / "figures.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    (options.out / "figures.txt").write_text(text + "\n", encoding="utf-8")
    (options.out / "figures.svg").write_text(plot.svg(samples), encoding="utf-8")
    print(f"{text}\n\nwritten: {options.out}/figures.json, .txt, .svg")


def parse():
    parser = argparse.ArgumentParser(
        prog="bench/load/run", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measures Millrace, an echo on the same port and other resolvers in one run, in turns.",
        epilog="""scenarios:
  ring     build/bench/worker_bench: cycles in one process, generator included or not as its rows say
  memif    two processes, no kernel between them: dns_load asks the echo and Millrace
  sockets  kernel UDP on loopback, answers from the caches: Millrace, an echo and the peers; dnsperf and dns_load
  misses   the same servers, names that are asked once, through to nsd; and a mix with 90 % hits
  xdp      AF_XDP on veth: Millrace, the echo, Knot DNS (authoritative), and kernel sockets there; dnsperf and kxdpgun
  memory   resident growth by names, of fresh servers: Millrace and dnsdist's packet cache
Each server has the last CPU, clients and upstream servers the first. A whole run takes about an hour and a half.""")
    parser.add_argument("--only", type=words, default=list(SCENARIOS), metavar="SCENARIO[,...]", help="these alone")
    parser.add_argument("--peers", type=words, default=sockets.ALL, metavar="NAME[,...]",
                        help=f"servers on kernel sockets: {','.join(sockets.ALL)} (all)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each server with each load (%(default)s)")
    parser.add_argument("--pairs", type=int, default=20, help="turns in the scenario xdp (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4, help="of each load at full speed; half of it at half speed (%(default)s)")
    parser.add_argument("--names", type=lambda text: [int(word) for word in words(text)], default=[10_000, 1_000_000, 5_000_000],
                        metavar="N[,...]", help="names in the caches, ascending (10000,1000000,5000000); from two million on "
                                                "only millrace, the echo and dnsdist on kernel sockets")
    parser.add_argument("--out", type=pathlib.Path, help="folder for figures.json, .txt and .svg (build/bench/load-DATE)")
    parser.add_argument("--build", type=pathlib.Path, help="folder with the programs, taken as it is (build, brought up to date)")
    parser.add_argument("--no-install", dest="install", action="store_false", help="leave the packages as they are")
    parser.add_argument("--quick", action="store_true", help="everything small and short, to see that it works: two peers, "
                        "uniform names only, one round of a second, no hugepages; the figures mean nothing")
    parser.add_argument("--loads", type=words, default=LOADS, metavar="LOAD[,...]", help=f"these alone, of {','.join(LOADS)}")
    parser.add_argument("--wrong-every", type=int, default=0, metavar="N", help="the quick upstream lies about every N-th "
                        "name, to see that it is noticed; a run with wrong answers ends with 1")
    options = parser.parse_args()
    if unknown := (set(options.only) - set(SCENARIOS)) | (set(options.peers) - set(sockets.ALL)) | (set(options.loads) - set(LOADS)):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    options.patterns, options.questions = ["uniform", "zipf"], 1_000_000
    if options.quick:
        options.patterns, options.questions = ["uniform"], 20_000
        options.names, options.rounds, options.pairs, options.seconds = [1000], 1, 2, 0.5
        options.peers = [name for name in options.peers if name in ("millrace", "socket_echo", "unbound", "dnsdist")]
    options.out = (options.out or ROOT / f"build/bench/load-{datetime.datetime.now():%Y%m%d-%H%M%S}").resolve()
    return options


def words(text):
    return [word for word in text.split(",") if word]


if __name__ == "__main__":
    sys.exit(main())
