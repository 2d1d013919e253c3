"""bench/faults/run: options, the order of things, and what is written at the end."""

import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys

from lab import LabError
from load import machine
from load.main import ROOT, free_lab, run, words

from . import plot, report
from .measure import Measurement, precedence
from .peers import PEERS
from .scenarios import SCENARIOS

ALL = ["millrace", *PEERS]
PROGRAMS = ["millraced", "millracectl", "bench/dns_load", "bench/faulty"]


def main():
    return run(measure, parse())


def measure(options):
    """What was measured is written whatever happens afterwards."""
    if os.geteuid() != 0:
        raise LabError("it installs packages and takes addresses and CPUs: run it as root")
    prepare(options)
    options.out.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {*machine.cpus()})
    samples, failed = [], 0
    try:
        with free_lab() as lab:
            for name in options.rows:
                for number in range(options.rounds):
                    for peer in options.peers[::-1] if number % 2 else options.peers:
                        print(f"{name}: {peer}, round {number + 1}", flush=True)
                        try:
                            samples.append({"scenario": name, "server": peer, "round": number,
                                            **Measurement(options, lab, name, peer, number).run()})
                        except LabError as error:
                            failed += 1
                            print(f"run: {name}: {peer}: {error}", file=sys.stderr)
    finally:
        write(options, samples)
    return 1 if failed else 0


def prepare(options):
    lists = [ROOT / "deploy/packages", ROOT / "bench/load/packages"] if options.install else []
    for packages in lists:
        if subprocess.run([ROOT / "deploy/install-packages", packages], check=False, timeout=900).returncode:
            raise LabError("installing packages failed")
    if options.build is None:
        options.build = ROOT / "build"
        command = [ROOT / "deploy/build", *(word for program in PROGRAMS for word in ("-t", program)), "build"]
        if subprocess.run(command, check=False, timeout=3600, stdout=subprocess.DEVNULL).returncode:
            raise LabError("the build failed: deploy/build build")


def write(options, samples):
    if not samples:
        return
    text = report.table(samples, SCENARIOS)
    rows = report.summarise(samples)
    about = {"date": datetime.datetime.now().isoformat(timespec="seconds"), "machine": platform.platform(),
             "cpus": machine.cpus(), "load": os.getloadavg(), "rate": options.rate, "seconds": options.seconds,
             "precedence": precedence(),
             "commit": subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False,
                                      timeout=10).stdout.strip()}
    found = {"about": about, "summary": rows, "behind": list(report.behind(rows)), "samples": samples}
    (options.out / "faults.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    (options.out / "faults.txt").write_text(text + "\n", encoding="utf-8")
    (options.out / "faults.svg").write_text(plot.svg(samples, SCENARIOS), encoding="utf-8")
    print(f"\n{text}\n\nwritten: {options.out}/faults.json, .txt, .svg, configurations/")


def parse():
    rows = "\n".join(f"  {name:9} {scenario.text}" for name, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="bench/faults/run", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="What clients notice of troubled upstream servers: Millrace and other resolvers in one run, in turns.",
        epilog=f"""rows:
{rows}
Each resolver has the last CPU, clients and upstream servers the first. A whole run takes a quarter of an hour.""")
    parser.add_argument("--rows", type=words, default=list(SCENARIOS), metavar="ROW[,...]", help="these alone")
    parser.add_argument("--peers", type=words, default=ALL, metavar="NAME[,...]", help=f"these alone, of {','.join(ALL)}")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each resolver in each row (%(default)s)")
    parser.add_argument("--seconds", type=float, default=6, help="that are counted, from when the fault begins (%(default)s)")
    parser.add_argument("--warm-up", type=float, default=3, metavar="SECONDS", help="before these (%(default)s)")
    parser.add_argument("--rate", type=int, default=500, help="questions a second (%(default)s)")
    parser.add_argument("--out", type=pathlib.Path, help="folder for faults.json, .txt and .svg and the configurations "
                                                         "(build/bench/faults-DATE)")
    parser.add_argument("--build", type=pathlib.Path, help="folder with the programs, taken as it is (build, brought up to date)")
    parser.add_argument("--no-install", dest="install", action="store_false", help="leave the packages as they are")
    options = parser.parse_args()
    if unknown := (set(options.rows) - set(SCENARIOS)) | (set(options.peers) - set(ALL)):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    options.out = (options.out or ROOT / f"build/bench/faults-{datetime.datetime.now():%Y%m%d-%H%M%S}").resolve()
    return options


if __name__ == "__main__":
    sys.exit(main())
