"""Addresses of answers are probed, and the best served first: real listeners, at distances of the test's making.

Distances differ by far more than a busy machine adds to them; and what a busy moment has measured wrongly is asked
and measured again until the order is there."""

import pytest

from conftest import NOBODY, loopback, socket_config
from distance import Distance
from lab.children import run
from lab.daemon import write_config
from support import Client, until
from upstream import Script

pytestmark = pytest.mark.timeout(120)
NAME = "ranked.script.example."
FAST, MIDDLE, SLOW = 0.002, 0.12, 0.4
HTTPS, HTTP = 443, 80


@pytest.fixture
def far(lab):
    with Distance(lab.names.number) as distance:
        yield distance


@pytest.fixture
def client(lab):
    return Client(loopback(lab), 5300)


@pytest.fixture
def start(lab, daemon, upstreams, far):
    """Starts millraced on the first `servers` scripted servers; `ranking` as in its configuration."""

    def start_one(ranking, servers=1, prefix=NOBODY, **config):
        return daemon(configured(lab, upstreams[:servers], ranking, **config), prefix)

    return start_one


def configured(lab, upstreams, ranking, **config):
    more = {"merge": {"policy": "order"}, **config}
    if ranking is not None:
        more["ranking"] = ranking
    return socket_config(lab, [upstream.endpoint for upstream in upstreams], **more)


def ports(far, **more):
    return {"ports": [HTTPS], "cache": "1s", "allow": [far.prefix], **more}


def tell(upstream, addresses, name=NAME):
    upstream.scripts[name] = Script(tuple(f"{name} 300 IN A {address}" for address in addresses))


def served(client, name=NAME):
    """The addresses in the order of the reply."""
    return [record.address for rrset in client.ask(name).answer for record in rrset]


def becomes(one, client, expected, name=NAME, seconds=30):
    """The name is asked afresh, and measured afresh, until it is served so, twice."""
    def is_so():
        one.ctl("cache", "flush", name)
        client.ask(name)
        until(lambda: one.ctl("status")["fetches"] == 0)
        return served(client, name) == served(client, name) == expected
    assert until(is_so, seconds), f"{served(client, name)}, {one.ctl('rank', name)}"
    return True


def three(far):
    """Slow, dead, fast and middle, in this order."""
    slow, dead, fast, middle = (far.address(host) for host in (2, 3, 4, 5))
    far.round_trips.update({slow: SLOW, fast: FAST, middle: MIDDLE})
    for host in (2, 3, 4, 5):
        far.listen(host, HTTPS)
    return slow, dead, fast, middle


@pytest.mark.quick
def test_the_order_served_is_the_order_measured_and_a_dead_address_sinks(start, build, client, far, upstreams):
    slow, dead, fast, middle = three(far)
    tell(upstreams[0], (slow, dead, fast, middle))
    one = start(ports(far))
    assert served(client) == [slow, dead, fast, middle], "nobody waits for the order"
    assert becomes(one, client, [fast, middle, slow, dead])
    assert one.ctl("cache", "lookup", NAME, "A")["revision"] == 2
    known = {row["address"]: row for row in one.ctl("rank", NAME)["addresses"]}
    assert list(known) == [fast, middle, slow, dead]
    assert [known[a]["state"] for a in known] == ["measured"] * 3 + ["dead"]
    assert known[slow]["srtt_ms"] >= 1000 * SLOW * 0.9 and "srtt_ms" not in known[dead]
    assert known[dead]["failures"] >= 1 and known[fast]["failures"] == 0
    assert known[fast]["last_port"] == HTTPS and known[fast]["probes"] >= 1 and known[fast]["age_s"] >= 0
    text = run([build / "millracectl", "--socket", one.socket, "rank", NAME]).stdout
    assert [line.split()[0] for line in text.splitlines()[-4:]] == [fast, middle, slow, dead], text
    ranking = one.ctl("stats")["ranking"]
    assert ranking["ordered"] >= 1 and ranking["failed"] >= 1 and ranking["answered"] >= 3
    assert ranking["probes"] >= sum(far.probes.values()) > 0


def test_it_follows_when_the_distances_change(start, client, far, upstreams):
    slow, dead, fast, middle = three(far)
    tell(upstreams[0], (middle, dead, fast))
    one = start(ports(far))
    assert becomes(one, client, [fast, middle, dead])
    far.round_trips.update({dead: FAST, fast: None, middle: SLOW})
    assert becomes(one, client, [dead, middle, fast])


def test_a_union_is_ordered_and_no_longer_rotates(start, client, far, upstreams):
    slow, dead, fast, middle = three(far)
    for upstream, address in zip(upstreams, (slow, middle, fast)):
        tell(upstream, [address])
    one = start(ports(far), servers=3, merge={"policy": "union"}, cache={"rotate": True})
    assert becomes(one, client, [fast, middle, slow])


def test_by_default_nobody_is_probed(start, client, far, upstreams):
    slow, dead, fast, middle = three(far)
    tell(upstreams[0], (slow, dead, fast, middle))
    one = start(None)
    for _ in range(3):
        assert served(client) == [slow, dead, fast, middle]
    assert until(lambda: one.ctl("status")["fetches"] == 0)
    assert not far.probes and one.ctl("stats")["ranking"]["probes"] == 0
    assert one.ctl("cache", "lookup", NAME, "A")["revision"] == 0


def test_special_use_addresses_are_not_probed_unless_allowed(lab, start, client, far, upstreams):
    slow, dead, fast, middle = three(far)
    tell(upstreams[0], (slow, dead, fast, middle))
    one = start(ports(far, allow=[]))
    served(client)
    assert until(lambda: one.ctl("status")["fetches"] == 0)
    assert not far.probes and one.ctl("stats")["ranking"]["special"] == 4
    assert {row["state"] for row in one.ctl("rank", NAME)["addresses"]} == {"never probed"}
    write_config(one.config, {**configured(lab, upstreams[:1], ports(far)), "control": {"socket": str(one.socket)}})
    assert one.ctl("config", "reload")["changed"] == ["ranking"]
    assert becomes(one, client, [fast, middle, slow, dead])


def test_what_refuses_is_tried_on_the_next_port(start, client, far, upstreams):
    first, second = far.address(6), far.address(7)
    far.round_trips.update({first: MIDDLE, second: FAST})
    far.listen(6, HTTPS)
    far.listen(7, HTTP)
    tell(upstreams[0], (first, second))
    one = start(ports(far, ports=[HTTPS, HTTP]))
    assert becomes(one, client, [second, first])
    assert far.probes[second, HTTPS] and far.probes[second, HTTP]
    ports_of = {row["address"]: row["last_port"] for row in one.ctl("rank", NAME)["addresses"]}
    assert ports_of[second] == HTTP


def test_refused_everywhere_is_dead(start, client, far, upstreams):
    closed, open_one = far.address(8), far.address(9)
    far.round_trips.update({closed: FAST, open_one: MIDDLE})
    far.listen(9, HTTPS)
    tell(upstreams[0], (closed, open_one))
    assert becomes(start(ports(far)), client, [open_one, closed])


def test_the_best_are_left(start, client, far, upstreams):
    slow, dead, fast, middle = three(far)
    tell(upstreams[0], (slow, dead, fast, middle))
    assert becomes(start(ports(far, **{"max-addresses": 2})), client, [fast, middle])


def test_what_is_known_is_not_probed_again(start, client, far, upstreams):
    slow, dead, fast, middle = three(far)
    others = "others.script.example."
    tell(upstreams[0], (slow, fast, middle))
    tell(upstreams[0], (middle, fast), others)
    one = start(ports(far, cache="1h"))
    for name in (NAME, others):
        client.ask(name)
        assert until(lambda: one.ctl("status")["fetches"] == 0)
        assert until(lambda: sum(far.probes.values()) == one.ctl("stats")["ranking"]["probes"] == 3)
    ranking = one.ctl("stats")["ranking"]
    assert ranking["rankings"] == ranking["ordered"] == 2 and ranking["cached"] == 2


def test_the_rate_is_kept(start, client, far, upstreams):
    slow, dead, fast, middle = three(far)
    tell(upstreams[0], (slow, fast, middle))
    one = start(ports(far, rate=1))
    served(client)
    assert until(lambda: one.ctl("status")["fetches"] == 0)
    ranking = one.ctl("stats")["ranking"]
    assert ranking["probes"] == 1 and ranking["limited"] == 2
    states = [row["state"] for row in one.ctl("rank", NAME)["addresses"]]
    assert states.count("unknown") == 2, "what a limit keeps back is not dead"


def test_by_echo_where_the_process_may(start, client, far, upstreams):
    """As root; no port is open."""
    first, second, dead = (far.address(host) for host in (10, 11, 12))
    far.round_trips.update({first: MIDDLE, second: FAST})
    tell(upstreams[0], (dead, first, second))
    one = start(ports(far, ports=[], icmp=True), prefix=())
    assert becomes(one, client, [second, first, dead])
    assert far.probes[second, 0] and one.ctl("rank", NAME)["addresses"][0]["last_port"] == "icmp"


@pytest.mark.parametrize("words", [["rank"], ["rank", "a..example"], ["rank", "a.example", "A"]], ids=" ".join)
def test_wrong_questions(start, words):
    one = start(None)
    done = one.ctl_process(*words)
    assert done.returncode in (1, 2) and done.stdout.strip()
    assert one.ctl("rank", "unheard.example") == {"addresses": []}
