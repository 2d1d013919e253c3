"""deploy/nic on made-up trees of the kernel's files, and what millraced says of NICs and plugins that it cannot have."""

import os
import pathlib
import signal
import subprocess

import pytest

from conftest import LCORE, ROOT
from lab.daemon import xdp_config
from support import until

pytestmark = pytest.mark.timeout(90)

NIC, OTHER = "0000:03:00.0", "0000:03:00.1"
ROUTES = """Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
{default} 00000000 0100000A 0003 0 0 0 00000000 0 0 0
enp4s0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0
"""
BIND = """modprobe vfio-pci
ip link set enp3s0 down
"""


class Tree:
    """A machine with a NIC, bound to e1000e in IOMMU group 7, whose default route is another interface's."""

    def __init__(self, folder):
        self.root, self.bin = folder / "root", folder / "bin"
        self.bin.mkdir()
        self.write("proc/net/route", ROUTES.format(default="eth9"))
        self.write("sys/devices/system/cpu/online", "0-3\n")
        self.add(NIC, "e1000e", "enp3s0", "7")
        self.pages("0", 10, 4)

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(self, name):
        return (self.root / name).read_text()

    def link(self, name, target):
        path = self.root / name
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    def add(self, address, driver, interface=None, group=None):
        device = f"sys/bus/pci/devices/{address}"
        for file, text in (("class", "0x020000"), ("vendor", "0x8086"), ("device", "0x10d3"), ("numa_node", "0")):
            self.write(f"{device}/{file}", text + "\n")
        if driver:
            self.bind(address, driver)
        if interface:
            (self.root / device / "net" / interface).mkdir(parents=True)
            (self.root / "sys/class/net" / interface).mkdir(parents=True)
        if group:
            self.link(f"{device}/iommu_group", f"../../../kernel/iommu_groups/{group}")
            (self.root / "sys/kernel/iommu_groups" / group / "devices" / address).mkdir(parents=True)

    def bind(self, address, driver):
        (self.root / "sys/bus/pci/drivers" / driver).mkdir(parents=True, exist_ok=True)
        self.link(f"sys/bus/pci/devices/{address}/driver", f"../../drivers/{driver}")

    def pages(self, node, total, free):
        folder = f"sys/devices/system/node/node{node}/hugepages/hugepages-2048kB"
        self.write(f"{folder}/nr_hugepages", f"{total}\n")
        self.write(f"{folder}/free_hugepages", f"{free}\n")

    def command(self, name, text="exit 0"):
        """A program of the test's own: says in `done` what it was asked, then does as `text` says."""
        (self.bin / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{self.bin}/done\n{text}\n')
        (self.bin / name).chmod(0o755)

    def done(self):
        return (self.bin / "done").read_text() if (self.bin / "done").exists() else ""

    def __call__(self, verb, *words, says=None, **environment):
        """Its standard output, when it succeeds; else, or with `says`, standard error, which must say that."""
        path = f"{self.bin}:/usr/bin:/bin"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SSH_")}
        done = subprocess.run([ROOT / "deploy/nic", verb, "--root", self.root, *words], capture_output=True, text=True,
                              check=False, env={**clean, "PATH": path, **environment})
        assert "Traceback" not in done.stderr, done.stderr
        if says:
            assert says in done.stderr, done.stderr + done.stdout
        return done.stdout if done.returncode == 0 else done.stderr or done.stdout


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_list_says_who_drives_what(tree):
    tree.write("proc/net/route", ROUTES.format(default="enp3s0"))
    tree.write("sys/bus/pci/devices/0000:00:1f.2/class", "0x010601\n")
    lines = tree("list").splitlines()
    assert len(lines) == 2 and lines[1].split() == [NIC, "8086:10d3", "e1000e", "enp3s0", "0", "IOMMU", "group", "7", "the",
                                                    "default", "route"]


def test_bind_by_files_in_a_dry_run(tree):
    device = f"/sys/bus/pci/devices/{NIC}"
    wanted = BIND + (f"echo vfio-pci > {device}/driver_override\necho {NIC} > {device}/driver/unbind\n"
                     f"echo {NIC} > /sys/bus/pci/drivers_probe\n")
    assert tree("bind", "--dry-run", NIC, says="until the next boot: driverctl") == wanted
    assert tree("bind", "--dry-run", "03:00.0") == tree("bind", "--dry-run", "enp3s0") == wanted
    assert tree.done() == "" and tree.read(f"sys/bus/pci/devices/{NIC}/vendor") == "0x8086\n"


def test_bind_and_unbind_by_driverctl(tree):
    device = tree.root / "sys/bus/pci/devices" / NIC / "driver"
    for name in ("modprobe", "ip"):
        tree.command(name)
    tree.command("driverctl", f"ln -sfn ../../drivers/${{3:-e1000e}} {device}")
    tree("bind", NIC, says="is bound to vfio-pci, IOMMU group 7")
    assert tree.done() == BIND + f"driverctl set-override {NIC} vfio-pci\n"
    tree("bind", NIC, says="is bound to vfio-pci already")
    assert tree.done().count("\n") == 3, "done once"
    assert tree("unbind", "--dry-run", NIC) == f"driverctl unset-override {NIC}\n"
    tree("unbind", NIC)
    tree("unbind", NIC, says="is the kernel's already (e1000e)")
    assert tree.done().endswith(f"driverctl unset-override {NIC}\n") and tree.done().count("\n") == 4


def test_unbind_when_no_driver_follows(tree):
    tree.bind(NIC, "vfio-pci")
    tree.command("driverctl", "echo cannot bind >&2; exit 1")
    tree("unbind", NIC, says=f"`driverctl unset-override {NIC}` failed: cannot bind")
    tree.command("driverctl", f"rm {tree.root}/sys/bus/pci/devices/{NIC}/driver; exit 1")
    assert tree("unbind", NIC, says=f"{NIC} is free, but no driver of the kernel's has taken it") == ""


def test_bind_that_does_not_last_is_an_error(tree):
    for name in ("modprobe", "ip"):
        tree.command(name)
    tree("bind", NIC, says=f"{NIC} is not bound to vfio-pci after all; `dmesg` says why")
    assert tree.read(f"sys/bus/pci/devices/{NIC}/driver_override") == "vfio-pci\n"
    tree.command("modprobe", "echo no such module >&2; exit 1")
    tree("bind", NIC, says="`modprobe vfio-pci` failed: no such module")


@pytest.mark.parametrize("family", [4, 6])
def test_the_default_route_is_not_taken(tree, family):
    if family == 4:
        tree.write("proc/net/route", ROUTES.format(default="enp3s0"))
    else:
        zero, hop = "0" * 32, "fe80" + "0" * 27 + "1"
        tree.write("proc/net/ipv6_route", f"{zero} 00 {zero} 00 {hop} 00000400 1 0 00000003 enp3s0\n")
    assert tree("bind", "--dry-run", NIC, says="carries the default route, and is left to the kernel").startswith("nic: ")


def test_a_route_of_what_lies_above_counts(tree):
    """A VLAN on a bond on the NIC."""
    tree.write("proc/net/route", ROUTES.format(default="vlan5"))
    (tree.root / "sys/class/net/bond0").mkdir()
    tree.link("sys/class/net/enp3s0/master", "../bond0")
    tree.link("sys/class/net/bond0/upper_vlan5", "../vlan5")
    tree("bind", "--dry-run", NIC, says="carries the default route")


def test_this_ssh_session_is_not_taken(tree):
    tree.add("0000:04:00.0", "e1000e", "enp4s0", "8")
    session = {"SSH_CONNECTION": "192.0.2.77 50000 192.0.2.1 22"}
    tree("bind", "--dry-run", NIC, "enp4s0", says="(enp4s0) carries this SSH session", **session)
    assert tree("bind", "--dry-run", NIC, **session).startswith(BIND)
    # sudo takes the variable away; the shell before it still has it.
    pid = str(os.getpid())
    tree.write(f"proc/{pid}/environ", "A=b\0SSH_CONNECTION=192.0.2.77 50000 192.0.2.1 22\0")
    tree("bind", "--dry-run", "enp4s0", says="carries this SSH session")


def test_without_an_iommu_it_is_named(tree):
    (tree.root / f"sys/bus/pci/devices/{NIC}/iommu_group").unlink()
    tree("bind", "--dry-run", NIC, says="has no IOMMU group; switch the IOMMU on")
    plan = tree("bind", "--dry-run", "--without-iommu", NIC, says="WITHOUT an IOMMU: it can write anywhere in memory")
    assert "modprobe uio_pci_generic\n" in plan and "echo uio_pci_generic > " in plan
    mode = "sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
    tree.write(mode, "N\n")
    plan = tree("bind", "--dry-run", "--without-iommu", NIC)
    assert f"echo 1 > /{mode}\n" in plan and "echo vfio-pci > " in plan


@pytest.mark.parametrize("name, said", [("0000:09:00.0", "is neither the PCI address nor the interface of a NIC"),
                                        ("eth7", "is neither"), ("00:1f.2", "00:1f.2 is no network device")])
def test_what_is_no_nic(tree, name, said):
    tree.write("sys/bus/pci/devices/0000:00:1f.2/class", "0x010601\n")
    tree("bind", "--dry-run", name, says=said)


def test_check_names_what_is_missing(tree):
    said = tree("check")
    assert "driven by e1000e: `nic bind 0000:03:00.0`" in said and "hugepages of node 0: 8 MiB free" in said
    tree.bind(NIC, "vfio-pci")
    assert "there is no /dev/vfio/7" in tree("check", NIC)
    tree.write("dev/vfio/7", "")
    assert f"{NIC} (8086:10d3, IOMMU group 7): DPDK can have it" in tree("check", NIC)
    tree.add(OTHER, "e1000e", group="7")
    assert f"shares its IOMMU group with {OTHER} (e1000e)" in tree("check", NIC)
    tree.write("proc/77/comm", "millraced\n")
    (tree.root / "proc/77/fd").mkdir()
    tree.link("proc/77/fd/5", "/dev/vfio/7")
    assert "held by process 77 (millraced)" in tree("check", NIC)
    tree("unbind", "--dry-run", NIC, says="is held by process 77 (millraced); end that first")
    tree.pages("0", 0, 0)
    assert "`nic hugepages MIB`" in tree("check", NIC)


def test_hugepages_are_added_to_those_in_use(tree):
    file = "sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages"
    assert tree("hugepages", "--dry-run", "26") == f"echo 19 > /{file}\n", "six that somebody has, and thirteen"
    assert tree("hugepages", "8", says="8 MiB are free already") == ""
    tree("hugepages", "26")
    assert tree.read(file) == "19\n"
    tree.pages("1", 0, 0)
    tree("hugepages", "--dry-run", "26", says="has the NUMA nodes 0-1: say --node")
    assert "node1" in tree("hugepages", "--dry-run", "26", "--node", "1")
    tree("hugepages", "--dry-run", "26", "--node", "2", says="there is no NUMA node 2")
    tree("hugepages", "0", says="are no memory")


def test_cores_are_isolated_once(tree):
    tree.command("update-grub")
    tree("cores", "2-3", says="2-3 are isolated from the next boot on")
    assert "isolcpus=2-3 nohz_full=2-3 rcu_nocbs=2-3" in tree.read("etc/default/grub.d/millrace.cfg")
    tree("cores", "3,2", says="2-3 are isolated from the next boot on")
    tree.write("sys/devices/system/cpu/isolated", "2-3\n")
    tree("cores", "2-3", says="2-3 are isolated\n")
    assert tree.done() == "update-grub\n"
    for cpus, said in (("4", "there is no CPU 4; those that are: 0-3"), ("0-3", "that is every CPU"), ("0", "CPU 0 stays"),
                       ("2;reboot", "is no list of CPUs")):
        tree("cores", "--dry-run", cpus, says=said)


def test_interrupts_leave_the_lcores(tree):
    tree.write("proc/irq/default_smp_affinity", "f\n")
    for irq, cpus in (("9", "0-3"), ("24", "2"), ("25", "0-1")):
        tree.write(f"proc/irq/{irq}/smp_affinity_list", cpus + "\n")
    wanted = ("echo 00000003 > /proc/irq/default_smp_affinity\necho 0-1 > /proc/irq/24/smp_affinity_list\n"
              "echo 0-1 > /proc/irq/9/smp_affinity_list\n")
    assert tree("irq", "--dry-run", "2-3") == wanted
    tree.write("proc/5/comm", "irqbalance\n")
    tree("irq", "2-3", says="irqbalance runs")
    assert tree("irq", "--dry-run", "2-3") == "", "all is done"


# What millraced says.


@pytest.fixture
def start(lab, daemon, nsd):
    """millraced on one device, not waited for."""

    def go(device, **more):
        config = xdp_config(lab.names, nsd, LCORE)
        config["ports"][0]["device"] = device
        return daemon(config, ready=False, **more)

    return go


def refusal(one):
    assert one.launch().wait(30) == 1, one.last_lines()
    return one.last_lines(1)


def test_a_pci_address_of_nothing(start):
    assert "port 0000:ff:1f.7 is no PCI device of this machine; `deploy/nic list`" in refusal(start("0000:ff:1f.7,foo=1"))


def test_a_nic_of_the_kernel_is_told_how_to_bind(start):
    """Whichever this machine has; nothing is done to it."""
    found = [path.parent for path in pathlib.Path("/sys/bus/pci/devices").glob("*/class")
             if path.read_text().startswith("0x02") and (path.parent / "driver").exists()
             and (path.parent / "driver").resolve().name not in ("vfio-pci", "uio_pci_generic", "mlx5_core", "mlx4_core", "mana")]
    if not found:
        pytest.skip("this machine has no such NIC")
    said = refusal(start(found[0].name))
    assert "is bound to the kernel's driver" in said and f"`deploy/nic bind {found[0].name}`" in said


HIDE = """
plugins=$(echo /usr/lib/*/dpdk/pmds-23.0)
mount --bind $plugins /mnt && mount -t tmpfs -o mode=755 none $plugins || exit
for plugin in {plugins}; do ln -s /mnt/librte_$plugin.so* $plugins/; done
exec "$@"
"""


@pytest.mark.parametrize("plugins, device, said", [
    ("bus_pci bus_vdev net_ring", "net_ring0", "Debian's package librte-mempool-ring23"),
    ("mempool_ring", "net_ring0", "its plugin for vdev devices is missing; install Debian's package librte-bus-vdev23"),
    ("bus_vdev mempool_ring", "net_af_xdp7", "no driver for port net_af_xdp7"),
])
def test_a_missing_plugin_is_named_with_its_package(start, plugins, device, said):
    prefix = ["unshare", "--mount", "sh", "-c", HIDE.replace("{plugins}", plugins), "sh"]
    assert said in refusal(start(f"{device},iface=lo" if "xdp" in device else device, prefix=prefix))


def test_a_start_that_hangs_can_be_ended(lab, start):
    """The pcap driver opens a FIFO that nobody writes to, for as long as nobody does."""
    fifo = lab.folder / "hangs"
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo)
    one = start(f"net_pcap0,rx_pcap={fifo},tx_pcap=/dev/null")
    process = one.launch()
    waits = pathlib.Path(f"/proc/{process.pid}/wchan")
    assert until(lambda: waits.read_text() in ("fifo_open", "wait_for_partner"), 20), waits.read_text()
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 1
    assert "ended while DPDK was starting a device" in one.last_lines(3)
    fifo.unlink()


def test_nothing_is_said_of_hugepages_that_nobody_asked_for(start):
    one = start("net_ring0").start()
    assert "hugepages" not in one.log.read_text()
    one.process.terminate()
    assert one.wait() == 0
