"""DNSSEC passes through: signatures and proofs to those who ask for them, AD from those who are trusted."""

import os
import time

import dns.flags
import dns.rcode
import dns.rdatatype
import pytest

import signed
from conftest import NOBODY, end, loopback, socket_config
from lab import Daemon
from support import Client, addresses, until
from upstream import Upstream

CD, AD, RD = dns.flags.CD, dns.flags.AD, dns.flags.RD
FIRST, SECOND = ["192.0.2.11"], ["192.0.2.12"]  # www in the two editions
PORTS = {"trusted": 5310, "untrusted": 5311, "both": 5312}


@pytest.fixture(scope="module")
def signed_zones(lab):
    servers, where = signed.start(lab)
    with servers:
        where.folder = servers.folder
        yield where


@pytest.fixture(scope="module")
def clients(lab, build, signed_zones):
    """A client of each millraced: on the first validator, trusted; on the second, not; on both."""
    first, second = signed_zones.unbound
    trusted = {"address": first, "trusted": True}
    upstreams = {"trusted": [trusted], "untrusted": [second], "both": [trusted, second]}
    daemons = []
    for name, servers in upstreams.items():
        config = socket_config(lab, servers, listen=[f"{loopback(lab)}:{PORTS[name]}"])
        daemons.append(Daemon(lab, build, config, NOBODY, name=f"dnssec-{name}"))
        os.chown(daemons[-1].folder, 65534, 65534)
        daemons[-1].start()
    yield {name: Client(loopback(lab), port) for name, port in PORTS.items()}
    for one in daemons:
        end(one)


def types(section):
    """Owner and type, a signature's with the type that it covers."""
    return {(rrset.name, rrset.rdtype, record.covers() if rrset.rdtype == dns.rdatatype.RRSIG else None)
            for rrset in section for record in rrset}


def signatures(reply):
    return [rrset for rrset in reply.answer + reply.authority if rrset.rdtype == dns.rdatatype.RRSIG]


@pytest.mark.parametrize("zone", signed.ZONES)
def test_signatures_go_to_those_who_ask_for_them(clients, zone):
    for name in (f"www.{zone}", f"alias.{zone}", f"x.wild.{zone}", f"none.{zone}"):
        with_do = clients["both"].ask(name, want_dnssec=True)
        assert signatures(with_do) and with_do.ednsflags & dns.flags.DO
        without = clients["both"].ask(name, use_edns=0)
        assert not signatures(without)
        assert {rrset.rdtype for rrset in without.authority} <= {dns.rdatatype.SOA}
        assert without.rcode() == with_do.rcode()


@pytest.mark.parametrize("name", ["www.nsec.example", "none.nsec3.example", "x.wild.nsec.example"])
@pytest.mark.parametrize("tcp", [False, True])
def test_ad_is_a_trusted_servers_word_to_those_who_ask(clients, name, tcp):
    def has_ad(server, **options):
        return bool(clients[server].ask(name, tcp=tcp, **options).flags & AD)

    for server, says in (("trusted", True), ("untrusted", False)):
        assert not has_ad(server)
        assert has_ad(server, flags=RD | AD) == says
        assert has_ad(server, want_dnssec=True) == says
        assert has_ad(server, flags=RD | AD) == says, "from the cache too"
    assert not clients["trusted"].ask("www.plain.example", want_dnssec=True).flags & AD, "it has not validated this"


def test_ad_comes_with_the_trusted_servers_answer_alone(clients):
    for i in range(20):
        reply = clients["both"].ask(f"ad-{i}.wild.nsec.example", want_dnssec=True)
        assert addresses(reply) == ["192.0.2.99"]
    for _ in range(3):
        reply = clients["both"].ask("www.nsec3.example", want_dnssec=True)
        assert bool(reply.flags & AD) == (addresses(reply) == FIRST)


def test_signed_answers_are_never_merged(clients):
    client = clients["both"]
    names = (f"p{i}.pool.plain.example" for i in range(1000))

    def merges(name):
        client.ask(name)
        return until(lambda: addresses(client.ask(name)) == FIRST + SECOND, 0.5)

    assert until(lambda: merges(next(names))), "what is not signed is"
    for zone in signed.ZONES:
        for options in ({}, {"want_dnssec": True}, {"flags": RD | CD}):
            first = addresses(client.ask(f"www.{zone}", **options))
            time.sleep(0.3)
            assert first in (FIRST, SECOND) and addresses(client.ask(f"www.{zone}", **options)) == first


NEGATIVE = [("none", "A", dns.rcode.NXDOMAIN), ("www", "TXT", dns.rcode.NOERROR), ("x.wild", "A", dns.rcode.NOERROR),
            ("x.wild", "TXT", dns.rcode.NOERROR), ("www", "DS", dns.rcode.NOERROR)]


@pytest.mark.parametrize("name, qtype, rcode", NEGATIVE)
@pytest.mark.parametrize("zone", signed.ZONES)
def test_proofs_pass_whole(clients, signed_zones, zone, name, qtype, rcode):
    address, _, port = signed_zones.unbound[0].partition(":")
    there = Client(address, int(port)).ask(f"{name}.{zone}", qtype, want_dnssec=True, tcp=True)
    here = clients["trusted"].ask(f"{name}.{zone}", qtype, want_dnssec=True)
    assert here.rcode() == there.rcode() == rcode
    assert types(here.answer) == types(there.answer)
    wanted = {key for key in types(there.authority) if dns.rdatatype.NS not in key[1:]}
    assert types(here.authority) == wanted
    assert any(rdtype in (dns.rdatatype.NSEC, dns.rdatatype.NSEC3) for _, rdtype, _ in wanted)


VALID = [("www", "A"), ("alias", "A"), ("x.wild", "A"), ("www.child", "A"), ("child", "DS"), ("@", "DNSKEY")]
DENIED = [("none", "A"), ("www", "TXT"), ("x.wild", "TXT"), ("none.child", "A")]


@pytest.mark.parametrize("zone", signed.ZONES)
def test_a_validator_behind_us_accepts_what_we_pass_on(clients, signed_zones, zone):
    def says(name, qtype):
        full = zone if name == "@" else f"{name}.{zone}"
        return signed.delv(signed_zones.folder, clients["untrusted"], zone, full, qtype)

    for name, qtype in VALID:
        text = says(name, qtype)
        assert "; fully validated" in text, text
    for name, qtype in DENIED:
        text = says(name, qtype)
        assert "; negative response, fully validated" in text, text
    assert "; fully validated" not in says("bogus", "A")


@pytest.mark.parametrize("zone", signed.ZONES)
def test_keys_and_delegations_are_data_like_others(clients, zone):
    keys = clients["both"].ask(zone, "DNSKEY", want_dnssec=True)
    assert sorted(key.flags for rrset in keys.answer for key in rrset if rrset.rdtype == dns.rdatatype.DNSKEY) == [256, 257]
    assert signatures(keys)
    delegation = clients["trusted"].ask(f"child.{zone}", "DS", want_dnssec=True)
    assert {rrset.rdtype for rrset in delegation.answer} == {dns.rdatatype.DS, dns.rdatatype.RRSIG}
    plain = clients["trusted"].ask(f"child.{zone}", "DS")
    assert {rrset.rdtype for rrset in plain.answer} == {dns.rdatatype.DS}


@pytest.mark.parametrize("zone", signed.ZONES)
def test_bogus_data_is_for_those_who_check_themselves(clients, zone):
    for name, client in clients.items():
        for options in ({}, {"want_dnssec": True}):
            reply = client.ask(f"bogus.{zone}", **options)
            assert reply.rcode() == dns.rcode.SERVFAIL and not reply.answer, name
            reply = client.ask(f"bogus.{zone}", flags=RD | CD, **options)
            assert reply.rcode() == dns.rcode.NOERROR and addresses(reply) == [signed.BOGUS], name
            assert reply.flags & CD and not reply.flags & AD
    assert addresses(clients["trusted"].ask(f"www.{zone}")) == FIRST, "one bad name is not the server's fault"


def dnssec_errors(reply):
    return [int(option.code) for option in reply.options if option.otype == 15 and int(option.code) in (6, 7, 9)]


@pytest.mark.parametrize("zone", signed.ZONES)
def test_why_it_is_bogus_reaches_the_client_from_the_cache_too(clients, zone):
    for _ in range(2):
        reply = clients["trusted"].ask(f"bogus.{zone}", use_edns=0)
        assert reply.rcode() == dns.rcode.SERVFAIL and dnssec_errors(reply)


def test_a_quicker_server_that_does_not_validate_is_overruled(lab, daemon, signed_zones):
    """It may answer first; what it said is revoked when the validator has spoken."""
    quick = Upstream(f"127.0.{lab.names.number}.28", 5302)
    try:
        daemon(socket_config(lab, [quick.endpoint, {"address": signed_zones.unbound[0], "trusted": True}]), NOBODY)
        client = Client(loopback(lab), 5300)
        name = "bogus.nsec.example"
        client.ask("www.nsec.example")
        replies = []
        assert until(lambda: replies.append(client.ask(name, use_edns=0)) or dnssec_errors(replies[-1]))
        for _ in range(20):
            reply = client.ask(name, use_edns=0)
            assert reply.rcode() == dns.rcode.SERVFAIL and not reply.answer
        assert quick.asked[f"{name}."] > 0
    finally:
        quick.close()


def test_nothing_is_asked_below_a_name_that_a_validator_denies(lab, daemon, signed_zones):
    upstream = [{"address": signed_zones.unbound[0], "trusted": True}]
    one = daemon(socket_config(lab, upstream, cache={"harden-below-nxdomain": True}), NOBODY)
    client = Client(loopback(lab), 5300)
    denied = client.ask("hardened.nsec.example", want_dnssec=True)
    assert denied.rcode() == dns.rcode.NXDOMAIN and denied.flags & AD
    assert client.ask("a.b.hardened.nsec.example", want_dnssec=True).rcode() == dns.rcode.NXDOMAIN
    assert one.ctl("stats")["below_denied"] == 1
