"""`meson install`: what it puts where, and that systemd and man understand it."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT

LIST = """
usr/bin/millracectl
usr/bin/millraced
usr/lib/systemd/system/millrace-anycast.service
usr/lib/systemd/system/millraced.service
usr/lib/systemd/system/millraced@.service
usr/lib/sysusers.d/millrace.conf
usr/lib/tmpfiles.d/millrace.conf
usr/lib/udev/rules.d/70-millrace.rules
usr/libexec/millrace/announce
usr/libexec/millrace/nic
usr/share/bash-completion/completions/millracectl
usr/share/doc/millrace/README.md
usr/share/doc/millrace/control-socket.md
usr/share/doc/millrace/examples/bird.conf
usr/share/doc/millrace/examples/frr.conf
usr/share/doc/millrace/examples/millrace-recursor.conf
usr/share/doc/millrace/examples/millrace-recursor.service
usr/share/doc/millrace/examples/millrace.yaml
usr/share/doc/millrace/metrics/alerts.yaml
usr/share/doc/millrace/metrics/dashboard.json
usr/share/doc/millrace/runbook.md
usr/share/man/man5/millrace.yaml.5
usr/share/man/man8/millracectl.8
usr/share/man/man8/millraced.8
usr/share/zsh/site-functions/_millracectl
""".split()


def call(*command, **options):
    return subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, **options)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """As a package has it: the build of the tests, configured for /usr."""
    folder = tmp_path_factory.mktemp("install")
    build, root = folder / "build", folder / "root"
    made = call("meson", "setup", build, ROOT, "--prefix=/usr", "--sysconfdir=/etc", "--libexecdir=libexec")
    assert made.returncode == 0, made.stdout
    for program in ("millraced", "millracectl"):  # as long as it takes to compile them, they are the tests' own
        shutil.copy(BUILD / program, build / program)
    for shell, file in (("bash", "millracectl"), ("zsh", "_millracectl")):
        (build / "deploy" / file).write_text(call(BUILD / "millracectl", "--completion", shell).stdout)
    tags = call("meson", "install", "-C", build, "--no-rebuild", env={**os.environ, "DESTDIR": str(root)})
    assert tags.returncode == 0, tags.stdout
    return root


@pytest.mark.quick
def test_puts_everything_in_place(tree):
    found = [str(file.relative_to(tree)) for file in tree.rglob("*") if file.is_file()]
    assert sorted(found) == sorted(LIST)
    for program in ("usr/bin/millraced", "usr/bin/millracectl", "usr/libexec/millrace/announce", "usr/libexec/millrace/nic"):
        assert os.access(tree / program, os.X_OK), program


def test_nothing_is_left_to_fill_in(tree):
    for unit in (tree / "usr/lib/systemd/system").iterdir():
        assert not re.search(r"@\w+@", unit.read_text()), unit


def unit_of(tree):
    return tree / "usr/lib/systemd/system/millraced.service"


needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")


@needs_systemd
def test_systemd_has_nothing_to_complain_about(tree, tmp_path):
    """In a tree of its own, where what the units name is as well as nowhere, but for the programs."""
    root = tmp_path / "root"
    shutil.copytree(tree, root, symlinks=True)
    for unit in pathlib.Path("/lib/systemd/system").iterdir():
        if unit.suffix == ".target" or unit.name in ("systemd-sysusers.service", "systemd-tmpfiles-setup.service"):
            shutil.copy(unit.resolve() if unit.exists() else unit, root / "usr/lib/systemd/system" / unit.name)
    for program in ("bin/kill", "usr/bin/systemd-sysusers", "usr/bin/systemd-tmpfiles", "bin/systemd-sysusers",
                    "bin/systemd-tmpfiles"):
        (root / program).parent.mkdir(parents=True, exist_ok=True)
        (root / program).touch()
        (root / program).chmod(0o755)
    verified = call("systemd-analyze", "verify", "--man=no", f"--root={root}", "millraced.service", "millraced@1.service", "millrace-anycast.service")
    assert (verified.returncode, verified.stdout) == (0, "")


@needs_systemd
@pytest.mark.quick
def test_sandbox(tree):
    judged = call("systemd-analyze", "security", "--offline=true", "--threshold=50", unit_of(tree))
    assert judged.returncode == 0, judged.stdout


@needs_systemd
def test_users_and_folders(tree, tmp_path):
    (tmp_path / "etc").mkdir()
    made = call("systemd-sysusers", f"--root={tmp_path}", tree / "usr/lib/sysusers.d/millrace.conf")
    assert made.returncode == 0, made.stdout
    passwd = (tmp_path / "etc/passwd").read_text().splitlines()
    assert [line.split(":")[0] for line in passwd] == ["millrace"]
    assert "millrace" in (tmp_path / "etc/group").read_text()
    made = call("systemd-tmpfiles", "--create", f"--root={tmp_path}", tree / "usr/lib/tmpfiles.d/millrace.conf")
    assert made.returncode == 0, made.stdout
    user = int(passwd[0].split(":")[2])
    for name, mode in (("run/millrace", 0o755), ("var/lib/millrace", 0o750)):
        status = (tmp_path / name).stat()
        assert (status.st_uid, status.st_mode & 0o7777) == (user, mode)


def test_the_unit_names_what_running_keeps(tree):
    """What starting takes, among which is all that may be kept (control/daemon/privileges.hpp), but for what a machine
    without an IOMMU needs."""
    lines = dict(line.split("=", 1) for line in unit_of(tree).read_text().splitlines() if line.startswith(("Ambient", "CapabilityB")))
    assert lines["AmbientCapabilities"] == lines["CapabilityBoundingSet"]
    assert {"CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK"} <= set(lines["AmbientCapabilities"].split())
