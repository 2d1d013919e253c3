"""The page for people, as a browser shows it."""

import json
import re
import subprocess
import urllib.request

import pytest

from conftest import NOBODY, loopback, socket_config
from support import Client, until

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def one(lab, daemon, upstreams):
    at = f"{loopback(lab)}:9154"
    run = daemon(socket_config(lab, [upstreams[0].endpoint], metrics={"listen": at}), NOBODY)
    run.http = f"http://{at}"
    return run


def figures(one):
    with urllib.request.urlopen(f"{one.http}/status.json", timeout=30) as reply:
        assert reply.headers["Content-Type"] == "application/json"
        return json.loads(reply.read())


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
