"""The running configuration shown, changed, compared and saved by verbs; the lists that have verbs of their own."""

import os

import dns.rcode
import pytest

from conftest import NOBODY, loopback, socket_config
from lab.children import run
from support import addresses, until
from upstream import tell_apart

NAME = "verbs.script.example."
COMMENT = "# what the operator wrote\n"


@pytest.fixture
def one(lab, daemon, upstreams):
    tell_apart(upstreams, NAME)
    for upstream in upstreams:
        upstream.scripts["below." + NAME] = upstream.scripts[NAME]
    started = daemon(socket_config(lab, [upstreams[0].endpoint]), NOBODY)
    started.config.write_text(COMMENT + started.config.read_text(encoding="utf-8"), encoding="utf-8")
    started.ctl("config", "reload")
    return started


def refused(one, *words):
    done = one.ctl_process(*words)
    assert done.returncode == 1, done.stdout
    return done.stdout


@pytest.mark.quick
def test_a_value_is_set_shown_compared_and_saved(one):
    assert one.ctl("status")["config"] == {"file": str(one.config), "unsaved": False, "edits": []}
    done = one.ctl("config", "set", "cache.stale", "5s")
    assert done["changed"] == ["cache.stale"] and done["unsaved"] is True and done["value"] == "5s"
    assert one.ctl("config", "show", "cache.stale") == {"cache.stale": "5s"}
    assert "stale: 5s\n" in one.ctl("config", "show")["config"]
    assert one.ctl("config", "diff")["differences"] == [{"key": "cache.stale", "running": "5s", "file": "1d"}]
    assert one.ctl("status")["config"]["unsaved"] is True and one.ctl("status")["config"]["edits"] == ["cache.stale"]
    os.chown(one.config, 65534, 65534)
    one.config.chmod(0o640)
    assert one.ctl("config", "save") == {"file": str(one.config), "saved": 1}
    text = one.config.read_text(encoding="utf-8")
    assert text.startswith(COMMENT) and text.endswith("cache: {stale: 5s}\n")
    assert one.config.stat().st_mode & 0o777 == 0o640 and one.config.stat().st_uid == 65534
    assert one.ctl("status")["config"]["unsaved"] is False and one.ctl("config", "diff")["differences"] == []
    assert one.ctl("config", "reload") == {"reloaded": True, "changed": [], "needs_restart": []}


def test_what_is_shown_is_what_check_prints(one, build):
    one.ctl("config", "set", "fanout.active", "1")
    shown = run([build / "millracectl", "--socket", one.socket, "config", "show"])
    other = one.folder / "shown.yaml"
    other.write_text(shown.stdout, encoding="utf-8")
    printed = run([build / "millraced", "--check", "--config", other])
    assert printed.returncode == 0 and printed.stdout == shown.stdout and "active: 1\n" in shown.stdout


def test_a_reload_drops_what_was_set(one):
    one.ctl("config", "set", "cache.stale", "5s")
    one.ctl("config", "set", "cache.prefetch", "9")
    done = one.ctl("config", "reload")
    assert done["edits_dropped"] == 2 and done["changed"] == ["cache.stale", "cache.prefetch"]
    assert one.ctl("config", "show", "cache.prefetch") == {"cache.prefetch": "1"}


def test_what_is_wrong_changes_nothing_and_says_why(one):
    assert "expected a duration from 0s to 7d" in refused(one, "config", "set", "cache.stale", "5lightyears")
    assert "an unknown key" in refused(one, "config", "set", "cash.stale", "5s")
    assert "cache.entries needs a restart" in refused(one, "config", "set", "cache.entries", "5000")
    assert "no key" in refused(one, "config", "set", "cache..stale", "5s")
    assert "there is no key" in refused(one, "config", "show", "nothing")
    assert one.ctl("config", "diff")["differences"] == []


def test_a_save_that_cannot_be_says_what_to_write_by_hand(one, build):
    one.ctl("config", "set", "cache.stale", "5s")
    before = one.config.read_text(encoding="utf-8")
    said = one.ctl("config", "save")  # the file is root's, the daemon nobody
    assert "cannot be given to its owner" in said["error"] and said["by_hand"] == ["cache.stale: 5s"]
    one.config.write_text(before + "# another hand\n", encoding="utf-8")
    text = run([build / "millracectl", "--socket", one.socket, "config", "save"])
    assert text.returncode == 1 and "has been changed since it was read" in text.stdout and "  cache.stale: 5s\n" in text.stdout
    assert one.config.read_text(encoding="utf-8") == before + "# another hand\n"
    assert [f.name for f in one.folder.iterdir() if f.name.startswith("millrace.yaml")] == ["millrace.yaml"]


def test_the_file_is_checked_and_nothing_put_in_place(one, build, tmp_path):
    assert one.ctl("config", "check")["valid"] is True
    good = one.config.read_text(encoding="utf-8")
    one.config.write_text(good + "cache: {stale: 5lightyears}\n", encoding="utf-8")
    assert f"{one.config}:" in refused(one, "config", "check") and "cache.stale" in refused(one, "config", "diff")
    other = tmp_path / "other.yaml"
    other.write_text(good, encoding="utf-8")
    assert one.ctl("config", "check", str(other)) == {"file": str(other), "valid": True, "warnings": [], "lists": []}
    other.write_text("upstreams: []\n", encoding="utf-8")
    alone = run([build / "millracectl", "--socket", "/nowhere", "config", "check", other])
    assert alone.returncode == 1 and f"{other}:1: upstreams" in alone.stdout


def test_who_may_ask(one, lab, local):
    mine = loopback(lab)
    assert addresses(local.ask(NAME)) == ["192.0.2.1"]
    assert one.ctl("acl", "test", mine)["by"] == ["127.0.0.0/8 (allow[0])"]
    assert one.ctl("acl", "add", "192.0.2.0/24")["changed"] == ["allow"]
    one.ctl("acl", "remove", "127.0.0.0/8")
    assert local.ask(NAME).rcode() == dns.rcode.REFUSED
    assert one.ctl("acl", "list")["allow"] == ["192.0.2.0/24"]
    assert one.ctl("acl", "test", mine) == {"address": mine, "allowed": False, "by": []}
    assert "acl list" in refused(one, "acl", "remove", "127.0.0.0/8")
    assert "not changed" in refused(one, "acl", "add", "192.0.2.1/24")
    one.ctl("acl", "add", "127.0.0.0/8")
    assert local.ask(NAME).rcode() == dns.rcode.NOERROR


def test_the_default_list_is_written_out_when_it_is_added_to(lab, daemon, nsd):
    config = socket_config(lab, nsd)
    del config["allow"]
    one = daemon(config, NOBODY)
    one.ctl("acl", "add", "192.0.2.0/24")
    assert one.ctl("acl", "list")["allow"][0] == "127.0.0.0/8" and one.ctl("acl", "list")["allow"][-1] == "192.0.2.0/24"
    one.ctl("config", "reload")
    one.ctl("acl", "remove", "10.0.0.0/8")
    assert "10.0.0.0/8" not in one.ctl("acl", "list")["allow"] and "127.0.0.0/8" in one.ctl("acl", "list")["allow"]


def test_names_are_blocked_at_once(one, local):
    local.ask(NAME)
    assert one.ctl("block", "test", NAME) == {"name": NAME, "blocked": False, "action": "asked upstream"}
    one.ctl("block", "add", "Verbs.script.example")
    assert local.ask(NAME).rcode() == dns.rcode.NXDOMAIN, "what was cached is gone when it is acknowledged"
    assert local.ask("below." + NAME).rcode() == dns.rcode.NXDOMAIN
    assert one.ctl("block", "test", "below." + NAME) == {
        "name": "below." + NAME, "blocked": True, "action": "NXDOMAIN", "rule": NAME, "from": "block[0].names"}
    one.ctl("block", "add", "another.example")
    row = one.ctl("block", "list")["lists"][0]
    assert row["names"] == ["Verbs.script.example", "another.example"] and row["count"] == 2
    assert "already" in refused(one, "block", "add", NAME)
    one.ctl("block", "remove", NAME)
    assert addresses(local.ask(NAME)) == ["192.0.2.1"]
    one.ctl("block", "remove", "another.example")
    assert one.ctl("block", "list")["lists"] == [] and "block test" in refused(one, "block", "remove", "another.example")


def test_where_a_blocked_name_is_from(lab, daemon, nsd):
    one = daemon(socket_config(lab, nsd), NOBODY)
    listed = one.folder / "list.txt"
    listed.write_text("ads.example\nno..name\nads2.example\n", encoding="utf-8")
    listed.chmod(0o644)
    done = one.ctl("config", "set", "block", f'[{{file: "{listed}"}}]')
    assert done["lists"] == [{"file": str(listed), "names_before": 0, "names": 2, "skipped": 1}]
    assert one.ctl("block", "test", "x.ads.example")["from"] == str(listed)
    row = one.ctl("block", "list")["lists"][0]
    assert (row["count"], row["skipped"]) == (2, 1)
    assert one.ctl("block", "test", "localhost")["from"] == "local.special-names"
    assert one.ctl("block", "test", "localhost")["blocked"] is False


def test_records_of_our_own(one, local):
    one.ctl("local", "add", "router.lan. 300 IN A 192.0.2.77")
    one.ctl("local", "add", "router.lan.", "TXT", '"two  spaces"')
    assert addresses(local.ask("router.lan.")) == ["192.0.2.77"]
    assert local.ask("router.lan.", "TXT").answer[0][0].strings == (b"two  spaces",)
    assert one.ctl("local", "list")["records"] == ["router.lan. 300 IN A 192.0.2.77", 'router.lan. TXT "two  spaces"']
    assert one.ctl("block", "test", "router.lan")["from"] == "local.records"
    one.ctl("local", "remove", 'router.lan. TXT "two  spaces"')
    assert one.ctl("local", "list")["records"] == ["router.lan. 300 IN A 192.0.2.77"]
    one.ctl("local", "add", "router.lan. AAAA 2001:db8::1")
    one.ctl("local", "remove", "Router.LAN")
    assert one.ctl("local", "list")["records"] == [] and "local list" in refused(one, "local", "remove", "router.lan")
    assert "not changed" in refused(one, "local", "add", "no record")


def test_limits_are_shown_and_set(one):
    assert one.ctl("ratelimit", "show")["queries"] == 0
    assert one.ctl("ratelimit", "set", "queries", "500")["changed"] == ["limits"]
    assert one.ctl("ratelimit", "show")["queries"] == 500 and one.ctl("ratelimit", "show")["dry-run"] is False
    assert "limits.queries" in refused(one, "ratelimit", "set", "queries", "many")


def test_servers_come_and_go(one, local, upstreams):
    assert addresses(local.ask(NAME)) == ["192.0.2.1"]
    one.ctl("upstream", "add", upstreams[1].endpoint)
    one.ctl("upstream", "remove", upstreams[0].endpoint, "default")
    assert [row["address"] for row in one.ctl("upstream", "list")["upstreams"]] == [upstreams[1].endpoint]
    assert addresses(local.ask(NAME)) == ["192.0.2.2"], "the old one's answers went with it"
    assert "no group" in refused(one, "upstream", "add", upstreams[2].endpoint, "nowhere")
    assert "upstream list" in refused(one, "upstream", "remove", upstreams[2].endpoint)
    assert "not changed" in refused(one, "upstream", "remove", upstreams[1].endpoint), "the last one"
    assert until(lambda: addresses(local.ask(NAME)) == ["192.0.2.2"])


def test_a_server_comes_with_its_keys(one, upstreams):
    first, second, third = (upstream.endpoint for upstream in upstreams[:3])
    one.ctl("upstream", "add", second, "weight=3", "priority=2")
    one.ctl("upstream", "add", third, "default", "tcp-only=true", "trusted=true", "randomise-case=false")
    rows = {row["address"]: row for row in one.ctl("upstream", "list")["upstreams"]}
    assert [[rows[at][key] for key in ("weight", "priority", "tcp_only")] for at in (first, second, third)] == [
        [1, 0, False], [3, 2, False], [1, 0, True]]
    shown = one.ctl("config", "show", "upstreams[0].servers")["upstreams[0].servers"]
    assert f'address: "{third}", trusted: true, randomise-case: false' in shown
    one.ctl("upstream", "remove", second)
    one.ctl("upstream", "remove", third)
    for words, why in ((["weight=0"], "upstreams[0].servers[1].weight: expected a whole number from 1 to 1000"),
                       (["speed=3"], ": expected one of the keys address, trusted, randomise-case, priority, weight, tcp-only,"),
                       (["weight=3", "weight=4"], "'weight' is given twice"), ([f"address={third}"], "'address' is given twice"),
                       (["weight=3,priority"], "cannot be changed"), (["Weight=3"], "is no key"), (["default", "3"], "'3' is not KEY=VALUE"),
                       (["nowhere", "weight=3"], "'nowhere' is no group")):
        assert why in refused(one, "upstream", "add", second, *words)
    assert one.ctl("config", "diff")["differences"] == []


def test_log_level_and_cache_stats(one, local):
    assert one.ctl("log-level") == {"level": "info"}
    assert one.ctl("log-level", "error")["changed"] == ["log.level"]
    assert one.ctl("log-level") == {"level": "error"}
    lines = one.log.read_text(encoding="utf-8").count("\n")
    one.ctl("config", "set", "cache", "{stale: 0s, stale-answer: at-once}")  # which is warned of
    assert one.log.read_text(encoding="utf-8").count("\n") == lines
    one.ctl("log-level", "warning")
    one.ctl("config", "set", "ranking", "{max-addresses: 2}")
    said = one.log.read_text(encoding="utf-8")
    assert "ranking.max-addresses does nothing" in said and "stale-answer" not in said, "true before"
    assert "log.level: expected error or warning or info" in refused(one, "log-level", "debug")
    local.ask(NAME)
    local.ask(NAME)
    stats = one.ctl("cache", "stats")
    assert stats["entries"] >= 1 and stats["hits"] >= 1 and stats["misses"] >= 1 and 0 < stats["hit_ratio"] < 1
    assert stats["most_entries"] == 1_000_000 and stats["bytes"] <= stats["most_bytes"]
