"""How each resolver is started: one worker, as its manual advises for several recursive servers that may fail.

Each function writes its configuration into `folder` and returns the command. `here`: (address, port); `upstreams`: a list of
such; `preferred`: the number of one of them, or None. What they are asked to do alike: keep popular names fresh before they
expire, and serve stale data when nobody answers. None but Millrace can be told which server validates, none but it and dnsdist
which one to prefer.
"""

from load.peers import write

NAMES = 200_000  # room in each cache


def unbound(folder, here, upstreams, _):
    """unbound.conf(5): prefetch, and serve-expired-client-timeout as it recommends (RFC 8767)."""
    servers = "\n".join(f"  forward-addr: {address}@{port}" for address, port in upstreams)
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
  do-not-query-localhost: no
  module-config: "iterator"
  msg-cache-size: 200m
  rrset-cache-size: 200m
  outgoing-range: 4096
  num-queries-per-thread: 2048
  so-rcvbuf: 4m
  prefetch: yes
  serve-expired: yes
  serve-expired-ttl: 86400
  serve-expired-client-timeout: 1800
remote-control:
  control-enable: no
forward-zone:
  name: "."
{servers}
""")]


def dnsdist(folder, here, upstreams, preferred):
    """Health checks every second and leastOutstanding are its defaults; firstAvailable goes by `order`. Stale entries serve while
    all servers are down."""
    servers = "\n".join(f"newServer({{address='{address}:{port}', order={1 + (preferred not in (None, i))}}})"
                        for i, (address, port) in enumerate(upstreams))
    policy = "leastOutstanding" if preferred is None else "firstAvailable"
    return ["dnsdist", "--supervised", "--disable-syslog", "-C", write(folder / "dnsdist.conf", f"""\
setLocal('{here[0]}:{here[1]}')
setACL({{'127.0.0.0/8'}})
setSecurityPollSuffix('')
setMaxUDPOutstanding(65535)
{servers}
setServerPolicy({policy})
setStaleCacheEntriesTTL(86400)
getPool(''):setCache(newPacketCache({NAMES}, {{maxTTL=86400, keepStaleData=true}}))
""")]


def smartdns(folder, here, upstreams, _):
    """It asks all servers at once; the first reply goes to the client."""
    servers = "\n".join(f"server {address}:{port}" for address, port in upstreams)
    return ["smartdns", "-f", "-p", "-", "-c", write(folder / "smartdns.conf", f"""\
bind {here[0]}:{here[1]}
{servers}
cache-size {NAMES}
cache-persist no
speed-check-mode none
response-mode fastest-response
dualstack-ip-selection no
prefetch-domain yes
serve-expired yes
log-level error
log-file {folder}/smartdns.log
audit-enable no
user root
""")]


PEERS = {"dnsdist": dnsdist, "unbound": unbound, "smartdns": smartdns}
