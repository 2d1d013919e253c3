"""Real servers for single tests: unbound, and nsd."""

import contextlib

from lab.servers import ask
from support import until


class Servers:
    """Starts servers in a folder of the lab; ends them at the end of the block."""

    def __init__(self, lab, name):
        self.folder = lab.folder / name
        self.folder.mkdir()
        self._children = lab.children
        self._running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end_all()

    def end_all(self):
        for child in self._running:
            child.terminate()
        for child in self._running:
            with contextlib.suppress(Exception):
                child.wait(5)
        self._running.clear()

    def unbound(self, address, port, server, zones=""):
        """server: more lines of its server clause; zones: clauses behind it."""
        file = self.folder / f"unbound-{address}"
        file.write_text(f"""\
server:
  interface: {address}@{port}
  outgoing-interface: {address}
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  do-daemonize: no
  num-threads: 1
  chroot: ""
  username: ""
  pidfile: ""
  directory: "{self.folder}"
  use-syslog: no
  minimal-responses: no
  qname-minimisation: no
{server}
remote-control:
  control-enable: no
{zones}
""", encoding="ascii")
        self._start(["unbound", "-d", "-c", file], address, port)

    def nsd(self, address, port, zones):
        """zones: name and file. Returns the process, which leads a group of its own."""
        file = self.folder / f"nsd-{address}"
        home = self.folder / f"nsd-{address}.d"
        home.mkdir(exist_ok=True)
        clauses = "".join(f'zone:\n  name: {name}\n  zonefile: "{path}"\n' for name, path in zones.items())
        file.write_text(f"""\
server:
  ip-address: {address}@{port}
  server-count: 1
  username: ""
  database: ""
  pidfile: ""
  zonesdir: "{home}"
  xfrdfile: "{home}/xfrd.state"
  xfrdir: "{home}"
  zonelistfile: "{home}/zone.list"
  rrl-ratelimit: 0
remote-control:
  control-enable: no
{clauses}""", encoding="ascii")
        return self._start(["nsd", "-d", "-c", file], address, port)

    def _start(self, command, address, port):
        log = self.folder / f"{command[0]}-{address}.log"
        child = self._children.start(command, log)
        self._running.append(child)
        up = until(lambda: ask(address, port, "up.test", 6) is not None or child.poll() is not None, 10)
        assert up and child.poll() is None, log.read_text(errors="replace")[-2000:]
        return child
