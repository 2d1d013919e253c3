"""One resolver under one scenario: started anew, warmed up, then the fault begins."""

import functools
import json
import pathlib
import signal
import time

from lab import Daemon, LabError, servers
from lab.children import run
from load import machine
from load.clients import PATIENCE, ZONE, await_line

from .peers import PEERS
from .scenarios import BOGUS_EVERY, DELAYS, SCENARIOS

POPULAR = 50  # names; each is asked for several times within the last tenth of its TTL
TTL = 5  # seconds
NEW_SHARE = 0.5  # of the questions, for names that nobody has asked for
CLIENT_PATIENCE = 5  # seconds until a question counts as unanswered
FLOOD = 10  # times the client's rate
KINDS = {"n": "popular", "m": "new"}


@functools.cache
def precedence():
    """A command's beginning: nobody who is measured waits for a compiler's turn to end. Empty where that is not permitted."""
    command = ("chrt", "--rr", "1")
    return command if run([*command, "true"]).returncode == 0 else ()


class Measurement:
    def __init__(self, options, lab, name, peer, number):
        self._options, self._lab, self._peer = options, lab, peer
        self._scenario = SCENARIOS[name]
        self._client_cpu, self._server_cpu = machine.cpus()
        net = lab.names.number
        self._here = (f"127.0.{net}.53", 5390)
        self._upstreams = [(f"127.0.{net}.{101 + i}", 5398) for i in range(len(self._scenario.faults))]
        self._folder = options.out / "configurations" / name / peer
        self._folder.mkdir(parents=True, exist_ok=True)
        self._unit = f"{name}-{peer}-{number}"
        self._processes = []

    def run(self):
        """What the clients saw, as dns_load tells it, and how many questions the upstream servers got for each of theirs."""
        try:
            upstreams = [self._start_upstream(i) for i in range(len(self._upstreams))]
            self._start_resolver()
            found = self._ask([child for child, _ in upstreams])
            for child, _ in upstreams:
                self._end(child)
            asked = sum(found[key] for key in ("answered", "wrong", "lost"))
            heard = sum(int(log.read_text(encoding="ascii").split()[-1]) for _, log in upstreams)
            return {"by_kind": {KINDS[kind]: found["by_kind"][kind] for kind in KINDS if kind in found["by_kind"]},
                    "upstream_questions": heard / asked}
        finally:
            for child in reversed(self._processes):
                self._end(child)

    def _start(self, what, command, cpu):
        log = self._lab.folder / f"{self._unit}-{what}"
        child = self._lab.children.start([*precedence(), "taskset", "-c", cpu, *command], log)
        self._processes.append(child)
        return child, log

    def _start_upstream(self, i):
        address, port = self._upstreams[i]
        started = self._start(f"upstream-{i}", [self._options.build / "bench/faulty", f"{address}:{port}", "--ttl", TTL,
                                                "--delay", DELAYS[i], *self._scenario.faults[i]], self._client_cpu)
        servers.wait(address, port, name=f"n0.{ZONE}", qtype=1)
        return started

    def _start_resolver(self):
        scenario = self._scenario
        if self._peer == "millrace":
            names = [{"address": f"{address}:{port}", "trusted": i == scenario.trusted,
                      "priority": int(scenario.is_preferred and i != scenario.trusted)}
                     for i, (address, port) in enumerate(self._upstreams)]
            config = {"listen": ["{}:{}".format(*self._here)], "allow": ["127.0.0.0/8"],
                      "upstreams": [{"group": "default", "servers": names}]}
            daemon = Daemon(self._lab, self._options.build, config, [*precedence(), "taskset", "-c", self._server_cpu],
                            name=self._unit)
            (self._folder / "millrace.yaml").write_bytes(daemon.config.read_bytes())
            self._processes.append(daemon.launch())
        else:
            preferred = scenario.trusted if scenario.is_preferred else None
            command = PEERS[self._peer](self._folder, self._here, self._upstreams, preferred)
            self._start("resolver", command, self._server_cpu)
        servers.wait(*self._here, name=f"n0.{ZONE}", qtype=1, seconds=30)

    def _ask(self, upstreams):
        options = self._options
        client, log = self._start("client", [
            options.build / "bench/dns_load", "--connect", "{}:{}".format(*self._here), "--polite", "--rate", options.rate,
            "--names", POPULAR, "--unique-share", NEW_SHARE, "--window", 4096, "--patience", CLIENT_PATIENCE,
            "--bogus-every", BOGUS_EVERY if self._scenario.trusted is not None else 0,
            "--warm-up", options.warm_up, "--seconds", options.seconds], self._client_cpu)
        deadline = time.monotonic() + options.warm_up + options.seconds + PATIENCE
        await_line("begin", log, 0, client, deadline)
        for child in upstreams:
            child.send_signal(signal.SIGUSR1)
        if self._scenario.flood:
            here = pathlib.Path(__file__).parent
            flood, flood_log = self._start("flood", ["/usr/bin/python3", here / "flood.py", *self._here, options.rate * FLOOD],
                                           self._client_cpu)
            await_line("begin", flood_log, 0, flood, deadline)
        await_line("end", log, 0, client, deadline)
        if self._scenario.flood and flood.poll() is not None:
            raise LabError("the flood came to an end before its time")
        return json.loads(await_line("{.*}", log, 0, client, deadline))

    @staticmethod
    def _end(child):
        if child.poll() is None:
            child.terminate()
            child.wait(20)
