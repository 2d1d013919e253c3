"""A QEMU guest without KVM: one emulated NIC behind an emulated IOMMU, a control shell, the monitor."""

import re
import socket
import time

from lab import LabError

MAC = "52:54:00:00:00:02"
SLOT = "0000:00:03.0"  # of the NIC
BOOT_PATIENCE = 240  # seconds; 11 to 14 on an idle machine


class Guest:
    """nic: QEMU's device with its options. tap: an interface in the namespace `space`, which QEMU runs in."""

    def __init__(self, lab, space, images, nic, tap, queues=1, cpus=2):
        self._folder = lab.folder
        self._count = 0
        model, _, options = nic.partition(",")
        if model.startswith("virtio"):
            # Without these it goes around the IOMMU, and DPDK's start hangs for good.
            options += ",disable-legacy=on,iommu_platform=on"
            if queues > 1:
                options += f",mq=on,rss=on,vectors={2 * queues + 2}"
        device = ",".join(part for part in (model, f"netdev=n0,mac={MAC},romfile=,addr=03.0,id=nic0", options.strip(",")) if part)
        netdev = f"tap,id=n0,ifname={tap},script=no,downscript=no,vhost=off" + (f",queues={queues}" if queues > 1 else "")
        self._console = self._folder / "console"
        for name in ("console", "control", "monitor"):
            (self._folder / name).unlink(missing_ok=True)
        self.process = space.start(
            "qemu", "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", cpus,
            "-m", "2G", "-display", "none", "-nodefaults", "-no-reboot", "-serial", f"file:{self._console}",
            "-serial", f"unix:{self._folder}/control,server=on,wait=off",
            "-monitor", f"unix:{self._folder}/monitor,server=on,wait=off",
            "-kernel", images / "vmlinuz", "-initrd", images / "initrd.img",
            "-append", "console=ttyS0 quiet panic=-1 hugepages=200 intel_iommu=on",
            "-device", "intel-iommu,intremap=on,caching-mode=on,device-iotlb=on", "-netdev", netdev, "-device", device)
        begun = time.monotonic()
        self._control, self._monitor = self._connect("control"), self._connect("monitor")
        self._await_boot(begun + BOOT_PATIENCE)
        self.boot_seconds = time.monotonic() - begun

    def _connect(self, name):
        end = time.monotonic() + 30
        while True:
            s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                s.connect(str(self._folder / name))
                return s
            except OSError as error:
                s.close()
                if time.monotonic() > end or self.process.poll() is not None:
                    raise LabError(f"QEMU does not start: {error}") from None
                time.sleep(0.05)

    def _await_boot(self, end):
        while "guest up" not in self._console.read_text(errors="replace"):
            if time.monotonic() > end or self.process.poll() is not None:
                raise LabError("the guest does not boot: " + self._console.read_text(errors="replace")[-1000:])
            time.sleep(0.2)
        time.sleep(0.5)
        self.sh("true")

    def sh(self, command, timeout=60):
        """(output, exit code) of a bash command line in the guest."""
        self._count += 1
        mark = f"END{self._count:06}"
        self._control.settimeout(timeout)
        # The mark is written in two parts: an echo of the line itself is not taken for it.
        self._control.sendall(f"{{ {command}\n}} 2>&1 </dev/null; echo {mark[:3]}''{mark[3:]} $?\n".encode())
        out = b""
        while not (found := re.search(rf"{mark} (\d+)\r?\n".encode(), out)):
            try:
                more = self._control.recv(65536)
            except TimeoutError:
                raise LabError(f"the guest does not end `{command}`: {out.decode(errors='replace')[-500:]}") from None
            if not more:
                raise LabError(f"the guest has ended: {self._console.read_text(errors='replace')[-1000:]}")
            out += more
        return out[:found.start()].decode(errors="replace").replace("\r", "").strip(), int(found[1])

    def do(self, command, timeout=60):
        """Its output; LabError when it fails."""
        output, code = self.sh(command, timeout)
        if code:
            raise LabError(f"in the guest, {command}: {output}")
        return output

    def put(self, path, text):
        self.do(f"cat >{path} <<'EOT'\n{text.rstrip()}\nEOT")

    def monitor(self, line):
        self._monitor.settimeout(10)
        self._monitor.sendall(f"{line}\n".encode())
        out = b""
        while not (out.rstrip().endswith(b"(qemu)") and line.encode() in out):
            out += self._monitor.recv(65536)

    def close(self):
        self._control.close()
        self._monitor.close()
        self.process.terminate()
        self.process.wait(20)
