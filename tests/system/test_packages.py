"""deploy/install-packages: what it says about services while it installs, and what a run that was killed leaves.

In a mount namespace whose /usr/sbin is empty and whose apt-get and dpkg-query are the test's: nothing is installed.
"""

import os
import shutil
import subprocess

import pytest

from conftest import ROOT

pytestmark = pytest.mark.timeout(60)

OWN = '#!/bin/sh\necho "$@" >>{folder}/own\ncase $1 in cups) exit 101;; esac\n'
LIST = "newone # service newone newtwo\nold # service oldone\n"
DPKG = '#!/bin/sh\necho "installed old"\ncat {folder}/now-installed\n'
APT = """#!/bin/sh
case "$*" in *install*) ;; *) exit 0;; esac
for question in "newone start" "newone.service restart" "--quiet newtwo start" "newone-more start" "oldone restart" \\
                "ssh restart" "cups start"; do
    /usr/sbin/policy-rc.d $question
    echo "$question: $?" >>{folder}/said
done
[ ! -e {folder}/kill ] || kill -9 $PPID
echo "installed newone" >>{folder}/now-installed
"""


@pytest.fixture
def run(tmp_path):
    """Runs it; beforehand /usr/sbin/policy-rc.d is `policy`, afterwards returns what it is then."""
    sbin = tmp_path / "sbin"
    sbin.mkdir()
    (tmp_path / "list").write_text(LIST, encoding="ascii")
    (tmp_path / "now-installed").touch()
    for name, text in (("apt-get", APT), ("dpkg-query", DPKG), ("systemctl", "#!/bin/sh\necho $* >>{folder}/disabled\n")):
        (tmp_path / name).write_text(text.format(folder=tmp_path), encoding="ascii")
        (tmp_path / name).chmod(0o755)
    mounts = "".join(f"mount --bind {tmp_path}/{name} {shutil.which(name)} && " for name in
                     ("apt-get", "dpkg-query", "systemctl") if shutil.which(name))
    script = f"mount --bind {sbin} /usr/sbin && {mounts} {ROOT}/deploy/install-packages {tmp_path}/list"

    def go(policy=None, of=None):
        """of: another list."""
        if of:
            shutil.copy(of, tmp_path / "list")
        if policy:
            (sbin / "policy-rc.d").write_text(policy.format(folder=tmp_path), encoding="ascii")
            (sbin / "policy-rc.d").chmod(0o755)
        return subprocess.run(["unshare", "--mount", "sh", "-c", script], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False, env={**os.environ, "TMPDIR": str(tmp_path)})

    go.folder, go.sbin = tmp_path, sbin
    return go


def said(run):
    return dict(line.split(": ") for line in (run.folder / "said").read_text().splitlines())


NEW = {"newone start": "101", "newone.service restart": "101", "--quiet newtwo start": "101"}
OTHERS = {"newone-more start": "0", "oldone restart": "0", "ssh restart": "0", "cups start": "0"}


def test_new_services_alone_are_not_started(run):
    done = run()
    assert done.returncode == 0, done.stderr
    assert said(run) == NEW | OTHERS
    assert os.listdir(run.sbin) == [], "the policy goes with the run"
    if (run.folder / "disabled").exists():
        assert (run.folder / "disabled").read_text() == "disable newone newtwo\n"


def test_the_machines_own_policy_decides_about_others(run):
    done = run(OWN)
    assert done.returncode == 0, done.stderr
    assert said(run) == NEW | OTHERS | {"cups start": "101"}
    assert (run.folder / "own").read_text().splitlines() == ["newone-more start", "oldone restart", "ssh restart", "cups start"]
    assert os.listdir(run.sbin) == ["policy-rc.d"]
    assert (run.sbin / "policy-rc.d").read_text() == OWN.format(folder=run.folder)


def test_nothing_of_our_own_list_starts(run):
    """What Debian's packages of that list ask for when they are installed; rdma-core comes with DPDK."""
    asked = ["iwpmd start", "iwpmd.service restart", "rdma-ndd start", "rdma-ndd.service start", "rdma-hw.target start",
             "nsd start", "nsd.service start", "prometheus start", "unbound start", "unbound.service start"]
    everything = {line.split("#")[0].strip() for line in (ROOT / "deploy/packages").read_text().splitlines()}
    (run.folder / "apt-get").write_text(f"""#!/bin/sh
case "$*" in *install*) ;; *) exit 0;; esac
while read -r question; do
    /usr/sbin/policy-rc.d $question
    echo "$question: $?" >>{run.folder}/said
done <<END
{chr(10).join(asked)}
END
printf 'installed %s\\n' {' '.join(sorted(everything))} >{run.folder}/now-installed
""", encoding="ascii")
    done = run(of=ROOT / "deploy/packages")
    assert done.returncode == 0, done.stderr
    assert said(run) == dict.fromkeys(asked, "101")


@pytest.mark.parametrize("own", [None, OWN], ids=["none", "own"])
@pytest.mark.parametrize("complete", [False, True], ids=["incomplete", "complete"])
def test_what_a_killed_run_left_is_cleaned_up(run, own, complete):
    """Also when there is nothing to install any more."""
    (run.folder / "kill").touch()
    assert run(own).returncode != 0
    assert (run.sbin / "policy-rc.d").exists()
    (run.folder / "kill").unlink()
    if complete:
        (run.folder / "now-installed").write_text("installed newone\n")
    done = run()
    assert done.returncode == 0, done.stderr
    assert os.listdir(run.sbin) == (["policy-rc.d"] if own else [])
    if own:
        assert (run.sbin / "policy-rc.d").read_text() == OWN.format(folder=run.folder)


def test_what_older_versions_left_is_cleaned_up(run):
    mark = "# from Millrace's install-packages, for as long as it runs"
    (run.folder / "now-installed").write_text("installed newone\n")
    (run.sbin / "policy-rc.d.millrace").write_text("theirs")
    assert run(f"#!/bin/sh\n{mark}\nexit 101\n").returncode == 0
    assert (run.sbin / "policy-rc.d").read_text() == "theirs"
    (run.sbin / "policy-rc.d").rename(run.sbin / "policy-rc.d.millrace")
    assert run().returncode == 0
    assert (run.sbin / "policy-rc.d").read_text() == "theirs" and len(os.listdir(run.sbin)) == 1
