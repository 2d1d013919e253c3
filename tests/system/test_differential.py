"""The same questions to Millrace and to unbound, over the same upstream: where they differ, a rule below says why.

A difference that no rule covers is a bug; a rule that no question needs is stale, and fails too.
"""

import functools
import random
import time
from dataclasses import dataclass

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from conftest import Client, Daemon, loopback, socket_config
from lab.daemon import write_config
from reference import Reference
from support import PATIENCE

QUESTIONS, SEED = 2000, 271828
LAB = ["shared", "www", "mail", "text", "chain", "chain-1", "dangling", "ttl0", "mixed", "big", "huge", "split", "nowhere",
       "x.nowhere", "a.wild", "a.b.wild", "wild", "svc", "_dns._udp", "odd", "deep.er.est", "er.est", "x.alias", "alias",
       "a.old", "b.old", "old", "loop-1", "ptr", "naptr", "sshfp", "loc", "host-7", "ns1", "", "\\000odd\\.name"]
SIGNED = ["www", "text", "chain", "a.wild", "a.b.wild", "nowhere", "x.nowhere", "big", "ns1", ""]
NAMES = ([f"{name}.lab.example".lstrip(".") for name in LAB]
         + [f"{name}.{zone}.example".lstrip(".") for zone in ("signed", "hashed") for name in SIGNED])
TOO_LONG = ".".join(["x" * 60] * 3) + ".x.short.lab.example"  # for what the DNAME of short makes of it
TYPES = ["A"] * 8 + ["AAAA", "MX", "TXT", "TXT", "SOA", "NS", "CNAME", "ANY", "HTTPS", "SVCB", "SRV", "CAA", "DS", "DNSKEY",
                     "PTR", "NAPTR", "SSHFP", "LOC", "TYPE65280", "TYPE65281", "TYPE127", "TYPE128", "TYPE253", "NSEC",
                     "RRSIG", "DNAME"]
EDNS = [None, None, {}, {"payload": 0}, {"payload": 512}, {"payload": 900}, {"payload": 65535}, {"ednsflags": dns.flags.DO},
        {"ednsflags": dns.flags.DO}, {"ednsflags": 0x7fff}, {"edns": 1},
        {"options": [dns.edns.GenericOption(65001, b"xx"), dns.edns.GenericOption(10, b"12345678")]},
        {"options": [dns.edns.ECSOption("192.0.2.0", 24)]}]
DNSSEC = {dns.rdatatype.RRSIG, dns.rdatatype.NSEC, dns.rdatatype.NSEC3}


@dataclass(frozen=True)
class Question:
    name: str
    qtype: str
    flags: int
    edns: int  # index into EDNS
    tcp: bool

    def message(self):
        query = dns.message.make_query(self.name, self.qtype)
        query.flags = self.flags
        if EDNS[self.edns] is not None:
            query.use_edns(**{"edns": 0, "payload": 1232, **EDNS[self.edns]})
        return query

    @property
    def dnssec_ok(self):
        return bool((EDNS[self.edns] or {}).get("ednsflags", 0) & dns.flags.DO)


def questions():
    draw = random.Random(SEED)
    for _ in range(QUESTIONS):
        name = "".join(c.upper() if draw.random() < 0.3 else c for c in draw.choice(NAMES))
        rd = draw.random() < 0.95
        flags = sum(flag for flag, chosen in ((dns.flags.RD, rd), (dns.flags.AD, draw.random() < 0.2),
                                              (dns.flags.CD, draw.random() < 0.2)) if chosen)
        yield Question(name, draw.choice(TYPES), flags, draw.randrange(len(EDNS)), draw.random() < 0.2)


@dataclass(frozen=True)
class Rule:
    reason: str
    fields: frozenset
    applies: object  # of a Question, Millrace's message and unbound's


def rule(reason, fields, applies):
    return Rule(reason, frozenset(fields.split()), applies)


def is_meta(question):
    return question.qtype in ("TYPE128", "TYPE253")


def is_any(question):
    return question.qtype == "ANY"


RULES = [
    rule("types that ask for something else get NOTIMP (RFC 8906), unbound finds them malformed and echoes the OPT",
         "rcode RA AD options", lambda q, m, u: is_meta(q) and m.rcode() == dns.rcode.NOTIMP and u.rcode() == dns.rcode.FORMERR),
    rule("NXNAME is malformed for both (RFC 9824), unbound gives the query back as it came", "RA AD options",
         lambda q, m, u: q.qtype == "TYPE128" and m.rcode() == u.rcode() == dns.rcode.FORMERR),
    rule("an EDNS version that we don't know is said before the type is judged, and unbound echoes its version",
         "rcode RA AD edns options do", lambda q, m, u: is_meta(q) and m.rcode() == dns.rcode.BADVERS and m.edns == 0),
    rule("ANY over UDP: come back over TCP (RFC 8482)", "rcode TC answer authority RA",
         lambda q, m, u: is_any(q) and not q.tcp and m.flags & dns.flags.TC and not m.answer and m.rcode() == 0),
    rule("ANY over TCP: a HINFO made up (RFC 8482)", "rcode answer authority RA",
         lambda q, m, u: is_any(q) and q.tcp and m.answer[0].rdtype == dns.rdatatype.HINFO and m.rcode() == 0),
    rule("nothing of the additional section is kept, nor any but the OPT sent", "additional",
         lambda q, m, u: not m.additional),
    rule("an NSEC lives beside a CNAME (RFC 4035 2.5), unbound follows a CNAME that it has cached", "answer",
         lambda q, m, u: q.qtype == "NSEC" and u.answer[0].rdtype == dns.rdatatype.CNAME),
    rule("unbound takes the zone's NS beside the RRSIGs of ns1 for a referral", "answer authority",
         lambda q, m, u: q.qtype == "RRSIG" and not u.answer and u.authority[0].rdtype == dns.rdatatype.NS),
]


@pytest.fixture(scope="module")
def reference(lab):
    return Reference(lab)


@pytest.fixture(scope="module")
def single(lab, build, reference):
    """millraced with the reference's nsd alone, so that every answer is one upstream's."""
    config = socket_config(lab, [":".join(map(str, reference.nsd))], merge={"policy": "off"})
    one = Daemon(lab, build, config, name="single").start()
    yield Client(loopback(lab), 5300)
    one.process.terminate()
    assert one.wait(20) == 0


def unbound_says(unbound, question):
    """Of errors of its own it sends about a hundred in a second and drops the rest (its worker_err_ratelimit), over TCP by closing: those
    are asked for again in the next second."""
    for _ in range(10):
        try:
            reply = unbound.send(question.message().to_wire(), question.tcp, PATIENCE / 10)
        except AssertionError:
            reply = None
        if reply:
            return parsed(reply)
        time.sleep(1)
    raise AssertionError(f"unbound does not reply to {question}")


def parsed(wire):
    assert wire is not None, "no reply"
    return dns.message.from_wire(wire)  # complains of octets behind the message


def sets(section, without=()):
    return {(rrset.name.to_text().lower(), rrset.rdtype, rrset.covers, frozenset(r.to_text().lower() for r in rrset))
            for rrset in section if rrset.rdtype not in without}


def fields(message):
    """What is compared."""
    return {"rcode": dns.rcode.to_text(message.rcode()), "question": message.question, "edns": message.edns,
            "answer": sets(message.answer), "authority": sets(message.authority), "additional": sets(message.additional),
            "do": bool(message.ednsflags & dns.flags.DO),
            "options": [o.otype for o in message.options if o.otype != dns.edns.OptionType.EDE],
            **{flag.name: bool(message.flags & flag) for flag in dns.flags.Flag}}


def test_same_as_unbound(reference, single):
    unbound = Client(*reference.unbound)
    unexplained, stale = [], set(RULES)
    for question in questions():
        ours, theirs = parsed(single.send(question.message().to_wire(), question.tcp, PATIENCE)), unbound_says(unbound, question)
        mine, other = fields(ours), fields(theirs)
        for field in mine:
            if mine[field] == other[field]:
                continue
            why = [r for r in RULES if field in r.fields and r.applies(question, ours, theirs)]
            stale -= set(why)
            if not why:
                unexplained.append(f"{question}: {field} {mine[field]}, unbound {other[field]}")
    assert not unexplained, f"{len(unexplained)} differences, the first ones:\n" + "\n".join(unexplained[:15])
    assert not stale, "explained, but never seen: " + ", ".join(r.reason for r in stale)


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("dnssec_ok", [False, True], ids=["plain", "DO"])
@pytest.mark.parametrize("name", [name for name in [*NAMES, TOO_LONG] if not name.startswith("loop")])
def test_same_as_the_upstream(reference, single, name, dnssec_ok, tcp):
    """Every name and type; what dnspython reads it also writes, and reads again."""
    for qtype in sorted(set(TYPES) - {"ANY", "TYPE128", "TYPE253", "NSEC", "RRSIG"}):
        query = dns.message.make_query(name, qtype, want_dnssec=dnssec_ok)
        ours = parsed(single.send(query.to_wire(), tcp, PATIENCE))
        theirs = upstream_says(reference.nsd, name, qtype)
        again = dns.message.from_wire(ours.to_wire(max_size=65535))
        assert fields(again) == fields(ours) and ttls(again.answer) == ttls(ours.answer)
        assert ours.id == query.id and ours.question == query.question
        if ours.flags & dns.flags.TC:
            assert not tcp and not ours.answer and not ours.authority
            continue
        unwanted = set() if dnssec_ok else DNSSEC
        assert ours.rcode() == theirs.rcode(), qtype
        assert sets(ours.answer) == sets(theirs.answer, unwanted), qtype
        proofs = [rrset for rrset in theirs.authority if is_kept(rrset, theirs)]
        assert sets(ours.authority) == sets(proofs, unwanted), qtype
        assert not ours.additional
        known = ttls(theirs.answer) | ttls(proofs)
        assert all(ttl <= known[which] for which, ttl in (ttls(ours.answer) | ttls(ours.authority)).items()), qtype


def test_large_rrsets_are_refused_with_a_reason_or_whole(lab, daemon, reference):
    def config(**cache):
        one = socket_config(lab, [":".join(map(str, reference.nsd))], cache=cache)
        return one | {"listen": [f"{loopback(lab)}:5310"]}

    rows = [("hosts-300", "A", 300), ("hosts-1000", "A", 1000), ("texts-260", "TXT", 260)]
    one, client = daemon(config()), Client(loopback(lab), 5310)
    for name, qtype, _ in rows:
        reply = client.ask(f"{name}.lab.example", qtype, tcp=True, use_edns=0)
        errors = [(option.code, option.text) for option in reply.options if option.otype == dns.edns.OptionType.EDE]
        assert reply.rcode() == dns.rcode.SERVFAIL and errors == [(0, "RRset above max-rrset")]
    assert one.ctl("stats")["large_rrsets"] == len(rows)
    traced = one.ctl("trace", "hosts-300.lab.example", "A")["events"]
    assert "nothing is kept of it: RRset above max-rrset" in [event.get("note") for event in traced]
    write_config(one.config, {**config(**{"max-rrset": 1000}), "control": {"socket": str(one.socket)}})
    assert one.ctl("config", "reload")["changed"] == ["cache.max-rrset"]
    for name, qtype, records in rows:
        for _ in ("asked", "cached"):
            assert len(client.ask(f"{name}.lab.example", qtype, tcp=True).answer) == records
        assert client.ask(f"{name}.lab.example", qtype, use_edns=0).flags & dns.flags.TC


@functools.cache
def upstream_says(nsd, name, qtype):
    return parsed(Client(*nsd).send(dns.message.make_query(name, qtype, want_dnssec=True).to_wire(), tcp=True, timeout=PATIENCE))


def ttls(section):
    return {(rrset.name, rrset.rdtype, rrset.covers): rrset.ttl for rrset in section}


def is_kept(rrset, reply):
    """Of the authority section: what denies, and what proves a wildcard; no NS."""
    proof = {dns.rdatatype.NSEC, dns.rdatatype.NSEC3}
    denies = any(other.rdtype == dns.rdatatype.SOA for other in reply.authority)
    return (rrset.rdtype if rrset.rdtype != dns.rdatatype.RRSIG else rrset.covers) in proof | (
        {dns.rdatatype.SOA} if denies else set())
