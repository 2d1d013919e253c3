"""DNS64 (RFC 6147): clients of two rules and one of none, beside unbound's dns64 module over the same nsd."""

import dns.flags
import dns.rcode
import dns.reversename
import pytest

from conftest import loopback, socket_config
from lab.daemon import write_config
from lab.servers import ask
from real import Servers
from reference import sign
from support import Client, addresses, until

ZONE = """\
$ORIGIN six.example.
$TTL 300
@       SOA   ns1 hostmaster 1 3600 600 86400 60
@       NS    ns1
ns1     A     8.8.4.4
four    A     8.8.8.8
four    A     9.9.9.9
both    A     8.8.8.8
both    AAAA  2001:db8::1
six     AAAA  2001:db8::2
mapped  AAAA  ::ffff:8.8.8.8
mapped  A     8.8.8.8
text    TXT   "no address"
chain   CNAME link
link    CNAME four
lost    CNAME nowhere
old     DNAME new
a.new   A     8.8.8.8
*.wild  A     8.8.8.8
"""
REVERSE = """\
$ORIGIN 8.8.8.in-addr.arpa.
$TTL 300
@       SOA   ns1.six.example. hostmaster.six.example. 1 3600 600 86400 60
@       NS    ns1.six.example.
8       PTR   four.six.example.
"""
UP = "$ORIGIN up.test.\n$TTL 60\n@ SOA ns1 hostmaster 1 3600 600 86400 60\n@ NS ns1\nns1 A 192.0.2.1\n"
NAMES = ["four", "both", "six", "mapped", "text", "chain", "lost", "a.old", "x.wild", "nowhere", ""]
WELL_KNOWN, OWN = "64:ff9b::/96", "2001:db8:64::/48"


@pytest.fixture(scope="module")
def servers(lab):
    with Servers(lab, "dns64") as real:
        for name, text in (("six.example", ZONE), ("8.8.8.in-addr.arpa", REVERSE), ("up.test", UP)):
            (real.folder / name).write_text(text)
        sign(real.folder, "signed.example")
        nsd = (f"127.0.{lab.names.number}.61", 5301)
        zones = ("six.example", "8.8.8.in-addr.arpa", "up.test", "signed.example")
        real.nsd(*nsd, {name: real.folder / name for name in zones})
        unbound = (f"127.0.{lab.names.number}.62", 5303)
        real.unbound(*unbound, f'  module-config: "dns64 iterator"\n  dns64-prefix: {WELL_KNOWN}\n'
                     '  local-zone: "8.in-addr.arpa." nodefault\n',
                     f'forward-zone:\n  name: "."\n  forward-addr: {nsd[0]}@{nsd[1]}\n')
        yield nsd, unbound


@pytest.fixture
def front(lab, daemon, servers):
    """The daemon, and clients of the first rule, of the second, and of none."""
    nsd, _ = servers
    number = lab.names.number
    hosts = [f"127.0.{number}.{last}" for last in (71, 72, 73)]
    rules = [{"clients": [f"{hosts[0]}/32"]}, {"prefix": OWN, "clients": [f"{hosts[1]}/32"]}]
    upstream = [f"{nsd[0]}:{nsd[1]}"]

    def config(**more):
        return socket_config(lab, upstream, **{"dns64": rules, **more})

    one = daemon(config())
    clients = [Client(loopback(lab), 5300, bind=host) for host in hosts]

    def rewrite(**more):
        write_config(one.config, {**config(**more), "control": {"socket": str(one.socket)}})

    return one, clients, rewrite


def ask6(client, name, **options):
    return client.ask(f"{name}.six.example".lstrip("."), "AAAA", **options)


def shape(reply):
    """What of a reply does not depend on time or chance."""
    records = sorted((r.name.to_text().lower(), r.rdtype, data.to_text()) for r in reply.answer for data in r)
    return dns.rcode.to_text(reply.rcode()), records


@pytest.mark.quick
def test_it_says_what_unbound_says(front, servers):
    one, (client, _, _), _ = front
    unbound = Client(*servers[1])
    for again in (False, True):
        for tcp in (False, True):
            for name in NAMES:
                if name == "mapped":  # unbound excludes nothing unless it is told to
                    assert addresses(ask6(client, name, tcp=tcp)) == ["64:ff9b::808:808"]
                    continue
                ours, theirs = (ask6(asked, name, tcp=tcp) for asked in (client, unbound))
                assert shape(ours) == shape(theirs), f"{name} again={again} tcp={tcp}\n{ours}\n{theirs}"
    assert one.ctl("stats")["dns64_synthesised"] >= 4


def test_each_client_has_its_prefix(front):
    _, (first, second, other), _ = front
    for _ in range(2):
        assert addresses(ask6(first, "a.old")) == ["64:ff9b::808:808"]
        assert addresses(ask6(second, "a.old")) == ["2001:db8:64:808:8:800::"]
        assert addresses(ask6(other, "a.old")) == []
        assert addresses(ask6(other, "mapped")) == ["::ffff:8.8.8.8"]
    assert addresses(first.ask("a.new.six.example", "A")) == ["8.8.8.8"]


def test_addresses_of_the_prefix_lead_back_and_the_prefix_is_told(front):
    _, (first, second, other), _ = front
    for client, address in ((first, "64:ff9b::808:808"), (second, "2001:db8:64:808:8:800::")):
        name = dns.reversename.from_address(address)
        reply = client.ask(name, "PTR")
        assert [data.to_text() for rrset in reply.answer for data in rrset] == ["8.8.8.8.in-addr.arpa.", "four.six.example."]
        assert not other.ask(name, "PTR").answer, "he asks upstream, which knows nothing of it"
    assert addresses(first.ask("ipv4only.arpa", "AAAA")) == ["64:ff9b::c000:aa", "64:ff9b::c000:ab"]
    assert addresses(second.ask("ipv4only.arpa", "AAAA")) == ["2001:db8:64:c000:0:aa00::", "2001:db8:64:c000:0:ab00::"]
    assert addresses(first.ask("ipv4only.arpa", "A")) == ["192.0.0.170", "192.0.0.171"]


def test_who_validates_gets_what_is_signed(front):
    _, (client, _, _), _ = front
    flags = dns.flags.RD | dns.flags.CD
    assert addresses(ask6(client, "four")) == ["64:ff9b::808:808", "64:ff9b::909:909"]
    assert addresses(ask6(client, "four", flags=flags)) == []
    assert len(addresses(ask6(client, "four", want_dnssec=True))) == 2, "nothing is signed there"
    for _ in range(2):
        assert addresses(client.ask("a.wild.signed.example", "AAAA", want_dnssec=True)) == []


def test_rules_come_and_go_with_a_reload(front):
    one, (first, second, _), rewrite = front
    assert addresses(ask6(first, "a.old")) == ["64:ff9b::808:808"]
    rewrite(dns64=[{"prefix": "2001:db8:65::/96", "clients": ["127.0.0.0/8"], "groups": ["default"]}])
    assert one.ctl("config", "reload")["changed"] == ["dns64"]
    assert addresses(ask6(first, "a.old")) == addresses(ask6(second, "a.old")) == ["2001:db8:65::808:808"]
    assert addresses(ask6(first, "both")) == ["2001:db8::1"]
    rewrite(dns64=[{"clients": ["127.0.0.0/8"], "exclude": ["2001:db8::/64"]}])
    assert one.ctl("config", "reload")["changed"] == ["dns64"]
    assert addresses(ask6(first, "both")) == ["64:ff9b::808:808"], "what is excluded counts as none"
    rewrite(dns64=[])
    assert one.ctl("config", "reload")["changed"] == ["dns64"]
    assert addresses(ask6(first, "a.old")) == []
