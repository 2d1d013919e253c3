"""(a) Packets without a kernel: net_ring on one core (worker_bench), and memif between two."""

import json

from lab import LabError
from lab.children import run as run_command

from .measure import DEVICE_WINDOW, short, wait_for_line
from .target import Echo, Millrace


def ring(run):
    """worker_bench measures cycles in one process; its rows are taken as they are."""
    done = run_command(["taskset", "-c", run.server_cpu, run.build / "bench/worker_bench", "--benchmark_format=json",
                        f"--benchmark_min_time={run.options.seconds / 2}",
                        f"--benchmark_repetitions={run.options.rounds}"], timeout=600)
    start = done.stdout.find("{\n")
    if done.returncode or start < 0:
        raise LabError(f"worker_bench ended with {done.returncode}:\n{done.stdout[-800:]}")
    for row in json.loads(done.stdout[start:done.stdout.rindex("}") + 1])["benchmarks"]:
        if row.get("run_type") == "aggregate":
            continue
        counters = {key: value for key, value in row.items() if isinstance(value, float)}
        run.samples.append({"scenario": "ring", "load": row["name"], "server": "worker_bench", "client": "worker_bench",
                            "round": row.get("repetition_index", 0), "counters": counters, "checked": "see worker_bench"})
        figures = ", ".join(f"{key} {counters[key]:,.1f}" for key in counters if key.startswith(("cycles", "hit")))
        run.say(f"ring     {row['name']}: {figures}")


def memif(run):
    """Answers from the cache, and what has to be asked of nsd."""
    if run.wants("hits", "nxdomain"):
        run.start_upstream()
        echo = start_echo(run)
        hits = start_millrace(run, "millrace", run.upstream)
        for names in run.options.names if run.wants("hits") else []:
            run.fill(hits, names, DEVICE_WINDOW, "memif")
            for pattern in run.options.patterns:
                turns(run, f"hits {short(names)} {pattern}", [echo, hits], ["--pattern", pattern, "--names", names])
        if run.wants("nxdomain"):
            with hits.turn():
                run.fill_absent(hits, DEVICE_WINDOW)
            turns(run, "nxdomain 10k", [hits], ["--pattern", "absent", "--names", 10_000])
        for target in (echo, hits):
            target.end()
    if run.wants("misses", "mix"):
        run.start_nsd()
        misses = start_millrace(run, "millrace-misses", run.nsd)
        run.fill(misses, 10_000, DEVICE_WINDOW, "memif")
        for load, arguments in run.beyond_the_cache(10_000):
            turns(run, load, [misses], arguments)
        misses.end()


def turns(run, load, targets, arguments):
    for number in range(run.options.rounds):
        for target in targets:
            run.full_and_half("memif", load, target, number, arguments, DEVICE_WINDOW)


def device(role, socket):
    return f"net_memif0,role={role},id=0,socket={socket},socket-abstract=no"


def start_echo(run):
    folder = run.folder("dns_echo")
    socket = folder / "memif.sock"
    child = run.start("dns_echo", [run.build / "bench/dns_echo", f"--vdev={device('server', socket)}"])
    wait_for_line(folder / "log", "ready", child)
    return Echo(child, [f"--vdev={device('client', socket)}"], folder / "log")


def start_millrace(run, name, upstream):
    """Its worker on the server CPU; control goes to the other one by itself."""
    socket = run.lab.folder / f"{name}.sock"
    config = {"eal": ["--single-file-segments"], "listen": [],
              "ports": [{"device": device("server", socket), "lcores": [run.server_cpu], "addresses": ["198.18.0.53"]}]}
    both = f"{run.client_cpu},{run.server_cpu}"
    daemon = run.millrace(name, config, upstream, max(1_000_000, *run.options.names), both)
    return Millrace(daemon, [f"--vdev={device('client', socket)}"])
