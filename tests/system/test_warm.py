"""Names that are kept warm, and expired ones that are answered at once."""

import os
import time

import pytest

from conftest import NOBODY, loopback, socket_config
from support import Client, addresses, until
from upstream import Script


@pytest.fixture
def client(lab):
    return Client(loopback(lab), 5300)


@pytest.fixture
def start(lab, daemon, upstreams):
    def run(ready=True, **cache):
        return daemon(socket_config(lab, [upstreams[0].endpoint], cache=cache), NOBODY, ready)
    return run


@pytest.fixture
def names(lab):
    path = lab.folder / "warm.txt"
    path.write_text("# kept warm\nwarm1.example A\nwarm2.example\nno..name\n", encoding="ascii")
    os.chmod(path, 0o644)
    yield path
    path.unlink(missing_ok=True)


def is_warm(one):
    seen = one.ctl("status")["keep_warm"]
    return seen["waiting"] == 0 and seen["fresh"] == seen["questions"] > 0


@pytest.mark.quick
def test_after_a_restart_the_first_question_is_a_hit(start, client, upstreams, names):
    for _ in range(2):
        one = start(**{"keep-warm": str(names)})
        assert until(lambda one=one: is_warm(one))
        assert one.ctl("status")["keep_warm"]["questions"] == 3
        assert f"{names}:4: no name" in one.last_lines()
        asked = sum(upstreams[0].asked.values())
        assert addresses(client.ask("warm1.example.")) == ["192.0.2.200"]
        stats = one.ctl("stats")
        assert (stats["hits"], stats["misses"]) == (1, 0)
        assert sum(upstreams[0].asked.values()) == asked
        one.process.terminate()
        assert one.wait(20) == 0


def test_a_missing_file_is_an_error_and_a_reload_loses_nothing(start, names):
    one = start(**{"keep-warm": str(names)})
    assert until(lambda: is_warm(one))
    names.unlink()
    assert one.ctl("config", "reload") == {
        "error": f"{names}: cache.keep-warm: expected a readable file, found No such file or directory"}
    assert is_warm(one)
    other = start(ready=False, **{"keep-warm": str(names)})
    other.launch()
    assert other.wait(10) == 2
    assert f"{names}: cache.keep-warm: expected a readable file" in other.last_lines()


def test_expired_answers_at_once(start, client, upstreams):
    name = "atonce.script.example."
    upstreams[0].scripts[name] = Script((f"{name} 1 IN A 192.0.2.1",))
    one = start(**{"stale-answer": "at-once"})
    client.ask(name)
    assert until(lambda: one.ctl("cache", "lookup", name, "A").get("stale"))
    upstreams[0].scripts[name] = Script((f"{name} 300 IN A 192.0.2.2",), delay=1)
    begin = time.monotonic()
    reply = client.ask(name, use_edns=0)
    if time.monotonic() - begin < 1:  # else the machine is too slow to tell
        assert addresses(reply) == ["192.0.2.1"]
        assert reply.answer[0].ttl == 30 and int(reply.options[0].code) == 3
    assert until(lambda: addresses(client.ask(name)) == ["192.0.2.2"])
