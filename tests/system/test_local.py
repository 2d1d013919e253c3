"""What is answered without asking anybody: special-use names, the operator's records, block lists; on both kinds of port."""

import json
import pathlib
import threading
import time

import dns.edns
import dns.rcode
import dns.rdatatype
import pytest

from conftest import LCORE, loopback, socket_config
from lab.daemon import write_config, xdp_config
from support import Client, Subscriber, addresses, is_sanitized, until

ZONE = """\
$TTL 60
@ SOA localhost. root 1 2 3 4 5
  NS localhost.
host-1.lab.example CNAME .
*.host-1.lab.example CNAME .
host-2.lab.example CNAME *.
wild.lab.example CNAME .
*.wild.lab.example CNAME .
good.wild.lab.example CNAME rpz-passthru.
host-5.lab.example A 192.0.2.5
host-6.lab.example CNAME host-7.lab.example.
chain-1.lab.example CNAME .
split-1.lab.example CNAME host-8.lab.example.
"""
LOCAL = {"version": "of the test", "id": "box", "records": ["router.lan. 300 A 192.168.1.1", "www.lan. CNAME router.lan.",
                                                             "to-lab.lan. CNAME host-9.lab.example."],
         "forward": ["host-3.lab.example"]}


@pytest.fixture(params=["port", "sockets"])
def front(request, lab, daemon, nsd, tmp_path):
    """Starts millraced with lists; gives the daemon, a client, and what writes its configuration anew."""
    folder = pathlib.Path("/tmp") / f"millrace-lists-{lab.names.number}"
    folder.mkdir(exist_ok=True)
    (folder / "rpz").write_text(ZONE)
    (folder / "names").write_text("host-3.lab.example\nhost-4.lab.example\n")

    def config(**more):
        more = {"local": LOCAL, "block": [{"file": str(folder / "rpz"), "format": "rpz"},
                                          {"file": str(folder / "names"), "reason": "filtered"}], **more}
        return xdp_config(lab.names, nsd[:1], LCORE, **more) if request.param == "port" else socket_config(
            lab, nsd[:1], **more)

    one = daemon(config())
    client = Subscriber(lab) if request.param == "port" else Client(loopback(lab), 5300)

    def rewrite(**more):
        write_config(one.config, {**config(**more), "control": {"socket": str(one.socket)}})

    yield one, client, rewrite, folder
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def errors(reply):
    return [option.code for option in reply.options if option.otype == dns.edns.EDE]


ROWS = [
    # name, type, rcode, addresses or other data, extended error
    ("localhost", "A", "NOERROR", ["127.0.0.1"], None),
    ("a.b.localhost", "AAAA", "NOERROR", ["::1"], None),
    ("x.invalid", "A", "NXDOMAIN", [], None),
    ("x.test", "A", "NXDOMAIN", [], None),
    ("printer.local", "A", "NXDOMAIN", [], None),
    ("x.onion", "A", "NXDOMAIN", [], None),
    ("tv.home.arpa", "A", "NXDOMAIN", [], None),
    ("_dns.resolver.arpa", "SVCB", "NOERROR", [], None),
    ("1.0.0.10.in-addr.arpa", "PTR", "NXDOMAIN", [], None),
    ("1.0.0.127.in-addr.arpa", "PTR", "NOERROR", ["localhost."], None),
    ("router.lan", "A", "NOERROR", ["192.168.1.1"], None),
    ("router.lan", "TXT", "NOERROR", [], None),
    ("www.lan", "A", "NOERROR", ["router.lan.", "192.168.1.1"], None),
    ("to-lab.lan", "A", "NOERROR", ["host-9.lab.example.", "198.19.0.9"], None),
    ("host-1.lab.example", "A", "NXDOMAIN", [], 15),
    ("a.host-1.lab.example", "MX", "NXDOMAIN", [], 15),
    ("host-2.lab.example", "A", "NOERROR", [], 15),
    ("bad.wild.lab.example", "A", "NXDOMAIN", [], 15),
    ("good.wild.lab.example", "A", "NOERROR", ["192.0.2.99"], None),
    ("host-3.lab.example", "A", "NOERROR", ["198.19.0.3"], None),
    ("host-4.lab.example", "A", "NXDOMAIN", [], 17),
    ("host-5.lab.example", "A", "NOERROR", ["192.0.2.5"], 15),
    ("host-5.lab.example", "AAAA", "NOERROR", [], 15),
    ("host-6.lab.example", "A", "NOERROR", ["host-7.lab.example.", "198.19.0.7"], 15),
    ("chain.lab.example", "A", "NXDOMAIN", ["chain-1.lab.example."], 15),
    ("split.lab.example", "A", "NOERROR", ["split-1.lab.example.", "host-8.lab.example.", "198.19.0.8"], 15),
    ("host-10.lab.example", "A", "NOERROR", ["198.19.0.10"], None),
]


@pytest.mark.quick
def test_rows(front):
    one, client, _, _ = front
    for again in (False, True):  # from the upstream, then from the cache
        for tcp in (False, True):
            for name, qtype, rcode, data, error in ROWS:
                reply = client.ask(name, qtype, tcp=tcp, use_edns=0)
                what = f"{name} {qtype}{' over TCP' if tcp else ''}{' again' if again else ''}\n{reply}"
                assert dns.rcode.to_text(reply.rcode()) == rcode, what
                assert [rdata.to_text() for rrset in reply.answer for rdata in rrset] == data, what
                assert errors(reply) == ([error] if error else []), what
                denied = not data or rcode == "NXDOMAIN"
                assert [rrset.rdtype for rrset in reply.authority] == ([dns.rdatatype.SOA] if denied else []), what
    for name in ("version.bind", "version.server"):
        assert client.ask(name, "TXT", rdclass="CH").answer[0][0].to_text() == '"of the test"'
    for name in ("id.server", "hostname.bind"):
        assert client.ask(name, "TXT", rdclass="CH").answer[0][0].to_text() == '"box"'
    assert client.ask("authors.bind", "TXT", rdclass="CH").rcode() == dns.rcode.REFUSED
    stats = one.ctl("stats")
    assert stats["local"] > 0 and stats["blocked"] > 0 and stats["chains_blocked"] == 2 and stats["aliased"] > 0
    assert stats["received"] == (stats["answered"] + stats["misses"] + stats["refused"]
                                 + sum(stats["dropped"].values()))


def test_a_reload_swaps_the_lists_and_spares_what_they_do_not_concern(front):
    one, client, rewrite, folder = front
    for name in ("host-10.lab.example", "chain.lab.example", "host-6.lab.example", "host-4.lab.example"):
        client.ask(name)
    (folder / "rpz").write_text("@ SOA a. b. 1 2 3 4 5\nhost-11.lab.example CNAME .\n")
    (folder / "names").write_text("chain-2.lab.example\n")
    done = one.ctl("config", "reload")
    assert done["changed"] == []
    assert done["lists"] == [{"file": f"{folder}/rpz", "names_before": 10, "names": 1, "skipped": 0},
                             {"file": f"{folder}/names", "names_before": 1, "names": 1, "skipped": 0}], \
        "host-3 is forwarded"
    asked = one.ctl("stats")["upstream_queries"]
    assert client.ask("host-10.lab.example").answer and one.ctl("stats")["upstream_queries"] == asked, "still cached"
    assert addresses(client.ask("host-4.lab.example")) == ["198.19.0.4"]
    assert addresses(client.ask("host-6.lab.example")) == ["198.19.0.6"]
    assert client.ask("host-11.lab.example").rcode() == dns.rcode.NXDOMAIN
    chain = client.ask("chain.lab.example")
    assert chain.rcode() == dns.rcode.NXDOMAIN and len(chain.answer) == 2, "blocked at its second link now"
    rewrite(local={}, block=[])
    assert one.ctl("config", "reload")["changed"] == ["local", "block"]
    assert addresses(client.ask("chain.lab.example")) == ["192.0.2.41"]
    assert client.ask("version.bind", "TXT", rdclass="CH").rcode() == dns.rcode.REFUSED


def test_a_bad_list_changes_nothing_and_says_where(front):
    one, client, rewrite, folder = front
    (folder / "rpz").write_text("\n\n$INCLUDE /etc/passwd\n\n")
    done = one.ctl_process("config", "reload")
    assert done.returncode != 0 and f"{folder}/rpz:3: expected the SOA of a response policy zone" in done.stdout
    assert client.ask("host-1.lab.example").rcode() == dns.rcode.NXDOMAIN
    rewrite(block=[{"file": "/nowhere"}])
    assert "/nowhere: expected a readable file" in one.ctl_process("config", "reload").stdout
    assert client.ask("host-1.lab.example").rcode() == dns.rcode.NXDOMAIN


def test_a_line_that_is_no_name_is_skipped_and_logged(front):
    one, client, _, folder = front
    (folder / "names").write_text("\ufefffe80::1%lo0 localhost\r\n||host-4.lab.example^\r\n<html>\r\nb\xfccher.lab.example\r\n",
                                  encoding="utf-8")
    assert one.ctl("config", "check")["lists"] == [
        {"file": f"{folder}/rpz", "names": 10, "skipped": 0},
        {"file": f"{folder}/names", "names": 2, "skipped": 1, "first_skipped": f'{folder}/names:3: no name: "<html>"'}]
    done = one.ctl("config", "reload")
    assert done["reloaded"] and [row["skipped"] for row in done["lists"]] == [1]
    assert f"{folder}/names: 2 names, 1 lines skipped:" in one.last_lines()
    assert f'{folder}/names:3: no name: "<html>"' in one.last_lines()
    for name in ("host-4.lab.example", "xn--bcher-kva.lab.example"):
        assert client.ask(name).rcode() == dns.rcode.NXDOMAIN


def test_a_record_that_is_none_is_skipped_and_logged(front):
    one, client, _, folder = front
    (folder / "rpz").write_text("@ SOA a. b. 1 2 3 4 5\n\nhost-1.lab.example A 1.2\nhost-4.lab.example CNAME .\n")
    assert one.ctl("config", "reload")["reloaded"]
    assert f"{folder}/rpz: 1 names, 1 lines skipped:" in one.last_lines()
    assert f"{folder}/rpz:3: no record (" in one.last_lines()
    assert client.ask("host-4.lab.example").rcode() == dns.rcode.NXDOMAIN


def test_a_name_that_passes_does_so_with_its_whole_chain(front):
    one, client, rewrite, folder = front
    assert client.ask("chain.lab.example").rcode() == dns.rcode.NXDOMAIN
    (folder / "pass").write_text("@ SOA a. b. 1 2 3 4 5\nchain.lab.example CNAME rpz-passthru.\n")
    rewrite(block=[{"file": str(folder / "rpz"), "format": "rpz"}, {"file": str(folder / "pass"), "format": "rpz"}])
    assert one.ctl("config", "reload")["reloaded"]
    assert addresses(client.ask("chain.lab.example")) == ["192.0.2.41"]
    rewrite(local={**LOCAL, "forward": ["split.lab.example"]})
    assert one.ctl("config", "reload")["reloaded"]
    assert client.ask("chain.lab.example").rcode() == dns.rcode.NXDOMAIN
    answer = client.ask("split.lab.example").answer
    assert "split-1.lab.example." in answer[0].to_text() and "host-8" not in str(answer)


def test_a_million_names_are_swapped_while_clients_ask(front):
    one, client, _, folder = front
    count = 100_000 if is_sanitized(one) else 1_000_000
    (folder / "names").write_text("".join(f"n{i}.blocked.example\n" for i in range(count)))
    wrong, asked, stop = [], 0, threading.Event()

    def ask():
        nonlocal asked
        while not stop.is_set():
            if addresses(client.ask("host-10.lab.example")) != ["198.19.0.10"]:
                wrong.append("host-10")
            if client.ask("host-1.lab.example").rcode() != dns.rcode.NXDOMAIN:
                wrong.append("host-1")
            asked += 1

    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(2):
        assert one.ctl("config", "reload")["reloaded"]
    stop.set()
    thread.join()
    assert not wrong and asked > 10
    assert client.ask("x.n99999.blocked.example").rcode() == dns.rcode.NXDOMAIN
    assert one.ctl("status")["local"]["names"] > count
    (folder / "names").write_text("")
    assert one.ctl("config", "reload")["reloaded"]
    assert until(lambda: one.ctl("status")["cache"]["limbo_bytes"] < 1 << 20), "the million is freed"
