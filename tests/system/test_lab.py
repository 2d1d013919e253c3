"""The lab itself: what it takes for its own and removes, and what not; a lock that nobody can take beforehand."""

import os
import socket
import subprocess
import sys

import pytest

from conftest import ROOT
from lab import Lab, LabError, Names
from lab.children import run
from lab.lock import Lock

pytestmark = pytest.mark.timeout(60)
NAMES = Names("others", 99, "mr-edge99", "mr-sub99")
SPACE = f"/run/netns/{NAMES.namespace}"


@pytest.fixture(autouse=True)
def nothing_left():
    assert not os.path.exists(SPACE)
    yield
    if os.path.exists(SPACE):
        run(["ip", "netns", "del", NAMES.namespace])


@pytest.mark.parametrize("lo", [[], ["alias", "theirs"]], ids=["fresh", "in use"])
def test_a_namespace_of_somebody_elses_stays(lo):
    run(["ip", "netns", "add", NAMES.namespace])
    if lo:
        run(["ip", "-n", NAMES.namespace, "link", "set", "lo", *lo])
    with pytest.raises(LabError, match=f"{NAMES.namespace} already, and it is not the lab's.*ip netns del"):
        with Lab(NAMES) as lab:
            lab.make_network()
    assert os.path.exists(SPACE)
    assert not os.path.exists(f"/sys/class/net/{NAMES.edge}")


def test_the_namespace_of_a_run_that_was_killed_goes():
    script = ("from lab import Lab, Names; import os\n"
              f"with Lab({NAMES!r}) as lab:\n lab.make_network(); os.kill(os.getpid(), 9)")
    subprocess.run([sys.executable, "-c", script], cwd=ROOT / "deploy", check=False)
    assert os.path.exists(SPACE)
    with Lab(NAMES):
        assert not os.path.exists(SPACE)


def test_also_when_it_was_killed_before_the_mark():
    with Lab(NAMES) as lab:
        (lab.folder / "namespace-begun").touch()
        run(["ip", "netns", "add", NAMES.namespace])
    assert not os.path.exists(SPACE)


def test_a_lab_is_held_once():
    with Lab(NAMES):
        with pytest.raises(LabError, match="another run holds"):
            Lab(NAMES).__enter__()


def test_whoever_binds_an_abstract_name_stops_nobody():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as squatter:
        squatter.bind(f"\0millrace-lab-{NAMES.name}")
        with Lab(NAMES):
            pass


def test_a_lock_is_taken_once_and_leaves_nothing(tmp_path):
    folder = tmp_path / "locks"
    first, second, other = Lock(folder, "a"), Lock(folder, "a"), Lock(folder, "b")
    assert first.take() and not second.take() and other.take()
    other.release()
    first.release()
    assert not folder.exists()
    assert second.take()
    second.release()


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_a_folder_that_others_write_to_is_refused(tmp_path, mode):
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks").chmod(mode)
    with pytest.raises(LabError, match="others than root"):
        Lock(tmp_path / "locks", "a").take()


def test_a_lock_follows_no_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(LabError, match="cannot open the folder"):
        Lock(tmp_path / "link", "a").take()
    (tmp_path / "real/a").symlink_to(tmp_path / "target")
    with pytest.raises(LabError, match="cannot open"):
        Lock(tmp_path / "real", "a").take()
    assert not (tmp_path / "target").exists()
