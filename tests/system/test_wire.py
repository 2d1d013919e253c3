"""Queries good and bad, row by row of the rules towards clients, on both kinds of port."""

import re
import socket

import dns.flags
import dns.message
import dns.rcode
import pytest

from lab.children import run
from support import Subscriber

NAME = "shared.lab.example"
QUESTION = b"\x06shared\x03lab\x07example\x00" + b"\x00\x01\x00\x01"
OPT = b"\x00" + b"\x00\x29" + b"\x04\xd0" + b"\x00\x00\x00\x00" + b"\x00\x00"
TSIG = b"\x01k\x00" + b"\x00\xfa\x00\xff" + b"\x00\x00\x00\x00" + b"\x00\x10" + b"\x00" * 16
SOA = b"\x03lab\x07example\x00" + b"\x00\x06\x00\x01" + b"\x00\x00\x00\x00" + b"\x00\x16" + b"\x00\x00" + bytes(20)


def query(body=QUESTION, flags=0x0100, counts=(1, 0, 0, 0), ident=0x1234):
    return b"".join(n.to_bytes(2, "big") for n in (ident, flags, *counts)) + body


def typed(qtype, qclass=1):
    return QUESTION[:-4] + qtype.to_bytes(2, "big") + qclass.to_bytes(2, "big")


ROWS = [
    # what, query, expected rcode (None: dropped), QDCOUNT of the reply
    ("good", query(), "NOERROR", 1),
    ("ID 0", query(ident=0), "NOERROR", 1),
    ("11 octets", query()[:11], None, 0),
    ("nothing", b"\x00", None, 0),
    ("a response", query(flags=0x8100), None, 0),
    ("opcode STATUS", query(flags=0x1100), "NOTIMP", None),
    ("opcode STATUS with OPT", query(QUESTION + OPT, 0x1130, (1, 0, 0, 1)), "NOTIMP", None),
    ("opcode NOTIFY", query(flags=0x2100), "NOTIMP", None),
    ("opcode UPDATE", query(flags=0x2900), "NOTIMP", None),
    ("two questions", query(QUESTION * 2, counts=(2, 0, 0, 0)), "FORMERR", None),
    ("no question", query(b"", counts=(0, 0, 0, 0)), "FORMERR", 0),
    ("no question but an OPT", query(OPT, counts=(0, 0, 0, 1)), "FORMERR", 0),
    ("AXFR", query(typed(252)), "REFUSED", 1),
    ("AXFR with OPT", query(typed(252) + OPT, counts=(1, 0, 0, 1)), "REFUSED", 1),
    ("IXFR with its SOA", query(typed(251) + SOA, counts=(1, 0, 1, 0)), "REFUSED", 1),
    ("a record in the answer section", query(QUESTION + SOA, counts=(1, 1, 0, 0)), "FORMERR", None),
    ("a record in the authority section", query(QUESTION + SOA, counts=(1, 0, 1, 0)), "FORMERR", None),
    ("OPT in the answer section", query(QUESTION + OPT, counts=(1, 1, 0, 0)), "FORMERR", None),
    ("two OPTs", query(QUESTION + OPT * 2, counts=(1, 0, 0, 2)), "FORMERR", None),
    ("OPT with a name", query(QUESTION + b"\x01a" + OPT, counts=(1, 0, 0, 1)), "FORMERR", None),
    ("OPT longer than the message", query(QUESTION + OPT[:-1] + b"\x09", counts=(1, 0, 0, 1)), "FORMERR", None),
    ("ARCOUNT without a record", query(counts=(1, 0, 0, 1)), "FORMERR", None),
    ("TSIG", query(QUESTION + TSIG, counts=(1, 0, 0, 1)), "FORMERR", None),
    ("TSIG behind OPT", query(QUESTION + OPT + TSIG, counts=(1, 0, 0, 2)), "FORMERR", None),
    ("a record beside OPT", query(QUESTION + SOA + OPT, counts=(1, 0, 0, 2)), "FORMERR", None),
    ("an option past its end", query(QUESTION + OPT[:-1] + b"\x05\x00\x0a\x00\x02x", counts=(1, 0, 0, 1)), "FORMERR", None),
    ("TC", query(flags=0x0300), "FORMERR", None),
    ("a pointer in the question", query(b"\xc0\x0c\x00\x01\x00\x01"), "FORMERR", 0),
    ("a label of type 0x40", query(b"\x41a\x00\x00\x01\x00\x01"), "FORMERR", 0),
    ("a label of type 0x80", query(b"\x81a\x00\x00\x01\x00\x01"), "FORMERR", 0),
    ("a name of 257 octets", query((b"\x3f" + b"a" * 63) * 4 + b"\x00\x00\x01\x00\x01"), "FORMERR", 0),
    ("a name that ends too early", query(b"\x06sha"), "FORMERR", 0),
    ("a question without its class", query(QUESTION[:-2]), "FORMERR", 0),
    ("trailing octets", query(QUESTION + b"trailing"), "NOERROR", 1),
    ("unknown flags", query(flags=0x0140), "NOERROR", 1),
    ("class CH", query(typed(16, 3)), "REFUSED", 1),
    ("class HS", query(typed(1, 4)), "NOTIMP", 1),
    ("class ANY", query(typed(1, 255)), "NOTIMP", 1),
    ("type 0", query(typed(0)), "NOTIMP", 1),
    ("type OPT", query(typed(41)), "NOTIMP", 1),
    ("type MAILB", query(typed(253)), "NOTIMP", 1),
    ("type NXNAME", query(typed(128) + OPT, counts=(1, 0, 0, 1)), "FORMERR", 1),
    ("type 129", query(typed(129)), "NOTIMP", 1),
    ("unknown type", query(typed(65280)), "NOERROR", 1),
    ("RD=0", query(flags=0), "REFUSED", 1),
]


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("what, wire, rcode, questions", ROWS, ids=[row[0] for row in ROWS])
def test_rows(client, what, wire, rcode, questions, tcp):
    if rcode is None:
        assert nothing_comes(client, wire, tcp)
        return
    reply = client.send(wire, tcp)
    assert reply is not None, "no reply"
    assert reply[:2] == wire[:2], "the ID"
    flags = int.from_bytes(reply[2:4], "big")
    assert dns.rcode.to_text(dns.rcode.Rcode(flags & 15)) == rcode
    assert flags & 0x8000 and not flags & 0x0400 and not flags & 0x0040, "QR=1, AA=0, Z=0"
    assert flags & 0x7900 == int.from_bytes(wire[2:4], "big") & 0x7900, "opcode and RD as in the query"
    if questions is not None:
        assert int.from_bytes(reply[4:6], "big") == questions
    if questions == 1:
        assert reply[12:].startswith(wire[12:12 + len(QUESTION)])
    said = dns.message.from_wire(reply)  # and it is well-formed
    assert (said.edns == 0) == (OPT[:-2] in wire and what != "OPT longer than the message"), "an OPT for an OPT"
    assert flags & 0x0030 == 0 or flags & 0x7800 == 0, "CD and AD are bits of queries"


def nothing_comes(client, wire, tcp):
    """Silence, or over TCP perhaps the connection's end."""
    with client.socket(socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as s:
        s.settimeout(0.3)
        s.sendall(len(wire).to_bytes(2, "big") + wire if tcp else wire)
        try:
            return not s.recv(65535)
        except TimeoutError:
            return True


@pytest.mark.quick
def test_case_is_echoed_and_shared(client):
    mixed = QUESTION.replace(b"shared", b"ShArEd").replace(b"example", b"EXAMPLE")
    for question in (QUESTION, mixed):
        reply = client.send(query(question))
        assert reply[12:12 + len(question)] == question and reply[7] == 1


def test_edns(client):
    def opt(version=0, options=b"", size=1232, flags=0):
        return (b"\x00\x00\x29" + size.to_bytes(2, "big") + bytes([0, version]) + flags.to_bytes(2, "big")
                + len(options).to_bytes(2, "big") + options)

    future = dns.message.from_wire(client.send(query(QUESTION + opt(version=1), counts=(1, 0, 0, 1))))
    assert future.rcode() == dns.rcode.BADVERS and future.edns == 0 and not future.answer
    unknown = opt(options=b"\xfd\xe9\x00\x02xx\x00\x08\x00\x07\x00\x01\x18\x00\xc0\x00\x02")  # and a client subnet
    reply = dns.message.from_wire(client.send(query(QUESTION + unknown, counts=(1, 0, 0, 1))))
    assert reply.rcode() == dns.rcode.NOERROR and reply.edns == 0 and not reply.options and reply.answer
    small = client.send(query(typed(16).replace(b"\x06shared", b"\x03big") + opt(size=100), counts=(1, 0, 0, 1)))
    assert len(small) <= 512 and small[2] & 2


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_flags_of_the_query(client, tcp):
    """RD and CD are copied, AD is not: no upstream is trusted with it."""
    for bits in (0x0100, 0x0110, 0x0120, 0x0130):
        for end, counts, do in ((b"", (1, 0, 0, 0), None), (OPT, (1, 0, 0, 1), False),
                                (OPT[:-4] + b"\x80" + OPT[-3:], (1, 0, 0, 1), True)):
            reply = client.send(query(QUESTION + end, bits, counts), tcp)
            assert int.from_bytes(reply[2:4], "big") == 0x8080 | bits & 0x0110
            said = dns.message.from_wire(reply)
            assert (said.edns, said.payload if end else 0) == ((0, 1232) if end else (-1, 0))
            assert do is None or bool(said.ednsflags & dns.flags.DO) == do


@pytest.mark.parametrize("program", [["dig", "+noall", "+comments", "+answer"], ["kdig", "+noall", "+header", "+answer"]],
                         ids=["dig", "kdig"])
@pytest.mark.parametrize("options", [["+noedns"], ["+bufsize=4096"], ["+bufsize=512", "+dnssec"]], ids=" ".join)
def test_real_clients_come_back_over_tcp(lab, client, program, options):
    where = lab.inside if isinstance(client, Subscriber) else lambda *command: command
    shown = run(where(*program, *options, f"@{client.address}", "-p", client.port, "big.lab.example", "TXT")).stdout
    assert shown.count("\tTXT\t") == 40, shown
    assert re.findall("flags: (qr[^;]*);", shown, re.IGNORECASE) == ["qr rd ra"], shown
    assert "retrying" in shown.lower(), "UDP was tried first, and truncated"


def test_any(client):
    reply = dns.message.from_wire(client.send(query(typed(255))))
    assert reply.flags & dns.flags.TC and not reply.answer
    over_tcp = dns.message.from_wire(client.send(query(typed(255)), tcp=True))
    assert not over_tcp.flags & dns.flags.TC and over_tcp.rcode() == dns.rcode.NOERROR


def test_tcp_pipelining(client):
    """Two queries in one segment, one in two: three answers."""
    messages = [query(QUESTION, ident=i) for i in (1, 2, 3)]
    framed = b"".join(len(m).to_bytes(2, "big") + m for m in messages)
    with client.socket(socket.SOCK_STREAM) as s:
        s.sendall(framed[:-5])
        s.sendall(framed[-5:])
        data = b""
        while data.count(QUESTION) < 3:
            more = s.recv(4096)
            assert more, "the server closed the connection"
            data += more
    size = int.from_bytes(data[:2], "big")
    assert data[2:4] in (b"\x00\x01", b"\x00\x02", b"\x00\x03") and size > 12


def test_noise_does_no_harm(client):
    """Every truncation and many single-octet changes of a query: no crash, and good queries are still answered."""
    good = query(QUESTION + OPT, counts=(1, 0, 0, 1))
    with client.socket() as s:
        for i in range(len(good)):
            s.send(good[:i])
            for value in (0x00, 0x3f, 0x40, 0xc0, 0xff):
                s.send(good[:i] + bytes([value]) + good[i + 1:])
    assert client.ask(NAME).rcode() == dns.rcode.NOERROR
