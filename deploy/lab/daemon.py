"""millraced with a configuration of its own, and millracectl to speak to it."""

import json
import socket
import time

from .children import LabError, run

AF_XDP = 44


def check_af_xdp():
    """A sentence for a machine on which the quickstart cannot work, before anything is set up on it."""
    try:
        socket.socket(AF_XDP, socket.SOCK_RAW).close()
    except PermissionError:
        raise LabError("opening an AF_XDP socket is not permitted: run as root; in a container, with "
                       "--privileged") from None
    except OSError as error:
        raise LabError(f"this kernel has no AF_XDP sockets ({error.strerror}): boot one with CONFIG_XDP_SOCKETS=y, as "
                       "Debian's own kernel has; without it Millrace runs on kernel sockets only (listen: in its "
                       "configuration)") from None


def xdp_config(names, upstreams, lcore, **more):
    """The configuration for a DPDK port on the lab's veth. No hugepages: they are the machine owner's to give."""
    return {
        "eal": ["--no-huge", "-m", "512"],
        "ports": [{"device": f"net_af_xdp0,iface={names.edge}", "lcores": [lcore],
                   "addresses": [names.edge4, names.edge6]}],
        "listen": [],
        "allow": ["127.0.0.0/8", "198.18.0.0/15", "::1/128", "2001:db8::/32"],
        "upstreams": [{"group": "default", "servers": upstreams}],
        **more,
    }


class Daemon:
    def __init__(self, lab, build, config, prefix=(), name="millraced"):
        """build: the folder with the programs; prefix: a command that runs the daemon, for instance as somebody else."""
        self._lab = lab
        self._build = build
        self.folder = lab.folder / name
        self.folder.mkdir(exist_ok=True)
        self.config = self.folder / "millrace.yaml"
        self.socket = self.folder / "control.sock"
        self.log = self.folder / "log"
        write_config(self.config, {**config, "control": {**config.get("control", {}), "socket": str(self.socket)}})
        self._command = [*prefix, build / "millraced", "--config", self.config]
        self.process = None

    def launch(self):
        """The process, of which nobody knows yet whether it will be up."""
        self.process = self._lab.children.start(self._command, self.log)
        return self.process

    def start(self, seconds=30):
        """Returns when millraced says through its control socket that it is up."""
        self.launch()
        deadline = time.monotonic() + seconds
        while self.ctl_process("status").returncode != 0:
            if self.process.poll() is not None:
                raise LabError(f"millraced ended with {self.process.returncode} while starting:\n{self.last_lines()}")
            if time.monotonic() > deadline:
                raise LabError(f"millraced was not ready within {seconds} s:\n{self.last_lines()}")
            time.sleep(0.05)
        return self

    def ctl_process(self, *arguments):
        return run([self._build / "millracectl", "--socket", self.socket, "--json", *arguments], timeout=60)

    def ctl(self, *arguments):
        """The JSON object that millracectl prints."""
        done = self.ctl_process(*arguments)
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise LabError(f"millracectl {' '.join(arguments)} ended with {done.returncode}: {done.stdout}") from None

    def wait(self, seconds=10):
        """The exit code, after the daemon was told to end."""
        return self.process.wait(seconds)

    def last_lines(self, count=15):
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"  {line}" for line in lines[-count:]) or "  (it wrote nothing)"


def write_config(file, config):
    """One key a line; a JSON value is a YAML value. Several daemons run at once: none has the default's port for metrics."""
    whole = {"metrics": {"listen": ""}, **config}
    file.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in whole.items()), encoding="utf-8")
