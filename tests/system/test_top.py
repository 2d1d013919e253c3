"""millracectl top: which names, zones and clients make up most of the queries."""

import subprocess

import pytest

from conftest import BUILD, NOBODY, loopback, socket_config
from support import Client, Subscriber, until

pytestmark = pytest.mark.timeout(60)


def row(one, table, key, name):
    return next((row for row in one.ctl("top")[table] if row[key] == name), None)


def test_who_asks_most(lab, daemon, upstreams):
    one = daemon(socket_config(lab, [upstreams[0].endpoint]), NOBODY)
    often = Client(loopback(lab), 5300, bind=f"127.0.{lab.names.number}.9")
    for _ in range(30):
        often.ask("often.example.co.uk.")
    for i in range(5):
        Client(loopback(lab), 5300).ask(f"seldom{i}.example.", "AAAA", tcp=i == 4)
    assert until(lambda: len(one.ctl("top")["names"]) == 6)
    top = one.ctl("top")
    assert top["one_in"] == 1
    assert top["names"][0]["name"] == "often.example.co.uk. A"
    assert {row["name"] for row in top["names"][1:]} == {f"seldom{i}.example. AAAA" for i in range(5)}
    assert [row["zone"] for row in top["zones"]][0] == "example.co.uk."
    assert len(top["zones"]) == 6
    assert top["clients"][0]["client"] == f"127.0.{lab.names.number}.9"
    assert top["names"][0]["percent"] == pytest.approx(100 * 30 / 35, abs=0.1)
    assert len(one.ctl("top", "2")["names"]) == 2
    (asked,) = top["upstreams"]
    assert asked["upstream"] == f"{upstreams[0].endpoint} (default)" and asked["percent"] == 100
    assert asked["per_second"] == pytest.approx(upstreams[0].asked.total() / max(top["seconds"], 1), rel=0.5)


def test_on_a_polling_lcore(lab, port):
    subscriber = Subscriber(lab)
    for _ in range(3):
        subscriber.ask("shared.lab.example")
    assert until(lambda: row(port, "names", "name", "shared.lab.example. A"))


def test_what_is_no_number_of_rows(lab, daemon, upstreams):
    one = daemon(socket_config(lab, [upstreams[0].endpoint]), NOBODY)
    for rows in ("0", "257", "x"):
        done = one.ctl_process("top", rows)
        assert done.returncode == 1 and "usage: top [ROWS], 1 to 256" in done.stdout, done.stdout
    text = subprocess.run([BUILD / "millracectl", "--socket", one.socket, "top"], capture_output=True, text=True, check=True).stdout
    assert "per_second" in text
