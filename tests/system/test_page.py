"""The page for people, as a browser shows it."""

import contextlib
import html
import http.server
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


def shown(address, folder):
    """The page once its script has run."""
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}", "--virtual-time-budget=5000",
         "--dump-dom", address], capture_output=True, text=True, timeout=120, check=False)
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
    assert set(figures(one)["history"]["points"][0]) == {"queries", "misses", "hit_p50_us", "hit_p99_us", "miss_p50_ms", "miss_p99_ms"}


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
def questions(lab, name_of):
    """Ten a second, of each the name."""
    ends = threading.Event()

    def ask():
        with Client(loopback(lab), 5300).socket() as s:
            for i in itertools.count():
                s.send(dns.message.make_query(name_of(i), "A").to_wire())
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
    def slow(i):
        name = f"slow{i}.example."
        upstreams[0].scripts[name] = Script((f"{name} 300 IN A 192.0.2.1",), delay=1)
        return name

    def is_drawn():
        times = [point["miss_p50_ms"] for point in figures(one)["history"]["points"]]
        return any(first and second for first, second in itertools.pairwise(times))

    with questions(lab, slow):
        assert until(is_drawn, 90), "two points make a line"
        page = shown(one.http + "/", tmp_path / "chromium")
    text = text_of(page)
    assert "nothing is being asked" not in text and re.search(r"slow\d+\.example\. A", text[text.index("In flight"):])
    assert page.count("<polyline") >= 4 and re.search(r"\d+ (s|min) ago", text)
    seen = figures(one)
    times = [p[key] for p in seen["history"]["points"] for key in ("miss_p50_ms", "miss_p99_ms") if p[key]]
    times.append(seen["status"]["upstreams"][0]["srtt_ms"])
    assert all(500 < time < 10_000 for time in times), "milliseconds, of what takes a second"
    tile = re.search(r"<b>([\d.]+) ms</b><span[^>]*>misses, p99", page)
    assert tile and 500 < float(tile[1]) < 10_000


def bounds_of_hits(one):
    """Of the shortest and the longest hit, in microseconds: what the metrics' buckets say."""
    with urllib.request.urlopen(f"{one.http}/metrics", timeout=30) as reply:
        rows = re.findall(r'^millrace_hit_duration_seconds_bucket\{.*le="(.*)"\} (\d+)$', reply.read().decode(), re.MULTILINE)
    rows = [(float(bound) * 1e6, int(count)) for bound, count in rows]  # counts are of all up to the bound
    first = next(i for i, (_, count) in enumerate(rows) if count)
    return rows[first - 1][0] if first else 0, next(bound for bound, count in rows if count == rows[-1][1])


def test_a_browser_shows_how_long_hits_take(one, lab, tmp_path):
    def is_drawn():
        times = [point["hit_p50_us"] for point in figures(one)["history"]["points"]]
        return any(first and second for first, second in itertools.pairwise(times))

    with questions(lab, lambda _: "hit.example."):
        assert until(is_drawn, 90), "two points make a line"
        page = shown(one.http + "/", tmp_path / "chromium")
    chart = re.search(r'<svg id="hits".*?</svg>', page, re.DOTALL)[0]
    assert chart.count("<polyline") >= 2 and "Hits, µs" in text_of(page)
    assert re.search(r"<b>[\d.]+(?: [kM])? µs</b><span[^>]*>hits, p99", page)
    least, most = bounds_of_hits(one)
    times = [p[key] for p in figures(one)["history"]["points"] for key in ("hit_p50_us", "hit_p99_us") if p[key]]
    assert times and all(least <= time <= most for time in times), (least, times, most)


def test_a_browser_shows_it(one, lab, upstreams, tmp_path):
    """Names are the choice of whoever asks: what would be markup is shown, not taken for it."""
    client = Client(loopback(lab), 5300)
    client.ask("<img\\032src=x\\032onerror=document.title='taken'>.example.")
    assert until(lambda: figures(one)["top"]["names"])
    page = shown(one.http + "/", tmp_path / "chromium")
    text = text_of(page)
    assert "<title>! Millrace</title>" in page or "<title>Millrace</title>" in page
    assert "&lt;img" in page and "<img" not in page
    assert upstreams[0].endpoint in text and f"{loopback(lab)}:5300" in text
    assert "cached answers" in text and "cannot be reached" not in text
    assert page.count("<table") >= 5 and "nothing is being asked" in text


# The page in a frame of some width, and what of it a reader would stumble over: what is wider than the frame, and texts
# of too little contrast (WCAG 2.1, 1.4.3) or too small.
FRAME = """<!doctype html><iframe src="/" style="width: WIDTHpx; height: 9000px; border: 0; color-scheme: SCHEME"></iframe>
<pre id="found"></pre><script>
const channel = c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const luminance = colour => { const [r, g, b] = colour.match(/[\\d.]+/g).map(c => channel(c / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
setTimeout(() => {
  const frame = document.querySelector("iframe"), page = frame.contentDocument, style = e => frame.contentWindow.getComputedStyle(e);
  const behind = e => { while (style(e).backgroundColor === "rgba(0, 0, 0, 0)") e = e.parentElement; return style(e).backgroundColor; };
  const texts = [...page.body.querySelectorAll(":not(script)")].filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
  const faint = texts.map(e => {
    const of_svg = e.namespaceURI.endsWith("svg"), [one, two] = [luminance(style(e)[of_svg ? "fill" : "color"]), luminance(behind(e))];
    return {text: e.textContent.trim().slice(0, 40), size: parseFloat(style(e).fontSize) * (of_svg ? e.getScreenCTM().a : 1),
            contrast: (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05)}; });
  document.getElementById("found").textContent = JSON.stringify({width: page.documentElement.clientWidth,
    scrolls: page.documentElement.scrollWidth, back: luminance(style(page.body).backgroundColor), texts: faint}); }, 3000);
</script>"""


@contextlib.contextmanager
def framed(one, frame):
    """The daemon's HTTP server beside such a frame, as of one origin."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/favicon.ico":
                return self.send_error(404)
            kind, body = "text/html", frame.encode()
            if self.path != "/frame":
                with urllib.request.urlopen(one.http + self.path, timeout=30) as reply:
                    kind, body = reply.headers["Content-Type"], reply.read()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/frame"
        finally:
            server.shutdown()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1200])
def test_it_is_readable(one, lab, tmp_path, width, scheme):
    client = Client(loopback(lab), 5300)
    for i in range(5):
        client.ask(f"{'x' * 60}.{'y' * 60}.{i}.example.")
    assert until(lambda: figures(one)["top"]["names"] and figures(one)["history"]["points"])
    with framed(one, FRAME.replace("WIDTH", str(width)).replace("SCHEME", scheme)) as address:
        page = shown(address, tmp_path / "chromium")
    seen = json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', page, re.DOTALL)[1]))
    assert (seen["width"], seen["scrolls"]) == (width, width), "tables scroll, the page does not"
    assert seen["back"] < 0.1 if scheme == "dark" else seen["back"] > 0.8
    assert len(seen["texts"]) > 50 and [t for t in seen["texts"] if t["contrast"] < 4.5 or t["size"] < 10] == []


def test_it_needs_nothing_from_elsewhere(one):
    with urllib.request.urlopen(one.http + "/", timeout=30) as reply:
        page = reply.read().decode()
    assert "default-src 'none'" in page
    assert not re.search(r"""(?:src|href)\s*=|https?://(?!www\.w3\.org/2000/svg)|@import|url\(""", page)
