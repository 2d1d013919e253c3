"""The recursor that deploy/ ships, as Millrace's only upstream below a signed root; and its files."""

import shutil

import dns.flags
import dns.rcode
import dns.rdatatype
import pytest

from conftest import LCORE, ROOT, end
from lab import Daemon, recursor
from lab.children import run
from lab.daemon import xdp_config
from support import Subscriber, addresses

CONFIGURATION, UNIT = ROOT / "deploy/millrace-recursor.conf", ROOT / "deploy/millrace-recursor.service"
AD, CD, RD = dns.flags.AD, dns.flags.CD, dns.flags.RD

# Unbound's own defaults drop questions of one address, give up before Millrace does, and accept ten connections.
EFFECTIVE = {"wait-limit": "0", "discard-timeout": "0", "ratelimit": "0", "ip-ratelimit": "0", "incoming-num-tcp": "256",
             "num-queries-per-thread": "8192", "outgoing-range": "16384", "ede": "yes", "prefetch": "yes",
             "serve-expired": "no", "qname-minimisation": "yes", "interface": "127.0.0.1@5335",
             "access-control": "127.0.0.0/8 allow", "module-config": "validator iterator",
             "trust-anchor-file": "/usr/share/dns/root.key", "root-hints": "/usr/share/dns/root.hints"}


@pytest.fixture(scope="module")
def client(lab, build):
    one = Daemon(lab, build, xdp_config(lab.names, [recursor.start(lab)], LCORE), name="recursive").start()
    yield Subscriber(lab)
    end(one)


def errors(reply):
    return [int(option.code) for option in reply.options if option.otype == 15]


def test_an_answer_below_the_signed_root_has_ad_for_those_who_ask(client):
    for _ in range(2):  # the second time from the cache
        reply = client.ask("www.lab.example", flags=RD | AD)
        assert reply.flags & AD and addresses(reply) == [recursor.WWW]
        assert not client.ask("www.lab.example").flags & AD
        reply = client.ask("www.lab.example", want_dnssec=True)
        assert reply.flags & AD and {rrset.rdtype for rrset in reply.answer} == {dns.rdatatype.A, dns.rdatatype.RRSIG}


def test_so_has_the_proof_that_there_is_no_such_name(client):
    reply = client.ask("nobody.lab.example", want_dnssec=True)
    assert reply.rcode() == dns.rcode.NXDOMAIN and reply.flags & AD
    assert dns.rdatatype.NSEC in {rrset.rdtype for rrset in reply.authority}


def test_a_forged_record_is_servfail_with_the_validators_reason(client):
    for _ in range(2):
        reply = client.ask("bogus.lab.example", flags=RD | AD, use_edns=0)
        assert reply.rcode() == dns.rcode.SERVFAIL and not reply.answer and not reply.flags & AD
        assert errors(reply) == [6]
    assert addresses(client.ask("bogus.lab.example", flags=RD | CD)) == [recursor.BOGUS]


def test_the_configuration_is_in_order():
    done = run(["unbound-checkconf", CONFIGURATION])
    assert done.returncode == 0, done.stdout
    assert {key: run(["unbound-checkconf", "-o", key, CONFIGURATION]).stdout.strip() for key in EFFECTIVE} == EFFECTIVE


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="a machine without systemd")
def test_the_unit_is_in_order():
    done = run(["systemd-analyze", "verify", "--man=no", UNIT])
    assert done.returncode == 0 and UNIT.name not in done.stdout, done.stdout
