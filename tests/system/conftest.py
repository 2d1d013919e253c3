"""Fixtures: a lab of our own, and millraced in it, on an AF_XDP port or on kernel sockets without privileges."""

import os
import pathlib
import shutil
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy"))

from lab import Daemon, Lab, LabError, Names  # noqa: E402
from lab.daemon import xdp_config  # noqa: E402
from support import Client, Subscriber, stop  # noqa: E402
from upstream import Upstream  # noqa: E402

BUILD = pathlib.Path(os.environ.get("MILLRACE_BUILD", ROOT / "build"))
LCORE = sorted(os.sched_getaffinity(0))[:2][-1]
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all",
          "--no-new-privs", "--pdeathsig=KILL"]


@pytest.fixture(scope="session")
def lab():
    """The first lab that no other run of these tests holds, with servers and network."""
    for number in range(1, 10):
        candidate = Lab(Names(f"test{number}", number, f"mr-edge{number}", f"mr-sub{number}"))
        try:
            candidate.__enter__()
        except LabError:
            continue
        try:
            candidate.start_servers()
            candidate.make_network()
            yield candidate
        finally:
            candidate.__exit__()
        return
    pytest.fail("nine other runs of the system tests hold the nine labs")


@pytest.fixture(scope="session")
def build(lab):
    """The programs, copied to where an unprivileged user may run them too."""
    folder = lab.folder / "programs"
    folder.mkdir()
    for program in ("millraced", "millracectl"):
        shutil.copy(BUILD / program, folder)
    return folder


@pytest.fixture(scope="session")
def nsd(lab):
    return [f"{address}:{lab.names.port}" for address in lab.names.upstreams]


@pytest.fixture
def upstreams(lab):
    """Three scripted servers."""
    servers = [Upstream(f"127.0.{lab.names.number}.{20 + i}", 5302) for i in (1, 2, 3)]
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def daemon(lab, build):
    """Starts daemons for one test, and ends them after it."""
    started = []

    def start(config, prefix=(), ready=True):
        name = f"millraced-{len(started)}"
        shutil.rmtree(lab.folder / name, ignore_errors=True)  # of an earlier test, which may have run it as somebody else
        one = Daemon(lab, build, config, prefix, name)
        started.append(one)
        if prefix:
            os.chown(one.folder, 65534, 65534)
        return one.start() if ready else one

    yield start
    for one in started:
        end(one)


@pytest.fixture(scope="module")
def port(lab, build, nsd):
    """millraced on the AF_XDP port, its upstreams the three nsd. One for all tests of a file."""
    one = Daemon(lab, build, xdp_config(lab.names, nsd, LCORE)).start()
    yield one
    end(one)


@pytest.fixture(scope="module")
def sockets(lab, build, nsd):
    """millraced on kernel sockets, run by nobody. One for all tests of a file."""
    one = Daemon(lab, build, socket_config(lab, nsd), NOBODY, name="sockets")
    os.chown(one.folder, 65534, 65534)
    yield one.start()
    end(one)


@pytest.fixture
def subscriber(lab):
    """A client in the subscribers' namespace, asking over the port."""
    return Subscriber(lab)


@pytest.fixture
def local(lab):
    """A client on loopback, asking over kernel sockets."""
    return Client(loopback(lab), 5300)


@pytest.fixture(params=["port", "sockets"])
def client(request, lab):
    """Either of them, with its daemon: what a worker does must not depend on where its packets come from."""
    request.getfixturevalue(request.param)
    return Subscriber(lab) if request.param == "port" else Client(loopback(lab), 5300)


def loopback(lab):
    return f"127.0.{lab.names.number}.53"


def socket_config(lab, upstreams, **more):
    return {"listen": [f"{loopback(lab)}:5300"], "upstreams": [{"group": "default", "servers": upstreams}],
            "allow": ["127.0.0.0/8"], **more}


def end(one):
    """A daemon that a test has not ended itself must end well."""
    if one.process is None or one.process.poll() is not None:
        return
    stop(one)
