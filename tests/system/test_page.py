"""The page for people, as a browser shows it."""

import contextlib
import itertools
import json
import re
import subprocess
import threading
import urllib.error
import urllib.request

import dns.message
import pytest

from conftest import NOBODY, loopback, socket_config
from support import Client, namespace, until
from upstream import Script

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def one(lab, daemon, upstreams):
    at = f"{loopback(lab)}:9154"
    run = daemon(socket_config(lab, [upstreams[0].endpoint], metrics={"listen": at}), NOBODY)
    run.http = f"http://{at}"
    return run


def status_json(one, **headers):
    with urllib.request.urlopen(urllib.request.Request(f"{one.http}/status.json", headers=headers), timeout=30) as reply:
        assert reply.headers["Content-Type"] == "application/json"
        return reply.read().decode()


def figures(one):
    return json.loads(status_json(one))


def shown(one, folder, *options):
    """The text of the page once its script has run."""
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}", "--virtual-time-budget=5000",
         *options, "--dump-dom", one.http + "/"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def text_of(markup):
    return re.sub(r"<[^>]*>", " ", re.sub(r"<(script|style)>.*?</\1>", "", markup, flags=re.DOTALL))


def test_figures(one, lab):
    client = Client(loopback(lab), 5300)
    for _ in range(3):
        client.ask("seen.example.")
    assert until(lambda: figures(one)["top"]["names"])
    seen = figures(one)
    assert seen["status"]["version"] and seen["status"]["workers"][0]["received"] == 3
    assert seen["top"]["names"][0]["name"] == "seen.example. A"
    assert seen["history"]["step_s"] == 5
    assert seen["inflight"]["fetches"] == []
    assert until(lambda: figures(one)["history"]["points"], 30), "a point for each step"
    assert set(figures(one)["history"]["points"][0]) == {"queries", "misses", "miss_p50_ms", "miss_p99_ms"}


def test_they_are_for_who_asks_by_address(one):
    """Who is led here by a name of somebody else's says that name (DNS rebinding)."""
    for host in ("evil.example", "evil.example:9154"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            status_json(one, Host=host)
        assert refused.value.code == 403
    for headers in ({}, {"Host": "localhost:9154"}):
        assert "status" in json.loads(status_json(one, **headers))


def test_at_the_default_address_no_names_and_clients_are_in_it(lab, daemon, upstreams):
    """In a namespace, as another daemon may have that port."""
    config = socket_config(lab, [upstreams[0].endpoint], listen=["127.0.0.1:5300"], metrics={"listen": "127.0.0.1:9153"})
    one = daemon(config, ["ip", "netns", "exec", lab.names.namespace, *NOBODY])
    one.http = "http://127.0.0.1:9153"
    with namespace(lab.names.namespace):
        Client("127.0.0.1", 5300, bind="127.0.0.77").ask("secret.localhost.")
        assert until(lambda: one.ctl("top")["names"])
        text = status_json(one)
    assert "secret" not in text and "127.0.0.77" not in text
    assert set(json.loads(text)) == {"status", "history"}


@contextlib.contextmanager
def slow_questions(lab, upstream, delay):
    """Ten new names a second, for each of which the upstream takes so long."""
    ends = threading.Event()

    def ask():
        with Client(loopback(lab), 5300).socket() as s:
            for i in itertools.count():
                name = f"slow{i}.example."
                upstream.scripts[name] = Script((f"{name} 300 IN A 192.0.2.1",), delay=delay)
                s.send(dns.message.make_query(name, "A").to_wire())
                if ends.wait(0.1):
                    return

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()


def test_a_browser_shows_what_is_slow(one, lab, upstreams, tmp_path):
    def is_drawn():
        times = [point["miss_p50_ms"] for point in figures(one)["history"]["points"]]
        return any(first and second for first, second in itertools.pairwise(times))

    with slow_questions(lab, upstreams[0], 1):
        assert until(is_drawn, 90), "two points make a line"
        page = shown(one, tmp_path / "chromium")
    text = text_of(page)
    assert "nothing is being asked" not in text and re.search(r"slow\d+\.example\. A", text[text.index("In flight"):])
    assert page.count("<polyline") >= 4 and re.search(r"\d+ (s|min) ago", text)
    seen = figures(one)
    times = [p[key] for p in seen["history"]["points"] for key in ("miss_p50_ms", "miss_p99_ms") if p[key]]
    times.append(seen["status"]["upstreams"][0]["srtt_ms"])
    assert all(500 < time < 10_000 for time in times), "milliseconds, of what takes a second"
    tile = re.search(r"<b>([\d.]+) ms</b><span[^>]*>misses, p99", page)
    assert tile and 500 < float(tile[1]) < 10_000


def test_a_browser_shows_it(one, lab, upstreams, tmp_path):
    """Names are the choice of whoever asks: what would be markup is shown, not taken for it."""
    client = Client(loopback(lab), 5300)
    client.ask("<img\\032src=x\\032onerror=document.title='taken'>.example.")
    assert until(lambda: figures(one)["top"]["names"])
    page = shown(one, tmp_path / "chromium")
    text = text_of(page)
    assert "<title>! Millrace</title>" in page or "<title>Millrace</title>" in page
    assert "&lt;img" in page and "<img" not in page
    assert upstreams[0].endpoint in text and f"{loopback(lab)}:5300" in text
    assert "cached answers" in text and "cannot be reached" not in text
    assert page.count("<table") >= 5 and "nothing is being asked" in text


def test_it_needs_nothing_from_elsewhere(one):
    with urllib.request.urlopen(one.http + "/", timeout=30) as reply:
        page = reply.read().decode()
    assert "default-src 'none'" in page
    assert not re.search(r"""(?:src|href)\s*=|https?://(?!www\.w3\.org/2000/svg)|@import|url\(""", page)
