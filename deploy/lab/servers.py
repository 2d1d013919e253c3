"""The upstream servers: three nsd, each with its own edition of the zone lab.example."""

import secrets
import socket
import struct
import time

from .children import LabError

DOMAIN = "lab.example"
WWW = {1: ["192.0.2.11", "192.0.2.12"], 2: ["192.0.2.21", "198.51.100.21"], 3: ["203.0.113.31"]}  # by server
HOSTS = 10000  # host-0 to host-9999

# Names with the same records everywhere.
COMMON = """\
$ORIGIN lab.example.
$TTL 300
@        SOA   ns1 hostmaster 1 3600 600 86400 60
@        NS    ns1
ns1      A     192.0.2.1
shared   A     192.0.2.80
shared   AAAA  2001:db8:80::80
@        MX    10 mail
mail     A     192.0.2.25
mail     MX    10 mail
mail     MX    20 shared
text     TXT   "one" "two"
chain    CNAME chain-1
chain-1  CNAME chain-2
dangling CNAME nowhere
*.wild   A     192.0.2.99
ttl0   0 A     192.0.2.100
ttl2   2 A     192.0.2.102
split-1  A     192.0.2.51
split-2  A     192.0.2.52
split-3  A     192.0.2.53
"""


def zone(server):
    """The zone as this server (1 to 3) knows it."""
    lines = [COMMON]
    lines += [f"www 60 A {address}" for address in WWW[server]]
    lines += [f"www AAAA 2001:db8:{server}::{server}", f"chain-2 A 192.0.2.4{server}"]
    lines += [f"split CNAME split-{server}"]  # the chains differ: these must never be merged
    lines += [f"mixed {(100, 50, 20)[server - 1]} A 192.0.2.6{server}"]  # the TTLs differ
    lines += [f"rebind A {('192.0.2.71', '10.0.0.71', '127.0.0.1')[server - 1]}"]  # two of them private
    lines += [f'big TXT "{i:02} {"x" * 97}"' for i in range(40)]  # 4 kB: TCP alone carries it
    lines += [f'huge TXT "{i:03} {"x" * 250}"' for i in range(230)]  # 61 kB: nearly all that a message may hold
    lines += [f"host-{i} A 198.19.{i >> 8}.{i & 255}" for i in range(HOSTS)]
    return "\n".join(lines) + "\n"


def start(children, folder, server, address, port):
    """One of the three."""
    start_nsd(children, folder, address, port, DOMAIN, zone(server))


def start_nsd(children, folder, address, port, domain, text, prefix=()):
    """An nsd of one process for a zone given as text; returns the child. prefix: a command that runs it elsewhere."""
    folder.mkdir()
    (folder / "zone").write_text(text, encoding="ascii")
    (folder / "nsd.conf").write_text(f"""\
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
  rrl-ratelimit: 0        # one resolver asks a lot
remote-control:
  control-enable: no
zone:
  name: {domain}
  zonefile: zone
""", encoding="ascii")
    return children.start([*prefix, "nsd", "-d", "-c", folder / "nsd.conf"], folder / "log")


def wait(address, port, seconds=10, name=DOMAIN, qtype=6):
    """Until the server answers."""
    deadline = time.monotonic() + seconds
    while ask(address, port, name, qtype) != 0:
        if time.monotonic() > deadline:
            raise LabError(f"the server on {address}:{port} does not answer for {name}")
        time.sleep(0.05)


def ask(address, port, name, qtype=1, timeout=0.3):
    """The rcode that a server gives, None without an answer. Only enough DNS to see that somebody is there."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = secrets.token_bytes(2) + struct.pack(">HHHHH", 0x0100, 1, 0, 0, 0) + labels + struct.pack(">BHH", 0, qtype, 1)
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        try:
            s.connect(socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM)[0][4])  # with the zone of "fe80::1%eth0"
            s.send(query)
            reply = s.recv(4096)
        except OSError:
            return None
    return reply[3] & 15 if len(reply) >= 12 and reply[:2] == query[:2] else None
