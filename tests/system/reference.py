"""One nsd with plain and signed zones, and unbound, which forwards to it without validating: what Millrace is beside."""

import time

from lab import LabError
from lab.children import run
from lab.servers import ask, zone

PORT, UNBOUND_PORT = 5301, 5303
EXTRA = """\
svc        HTTPS 1 . alpn=h2,h3 ipv4hint=192.0.2.80
svc        SVCB  1 shared port=853
svc        CAA   0 issue "ca.example"
_dns._udp  SRV   1 2 53 shared
odd        TYPE65280 \\# 3 c00c01
odd        TYPE65281 \\# 0
deep.er.est A    192.0.2.90
*.alias    CNAME shared
old        DNAME new
short      DNAME not-so-short-a-name-as-the-one-that-leads-to-it
a.new      A     192.0.2.91
loop-1     CNAME loop-2
loop-2     CNAME loop-1
ptr        PTR   shared
naptr      NAPTR 1 2 "u" "E2U+sip" "!^.*$!sip:a@lab.example!" .
sshfp      SSHFP 1 1 dd465c09cfa51fb45020cc83316fff21b9ec74ac
loc        LOC   52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
""" + "".join(f"hosts-{count} A 198.51.{i // 256}.{i % 256}\n" for count in (300, 1000) for i in range(count)) + "".join(
    f'texts-260 TXT "{i} {"x" * 200}"\n' for i in range(260))
SIGNED = """\
$TTL 300
@        SOA   ns1 hostmaster 1 3600 600 86400 60
@        NS    ns1
ns1      A     192.0.2.1
www      A     192.0.2.10
www      A     192.0.2.11
www      AAAA  2001:db8::10
@        MX    10 www
text     TXT   "one" "two"
chain    CNAME www
*.wild   A     192.0.2.99
""" + "".join(f'big TXT "{i:02} {"x" * 97}"\n' for i in range(10))


class Reference:
    """nsd at `nsd`, unbound at `unbound`, both (address, port)."""

    def __init__(self, lab):
        number = lab.names.number
        self.nsd, self.unbound = (f"127.0.{number}.31", PORT), (f"127.0.{number}.32", UNBOUND_PORT)
        self.folder = lab.folder / "reference"
        self.folder.mkdir()
        (self.folder / "lab.example").write_text(zone(1) + EXTRA)
        sign(self.folder, "signed.example")
        sign(self.folder, "hashed.example", "-n")
        start_nsd(lab.children, self.folder, *self.nsd, ["lab.example", "signed.example", "hashed.example"])
        start_unbound(lab.children, self.folder, self.unbound, self.nsd)
        for address in (self.nsd, self.unbound):
            wait(*address)


def sign(folder, name, *options):
    """Signs SIGNED as `name`, with NSEC, or with NSEC3 when the option is -n."""
    (folder / "plain").write_text(f"$ORIGIN {name}.\n{SIGNED}")
    made = run(["ldns-keygen", "-a", "ECDSAP256SHA256", "-k", name], cwd=folder)
    key = made.stdout.split()[-1]
    done = run(["ldns-signzone", *options, "-f", name, "-o", name, "plain", key], cwd=folder)
    if done.returncode:
        raise LabError(f"ldns-signzone: {made.stdout}{done.stdout}")


def start_nsd(children, folder, address, port, zones):
    text = f"""\
server:
  ip-address: {address}@{port}
  server-count: 1
  username: ""
  zonesdir: "{folder}"
  database: ""
  pidfile: ""
  xfrdfile: "{folder}/xfrd.state"
  xfrdir: "{folder}"
  zonelistfile: "{folder}/zone.list"
  rrl-ratelimit: 0
remote-control:
  control-enable: no
"""
    text += "".join(f"zone:\n  name: {name}\n  zonefile: {name}\n" for name in zones)
    (folder / "nsd.conf").write_text(text)
    children.start(["nsd", "-d", "-c", folder / "nsd.conf"], folder / "nsd.log")


def start_unbound(children, folder, own, upstream):
    (folder / "unbound.conf").write_text(f"""\
server:
  interface: {own[0]}@{own[1]}
  access-control: 127.0.0.0/8 allow
  module-config: "iterator"
  do-not-query-localhost: no
  do-daemonize: no
  username: ""
  chroot: ""
  pidfile: ""
  directory: "{folder}"
  use-syslog: no
  edns-buffer-size: 1232
  max-udp-size: 1232
  minimal-responses: yes
  rrset-roundrobin: no
  num-threads: 1
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: {upstream[0]}@{upstream[1]}
""")
    children.start(["unbound", "-d", "-c", folder / "unbound.conf"], folder / "unbound.log")


def wait(address, port, seconds=10):
    deadline = time.monotonic() + seconds
    while ask(address, port, "lab.example", qtype=6) != 0:
        if time.monotonic() > deadline:
            raise LabError(f"no answer from {address}:{port}")
        time.sleep(0.05)
