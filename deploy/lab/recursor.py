"""The recursor that deploy/ ships, in a lab without the Internet: a signed root of the lab's own, and what it delegates.

The three name servers are in the subscribers' namespace, where port 53 is free whatever this machine runs: delegations
have no port. They are on the far side of the veth pair, as the Internet is.
"""

import pathlib
import re
import shutil

from . import network, servers
from .children import LabError, run

DEPLOY = pathlib.Path(__file__).resolve().parents[1]
PORT = 5335
WWW, BOGUS = "192.0.2.11", "192.0.2.66"  # www.lab.example; and bogus.lab.example, as somebody forged it
PARENTS = {".": "example", "example": "lab.example"}  # and what each delegates
HOSTS = [f"www A {WWW}", "www AAAA 2001:db8::11", "bogus A 192.0.2.13"]


def start(lab):
    """The root, the zones below, and the recursor; the network is there. Returns Millrace's upstream."""
    folder = lab.folder / "recursor"
    folder.mkdir()
    at = {zone: f"198.18.{lab.names.number}.{200 + i}" for i, zone in enumerate([*PARENTS, servers.DOMAIN])}
    (folder / "root.key").write_text(_start_servers(lab, folder, at), encoding="ascii")
    (folder / "root.hints").write_text(f". 3600 NS ns.\nns. 3600 A {at['.']}\n", encoding="ascii")
    address = f"127.0.{lab.names.number}.14"
    (folder / "unbound.conf").write_text(_configuration({
        "interface": f"{address}@{PORT}", "root-hints": f'"{folder}/root.hints"',
        "trust-anchor-file": f'"{folder}/root.key"'}), encoding="utf-8")
    lab.children.start([*_nobody(), "unbound", "-d", "-p", "-c", folder / "unbound.conf"], folder / "log")
    try:
        servers.wait(address, PORT, name="localhost")  # which it knows by itself
    except LabError as error:
        raise LabError(f"{error}:\n{(folder / 'log').read_text(encoding='utf-8')}") from None
    return {"address": f"{address}:{PORT}", "trusted": True}


def _configuration(changed):
    """What is shipped, but for these keys."""
    text = (DEPLOY / "millrace-recursor.conf").read_text(encoding="utf-8")
    for key, value in changed.items():
        text, count = re.subn(rf"^(  {key}:) .*$", rf"\1 {value}", text, flags=re.MULTILINE)
        if count != 1:
            raise LabError(f"deploy/millrace-recursor.conf has {key} {count} times")
    return text


def _nobody():
    """As the unit runs it; but Debian's AppArmor profile would not let it read files of the lab."""
    unprivileged = ["setpriv", "--reuid=unbound", "--regid=unbound", "--clear-groups", "--bounding-set=-all",
                    "--inh-caps=-all", "--pdeathsig=KILL"]
    enabled = pathlib.Path("/sys/module/apparmor/parameters/enabled")
    if enabled.exists() and enabled.read_text(encoding="ascii").startswith("Y") and shutil.which("aa-exec"):
        return [*unprivileged, "aa-exec", "-p", "unconfined", "--"]
    return unprivileged


def _start_servers(lab, folder, at):
    """An nsd for each zone, the lowest first, whose parent needs its key's digest. Returns the root's key."""
    ds = ""
    for zone in reversed(at):
        lines = [f"$ORIGIN {zone.rstrip('.')}.", "$TTL 300", "@ SOA ns hostmaster 1 3600 600 86400 60", "@ NS ns",
                 f"ns A {at[zone]}"]
        if zone in PARENTS:
            child = PARENTS[zone]
            lines += [f"{child}. NS ns.{child}.", f"ns.{child}. A {at[child]}", ds]
        else:
            lines += HOSTS
        text, key, ds = _sign(folder, zone, "\n".join(lines) + "\n")
        text = text.replace("192.0.2.13", BOGUS)  # changed on the way: its signature does not fit any more
        network.add_address(lab.names, at[zone])
        servers.start_nsd(lab.children, folder / f"nsd-{at[zone]}", at[zone], 53, zone, text, lab.inside())
    for address in at.values():
        servers.wait(address, 53)
    return key


def _sign(folder, zone, text):
    """Returns the zone signed with a new key, that key, and the DS record for the parent."""
    (folder / "zone").write_text(text, encoding="ascii")
    made = run(["ldns-keygen", "-a", "ECDSAP256SHA256", "-k", "-r", "/dev/urandom", zone], cwd=folder)
    key = made.stdout.split()[-1] if made.returncode == 0 else ""
    signed = run(["ldns-signzone", "-o", zone, "-f", "signed", "zone", key], cwd=folder)
    if signed.returncode:
        raise LabError(f"signing {zone} failed:\n{made.stdout}{signed.stdout}")
    return [(folder / name).read_text(encoding="ascii") for name in ("signed", f"{key}.key", f"{key}.ds")]
