"""How each peer is started: one worker, no validation, forwarding everything to one server, a cache sized for the names.

Each function writes its configuration into `folder` and returns the command. `here` and `upstream`: (address, port).
"""

CACHE_OCTETS = 1000  # a name, in caches that are sized in octets: more than any of them needs
SLACK = 1.25  # caches that are split into parts need some


def unbound(folder, here, upstream, names):
    octets = max(64 << 20, names * CACHE_OCTETS)
    return ["unbound", "-d", "-c", write(folder / "unbound.conf", f"""\
server:
  interface: {here[0]}
  port: {here[1]}
  num-threads: 1
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  verbosity: 0
  access-control: 127.0.0.0/8 allow
  access-control: 198.18.0.0/15 allow
  do-not-query-localhost: no
  module-config: "iterator"
  msg-cache-size: {octets}
  rrset-cache-size: {octets}
  outgoing-range: 4096
  num-queries-per-thread: 2048
  so-rcvbuf: 4m
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: {upstream[0]}@{upstream[1]}
""")]


def knot_resolver(folder, here, upstream, names):
    write(folder / "kresd.conf", f"""\
net.listen('{here[0]}', {here[1]}, {{ kind = 'dns' }})
trust_anchors.remove('.')
modules.unload('priming')
modules.unload('ta_update')
modules.unload('ta_signal_query')
cache.open({max(100 << 20, names * CACHE_OCTETS)}, 'lmdb://{folder}')
policy.add(policy.all(policy.FORWARD('{upstream[0]}@{upstream[1]}')))
log_level('err')
""")
    return ["kresd", "-n", "-c", folder / "kresd.conf", folder]


def pdns_recursor(folder, here, upstream, names):
    write(folder / "recursor.conf", f"""\
local-address={here[0]}
local-port={here[1]}
threads=1
pdns-distributes-queries=no
forward-zones-recurse=.={upstream[0]}:{upstream[1]}
dont-query=
dnssec=off
allow-from=127.0.0.0/8,198.18.0.0/15
max-cache-entries={int(names * SLACK) + 1000}
max-packetcache-entries={int(names * SLACK) + 1000}
socket-dir={folder}
security-poll-suffix=
disable-syslog=yes
quiet=yes
daemon=no
""")
    return ["pdns_recursor", f"--config-dir={folder}"]


def dnsdist(folder, here, upstream, names):
    return ["dnsdist", "--supervised", "--disable-syslog", "-C", write(folder / "dnsdist.conf", f"""\
setLocal('{here[0]}:{here[1]}')
setACL({{'127.0.0.0/8', '198.18.0.0/15'}})
setSecurityPollSuffix('')
setMaxUDPOutstanding(65535)
newServer({{address='{upstream[0]}:{upstream[1]}'}}):setUp()
getPool(''):setCache(newPacketCache({int(names * SLACK) + 1000}, {{maxTTL=86400}}))
""")]


def bind9(folder, here, upstream, names):
    return ["named", "-g", "-n", 1, "-U", 1, "-c", write(folder / "named.conf", f"""\
options {{
  directory "{folder}";
  listen-on port {here[1]} {{ {here[0]}; }};
  listen-on-v6 {{ none; }};
  forwarders {{ {upstream[0]} port {upstream[1]}; }};
  forward only;
  recursion yes;
  allow-query {{ 127.0.0.0/8; 198.18.0.0/15; }};
  dnssec-validation no;
  qname-minimization off;
  empty-zones-enable no;
  minimal-responses yes;
  recursive-clients 5000;
  max-cache-size {max(256 << 20, names * CACHE_OCTETS)};
  pid-file none;
  session-keyfile none;
}};
controls {{ }};
logging {{ category default {{ null; }}; category lame-servers {{ null; }}; }};
""")]


def smartdns(folder, here, upstream, names):
    return ["smartdns", "-f", "-p", "-", "-c", write(folder / "smartdns.conf", f"""\
bind {here[0]}:{here[1]}
server {upstream[0]}:{upstream[1]}
cache-size {int(names * SLACK) + 1000}
cache-persist no
speed-check-mode none
dualstack-ip-selection no
prefetch-domain no
serve-expired no
log-level error
log-file {folder}/smartdns.log
audit-enable no
user root
""")]


def dnsmasq(folder, here, upstream, names):
    return ["dnsmasq", "-k", "-C", write(folder / "dnsmasq.conf", f"""\
listen-address={here[0]}
bind-interfaces
port={here[1]}
no-resolv
no-hosts
server={upstream[0]}#{upstream[1]}
cache-size={int(names * SLACK) + 1000}
dns-forward-max=4096
user=root
pid-file=
log-facility={folder}/dnsmasq.log
""")]


def write(file, text):
    file.write_text(text, encoding="ascii")
    return file


PEERS = {"unbound": unbound, "knot-resolver": knot_resolver, "pdns-recursor": pdns_recursor, "dnsdist": dnsdist,
         "bind9": bind9, "smartdns": smartdns, "dnsmasq": dnsmasq}


def knot(folder, interface, zone, text):
    """Knot DNS, authoritative, on an AF_XDP socket of the interface."""
    write(folder / "zone", text)
    return ["knotd", "-c", write(folder / "knot.conf", f"""\
server:
    rundir: "{folder}"
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
xdp:
    listen: {interface}@53
database:
    storage: "{folder}"
log:
  - target: stderr
    any: warning
template:
  - id: default
    storage: "{folder}"
zone:
  - domain: {zone}
    file: "{folder}/zone"
""")]
