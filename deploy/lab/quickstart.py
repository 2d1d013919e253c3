"""deploy/quickstart: installs, builds, starts Millrace on one end of a veth pair and asks it from the other end."""

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

from . import recursor, tour
from .children import LabError
from .daemon import Daemon, check_af_xdp, xdp_config
from .lab import Lab, Names

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    options = parse()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs us with & has it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    try:
        return quickstart(options)
    except LabError as error:
        print(f"\nquickstart: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def quickstart(options):
    if os.geteuid() != 0:
        raise LabError("it makes network interfaces and namespaces: run it as root (sudo ./deploy/quickstart)")
    step("packages", "what is missing of deploy/packages")
    shell([ROOT / "deploy/install-packages"], "installing packages failed")
    step("build", "build/millraced and build/millracectl (the first time takes a few minutes)")
    shell([ROOT / "deploy/build", "-t", "millraced", "-t", "millracectl"], "the build failed")
    check_af_xdp()
    with Lab(Names("quickstart", 0)) as lab:
        try:
            return show(lab, options)
        finally:
            # From here on the lab is being removed: a second Ctrl-C must not leave half of it.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            print("\nremoving the lab: processes, interfaces, namespace, files")


def show(lab, options):
    lab.make_network()
    step("network", f"{lab.names.edge} with {lab.names.edge4} and {lab.names.edge6}; subscribers in the namespace "
                    f"{lab.names.namespace}")
    upstreams = upstreams_of(lab, options)
    lcore = sorted(os.sched_getaffinity(0))[:2][-1]  # the second core, so that control has the first; or the only one
    daemon = Daemon(lab, ROOT / "build", xdp_config(lab.names, upstreams, lcore))
    daemon.start()
    step("millraced", f"AF_XDP on {lab.names.edge}, lcore {lcore} polls; configuration {daemon.config}")
    if options.recursive:
        wrong = tour.recursive(lab)
    else:
        wrong = tour.tour(lab, daemon, options.name or ("example.com" if options.upstream else None))
    if wrong:
        print("\nthis went wrong:", *wrong, "the last lines of millraced's log:", daemon.last_lines(), sep="\n  ")
    if options.once:
        return 1 if wrong else 0
    stay(lab, daemon, options.name or ("example.com" if options.upstream else "www.lab.example"))
    return 1 if wrong else 0


def upstreams_of(lab, options):
    """Those given, or the lab's own."""
    if options.upstream:
        return options.upstream
    if options.recursive:
        step("recursor", "a signed root, example and lab.example on an nsd each, at the subscribers' end; in front of them")
        upstream = recursor.start(lab)
        step("", f"unbound on {upstream['address']}, with deploy/millrace-recursor.conf but for address, root and key")
        return [upstream]
    step("servers", f"nsd on {', '.join(lab.names.upstreams)}, each with its own idea of www.lab.example")
    return lab.start_servers()


def stay(lab, daemon, name):
    ask = f"ip netns exec {lab.names.namespace} dig @{lab.names.edge4}"
    ctl = f"build/millracectl --socket {daemon.socket}"
    try:
        print(f"""
It stays up until Ctrl-C. From another terminal, as root, in {ROOT}:
  {ask} {name}
  {ask} +tcp {name} AAAA
  {ctl} cache lookup {name} A
  {ctl} cache flush {name}
  {ctl} stats
  tail -f {daemon.log}""", flush=True)
        code = daemon.process.wait()
    except KeyboardInterrupt:
        return
    raise LabError(f"millraced ended with {code}:\n{daemon.last_lines()}")


def shell(command, complaint):
    """On a terminal the output is shown as it comes, otherwise only if something goes wrong."""
    if sys.stdout.isatty():
        if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode:
            raise LabError(f"{complaint}, see above")
        return
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False).returncode:
            log.seek(0)
            raise LabError(f"{complaint}:\n" + "".join(log.readlines()[-30:]))


def step(what, text):
    print(f"{what:10} {text}", flush=True)


def parse():
    parser = argparse.ArgumentParser(
        prog="quickstart", description="Installs what Millrace needs, builds it, starts it through DPDK's AF_XDP driver on "
        "one end of a veth pair, and asks it from a network namespace at the other end. Needs root. Removes all it made "
        "(but not the packages and the build folder) when it ends.")
    parser.add_argument("--once", action="store_true", help="end after the summary; exit code 1 if anything was wrong")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--recursive", action="store_true",
                       help="ask a recursor alone: Unbound as deploy/millrace-recursor.conf has it, which resolves from a "
                       "signed root of the lab's own (no Internet needed) and validates")
    where.add_argument("--upstream", action="append", metavar="ADDR[:PORT]",
                       help="ask this server in place of the lab's own; may be repeated")
    parser.add_argument("--name", help="what to ask (default: www.lab.example; example.com with --upstream)")
    options = parser.parse_args()
    if options.name and not options.upstream:
        parser.error("--name goes with --upstream: the lab's servers know lab.example alone")
    return options


if __name__ == "__main__":
    sys.exit(main())
