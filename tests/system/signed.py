"""Signed zones, their servers, and validating resolvers in front of them: ldns, nsd and unbound."""

import shutil
from types import SimpleNamespace

from lab.children import run
from real import Servers

PORT = 5303
ZONES = {"nsec.example": [], "nsec3.example": ["-n", "-s", "c0ffee"]}  # and how each is signed
BOGUS = "192.0.2.66"

# www and what is in the pool differ between the two editions; in the plain zone too, and that is not signed.
ZONE = """\
$ORIGIN {zone}.
$TTL 300
@        SOA   ns hostmaster 1 3600 600 86400 60
@        NS    ns
ns       A     192.0.2.1
www      A     192.0.2.1{edition}
alias    CNAME www
bogus    A     192.0.2.13
*.wild   A     192.0.2.99
*.pool   A     192.0.2.1{edition}
{more}"""
CHILD = "child NS ns.child\nns.child A 192.0.2.1\n"


def start(lab):
    """Two editions of the zones, each on an nsd of its own with an unbound of its own. A context manager's value."""
    servers = Servers(lab, "signed")
    (servers.folder / "keys").mkdir()
    anchors = {zone: _keys(servers.folder / "keys", zone) for zone in ZONES}
    addresses = SimpleNamespace(nsd=[], unbound=[])
    with_anchors = servers.folder / "anchors"
    with_anchors.write_text("".join(_public(servers.folder, key) for key, _ in anchors.values()), encoding="ascii")
    for edition in (1, 2):
        zones = _zones(servers.folder, anchors, edition)
        nsd, unbound = f"127.0.{lab.names.number}.5{edition}", f"127.0.{lab.names.number}.6{edition}"
        servers.nsd(nsd, PORT, zones)
        below = "".join(f"stub-zone:\n  name: {zone}\n  stub-addr: {nsd}@{PORT}\n" for zone in zones)
        servers.unbound(unbound, PORT, f"""\
  module-config: "validator iterator"
  trust-anchor-file: "{with_anchors}"
  local-zone: "up.test" static
  ede: yes
  val-log-level: 2""", below)
        addresses.nsd.append(f"{nsd}:{PORT}")
        addresses.unbound.append(f"{unbound}:{PORT}")
    _write_delv_anchors(servers.folder, anchors)
    return servers, addresses


def _keys(folder, zone):
    """The base names of a key signing and a zone signing key."""
    def make(*options):
        made = run(["ldns-keygen", "-a", "ECDSAP256SHA256", "-r", "/dev/urandom", *options, zone], cwd=folder)
        return f"keys/{made.stdout.split()[-1]}"

    return make("-k"), make()


def _public(folder, key):
    return (folder / f"{key}.key").read_text(encoding="ascii")


def _zones(folder, anchors, edition):
    """Writes and signs this edition of all zones; returns name and file of each."""
    files = {}
    for zone, options in ZONES.items():
        child_keys = _keys(folder / "keys", f"child.{zone}")
        ds = (folder / f"{child_keys[0]}.ds").read_text(encoding="ascii")
        files[f"child.{zone}"] = _sign(folder, f"child.{zone}", edition, "", child_keys, options)
        files[zone] = _sign(folder, zone, edition, CHILD + ds, anchors[zone], options)
        # Somebody changes a record on the way: its signature does not fit any more.
        text = files[zone].read_text(encoding="ascii")
        files[zone].write_text(text.replace("192.0.2.13", BOGUS), encoding="ascii")
    plain = folder / f"plain.example-{edition}"
    plain.write_text(ZONE.format(zone="plain.example", edition=edition, more=""), encoding="ascii")
    return {**files, "plain.example": plain}


def _sign(folder, zone, edition, more, keys, options):
    file = folder / f"{zone}-{edition}"
    file.write_text(ZONE.format(zone=zone, edition=edition, more=more), encoding="ascii")
    signed = run(["ldns-signzone", *options, "-o", zone, "-f", f"{file}.signed", file, *keys], cwd=folder)
    assert signed.returncode == 0, signed.stdout
    return file.with_name(file.name + ".signed")


def _write_delv_anchors(folder, anchors):
    for zone, (key, _) in anchors.items():
        flags, protocol, algorithm, public = _public(folder, key).partition("DNSKEY")[2].partition(";")[0].split(None, 3)
        (folder / f"delv-{zone}").write_text(
            f'trust-anchors {{ {zone}. static-key {flags} {protocol} {algorithm} "{public.strip()}"; }};\n',
            encoding="ascii")


def delv(folder, client, zone, name, qtype):
    """What delv says, which asks as a validating client does: DO=1, CD=1, the chain of keys too."""
    assert shutil.which("delv")
    return run(["delv", f"@{client.address}", "-p", client.port, "-a", folder / f"delv-{zone}", f"+root={zone}",
                name, qtype]).stdout
