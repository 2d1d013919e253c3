"""What a name's answer is, first and later, on both kinds of port."""

import time

import dns.flags
import dns.message
import dns.rcode
import pytest

from lab import WWW
from lab.servers import HOSTS
from support import addresses, until

ALL = sorted(sum(WWW.values(), []))


@pytest.fixture
def millraced(request, client):
    """The daemon behind the client, its cache empty."""
    one = request.getfixturevalue(request.node.callspec.params["client"])
    one.ctl("cache", "flush", "--all")
    return one


@pytest.mark.quick
def test_first_answer_then_all_servers(client, millraced):
    first = addresses(client.ask("www.lab.example"))
    assert first in [*map(sorted, WWW.values()), ALL]
    assert until(lambda: addresses(client.ask("www.lab.example")) == ALL)
    found = millraced.ctl("cache", "lookup", "www.lab.example", "A")
    assert found["found"] and found["revision"] >= 1 and found["rcode"] == "NOERROR"
    assert sorted(found["addresses"]) == ALL and 0 < found["ttl"] <= 60


def test_a_merge_keeps_the_generation_and_a_flush_ends_it(client, millraced):
    client.ask("www.lab.example")
    first = millraced.ctl("cache", "lookup", "www.lab.example", "A")
    merged = until(lambda: merged_entry(millraced, "www.lab.example"))
    assert merged["generation"] == first["generation"]
    millraced.ctl("cache", "flush", "www.lab.example")
    assert not millraced.ctl("cache", "lookup", "www.lab.example", "A")["found"]
    client.ask("www.lab.example")
    assert millraced.ctl("cache", "lookup", "www.lab.example", "A")["generation"] > merged["generation"]


def test_flush_of_a_name_leaves_others(client, millraced):
    client.ask("www.lab.example")
    client.ask("www.lab.example", "AAAA")
    client.ask("shared.lab.example")
    millraced.ctl("cache", "flush", "WWW.lab.example.")
    assert not millraced.ctl("cache", "lookup", "www.lab.example", "A")["found"]
    assert not millraced.ctl("cache", "lookup", "www.lab.example", "AAAA")["found"]
    assert millraced.ctl("cache", "lookup", "shared.lab.example", "A")["found"]
    millraced.ctl("cache", "flush", "--all")
    assert not millraced.ctl("cache", "lookup", "shared.lab.example", "A")["found"]


def test_ipv6_addresses_are_merged_too(client, millraced):
    expected = [f"2001:db8:{i}::{i}" for i in (1, 2, 3)]
    assert until(lambda: addresses(client.ask("www.lab.example", "AAAA")) == expected)


def test_chain_that_all_servers_agree_on(client, millraced):
    def merged():
        reply = client.ask("chain.lab.example")
        assert [rrset.rdtype for rrset in reply.answer[:2]] == [5, 5]
        return addresses(reply) == ["192.0.2.41", "192.0.2.42", "192.0.2.43"]

    assert until(merged)


def test_chains_that_differ_are_not_merged(client, millraced):
    client.ask("split.lab.example")
    assert until(lambda: millraced.ctl("status")["fetches"] == 0), "nothing more is merged"
    reply = client.ask("split.lab.example")
    target = reply.answer[0][0].target.to_text()
    assert len(reply.answer) == 2 and reply.answer[1].name.to_text() == target
    assert addresses(reply) == [f"192.0.2.5{target[6]}"]


def test_a_merge_adds_no_private_address(client, millraced):
    client.ask("rebind.lab.example")
    assert until(lambda: millraced.ctl("status")["fetches"] == 0), "nothing more is merged"
    found = addresses(client.ask("rebind.lab.example"))
    assert len(found) == 1 or not {"10.0.0.71", "127.0.0.1"} & set(found[1:])


def test_the_lowest_ttl_of_a_merge(client, millraced):
    assert until(lambda: len(addresses(client.ask("mixed.lab.example"))) == 3)
    assert {rrset.ttl for rrset in client.ask("mixed.lab.example").answer} <= {19, 20}


@pytest.mark.parametrize("name, qtype, records", [
    ("lab.example", "MX", ["10 mail.lab.example."]),
    ("mail.lab.example", "MX", ["10 mail.lab.example.", "20 shared.lab.example."]),
    ("text.lab.example", "TXT", ['"one" "two"']),
    ("lab.example", "NS", ["ns1.lab.example."]),
    ("any-label.wild.lab.example", "A", ["192.0.2.99"]),
    ("shared.lab.example", "AAAA", ["2001:db8:80::80"]),
])
def test_types(client, millraced, name, qtype, records):
    for _ in ("from upstream", "from the cache"):
        reply = client.ask(name, qtype)
        assert sorted(rdata.to_text() for rrset in reply.answer for rdata in rrset) == records


@pytest.mark.parametrize("name, qtype, rcode", [("nowhere.lab.example", "A", "NXDOMAIN"),
                                               ("www.lab.example", "MX", "NOERROR"),
                                               ("dangling.lab.example", "A", "NXDOMAIN")])
def test_negative_answers(client, millraced, name, qtype, rcode):
    for _ in ("from upstream", "from the cache"):
        started = time.monotonic()
        reply = client.ask(name, qtype)
        assert time.monotonic() - started < 1, "decided by the first reply, not by a timeout"
        assert dns.rcode.to_text(reply.rcode()) == rcode
        assert [rrset.rdtype for rrset in reply.authority] == [6] and reply.authority[0].ttl <= 60
    assert millraced.ctl("cache", "lookup", name, qtype)["rcode"] == rcode


@pytest.mark.quick
def test_ttl_counts_down(client, millraced):
    client.ask("shared.lab.example")
    time.sleep(2.1)
    assert client.ask("shared.lab.example").answer[0].ttl in (297, 298)


def test_an_entry_expires(client, millraced):
    client.ask("ttl2.lab.example")
    before = millraced.ctl("cache", "lookup", "ttl2.lab.example", "A")["generation"]
    time.sleep(2.2)
    assert client.ask("ttl2.lab.example").answer[0].ttl in (1, 2)
    assert millraced.ctl("cache", "lookup", "ttl2.lab.example", "A")["generation"] > before


def test_ttl_0_is_not_kept(client, millraced):
    for _ in range(2):
        before = millraced.ctl("stats")["misses"]
        assert client.ask("ttl0.lab.example").answer[0].ttl == 0
        assert millraced.ctl("stats")["misses"] == before + 1


@pytest.mark.quick
def test_tcp_for_what_does_not_fit(client, millraced):
    assert client.ask("big.lab.example", "TXT").flags & dns.flags.TC
    reply = client.ask("big.lab.example", "TXT", tcp=True)
    assert len(reply.answer) == 40 and not reply.flags & dns.flags.TC


def test_reply_flags(client, millraced):
    reply = client.ask("shared.lab.example", use_edns=0)
    assert reply.flags & dns.flags.QR and reply.flags & dns.flags.RA and reply.flags & dns.flags.RD
    assert not reply.flags & (dns.flags.AA | dns.flags.TC | dns.flags.AD)
    assert reply.edns == 0
    assert client.ask("shared.lab.example").edns == -1


def test_names_keep_their_own_addresses(client, millraced):
    """Many names under way at once; each gets its own address."""
    with client.socket() as s:
        names = [f"host-{i}.lab.example" for i in range(0, HOSTS, 50)]
        found = ask_all(s, names)
    assert found == {name: [f"198.19.{i >> 8}.{i & 255}"] for i, name in zip(range(0, HOSTS, 50), names)}


def ask_all(s, names):
    """Sends all queries, then collects the replies; lost ones are asked again."""
    missing, found = set(names), {}
    for _ in range(3):
        for name in missing:
            s.send(dns.message.make_query(name, "A").to_wire())
        s.settimeout(1)
        try:
            while missing:
                reply = dns.message.from_wire(s.recv(4096))
                name = reply.question[0].name.to_text(omit_final_dot=True)
                found[name] = addresses(reply)
                missing.discard(name)
        except TimeoutError:
            pass
    return found


def merged_entry(one, name):
    found = one.ctl("cache", "lookup", name, "A")
    return found if found.get("revision", 0) > 0 else None
