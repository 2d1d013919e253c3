"""A lab: a name, a lock, a folder under /run, and everything that is to disappear with it.

Basic algorithm: the name is a lock, held for as long as the lab lives. The kernel drops it when the holder dies, however
it dies; so whoever gets the lock may remove what it finds under that name, and removes nothing else.
"""

import dataclasses
import json
import pathlib
import shutil
from dataclasses import dataclass

from . import network, servers
from .children import Children, LabError
from .lock import Lock

STATE = pathlib.Path("/run/millrace-lab")


@dataclass(frozen=True)
class Names:
    """What a lab occupies on the machine. Two labs with different names and numbers do not meet."""

    name: str
    number: int  # picks the networks: 198.18.NUMBER.0/24, 2001:db8:NUMBER::/64, 127.0.NUMBER.11 to .14
    edge: str = "edge0"  # millraced's end of the veth pair, in the root namespace
    sub: str = "sub0"  # the subscribers' end
    port: int = 5301  # of the upstream servers

    @property
    def namespace(self):
        return f"millrace-{self.name}"

    @property
    def edge4(self):
        return f"198.18.{self.number}.53"

    @property
    def edge6(self):
        return f"2001:db8:{self.number:x}::53" if self.number else "2001:db8::53"

    @property
    def sub4(self):
        return f"198.18.{self.number}.2"

    @property
    def sub6(self):
        return f"2001:db8:{self.number:x}::2" if self.number else "2001:db8::2"

    @property
    def upstreams(self):
        return [f"127.0.{self.number}.{10 + i}" for i in (1, 2, 3)]


class Lab:
    """Use as a context manager: entering takes the name and removes what a crashed run left, leaving removes everything."""

    def __init__(self, names):
        self.names = names
        self.folder = STATE / names.name
        self.children = Children(self.folder / "children")
        self._lock = Lock(STATE, f"{names.name}.lock")

    def __enter__(self):
        if not self._lock.take():
            raise LabError(f'another run holds the lab "{self.names.name}"; stop that one first')
        self._clear()
        self.folder.mkdir(mode=0o755, parents=True)
        (self.folder / "names").write_text(json.dumps(dataclasses.asdict(self.names)), encoding="ascii")
        return self

    def __exit__(self, *_):
        self._clear()
        self._lock.release()

    def start_servers(self):
        """Three nsd servers; returns their "address:port"."""
        for i, address in enumerate(self.names.upstreams, 1):
            servers.start(self.children, self.folder / f"nsd-{i}", i, address, self.names.port)
        for address in self.names.upstreams:
            servers.wait(address, self.names.port)
        return [f"{address}:{self.names.port}" for address in self.names.upstreams]

    def make_network(self):
        network.make(self.names, self._begun)

    def inside(self, *command):
        """The command, to be run in the subscribers' namespace."""
        return ["ip", "netns", "exec", self.names.namespace, *map(str, command)]

    def _clear(self):
        self.children.end()
        network.remove(self.names, self._begun)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _begun(self):
        """A file that is there while a namespace of ours may be without its mark."""
        return self.folder / "namespace-begun"


def clean():
    """Removes what crashed runs of any name left."""
    for file in STATE.glob("*/names"):
        try:
            with Lab(Names(**json.loads(file.read_text(encoding="ascii")))):
                pass
        except (LabError, ValueError):
            pass  # in use; or killed in the moment of writing the file, before it had made anything
