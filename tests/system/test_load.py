"""bench/load/run: its smallest run measures, and an answer that is wrong is found and fails it."""

import json
import os
import subprocess

import pytest

from conftest import BUILD, ROOT


def load(out, *arguments):
    """The exit code and what was written."""
    allowed = os.sched_getaffinity(0)
    done = subprocess.run([ROOT / "bench/load/run", "--quick", "--no-install", "--build", BUILD, "--out", out, "--loads", "hits",
                           *arguments], capture_output=True, text=True, timeout=50, check=False)
    assert (out / "figures.json").exists(), done.stdout + done.stderr
    assert os.sched_getaffinity(0) == allowed
    return done.returncode, json.loads((out / "figures.json").read_text()), (out / "figures.svg").read_text()


@pytest.fixture(autouse=True)
def programs():
    assert (BUILD / "bench/dns_load").exists(), "deploy/build builds the parts of bench/load/run too"


def test_memif_and_sockets_are_measured(tmp_path):
    code, found, svg = load(tmp_path, "--only", "memif,sockets", "--peers", "millrace,socket_echo,unbound")
    assert code == 0
    rows = {(row["scenario"], row["client"], row["server"]): row for row in found["summary"] if row["load"] == "hits 1k uniform"}
    assert set(rows) == {("memif", "dns_load", "dns_echo"), ("memif", "dns_load", "millrace"),
                         *(("sockets", client, server) for client in ("dns_load", "dnsperf")
                           for server in ("socket_echo", "millrace", "unbound"))}
    for row in rows.values():
        assert row["answers_per_second"]["median"] > 0
        assert row["core_seconds_per_million"]["median"] > 0
        assert 0 < row["latency_us_at_half"]["p50"]["median"] <= row["latency_us_at_half"]["p99.9"]["median"]
        assert row["wrong"] in (0, None)
    for server in ("dns_echo", "millrace"):
        assert rows["memif", "dns_load", server]["busy_cycles_per_packet"]["median"] > 10
    assert {(ratio["scenario"], ratio["over"]) for ratio in found["ratios"]} == {("memif", "dns_echo"), ("sockets", "socket_echo")}
    assert {(cost["scenario"], cost["client"], cost["over"]) for cost in found["costs"]} == {
        ("sockets", client, "unbound") for client in ("dns_load", "dnsperf")}
    assert svg.startswith("<svg") and "millrace" in svg
    fills = [row for row in found["samples"] if row["load"] == "fill 1k"]
    assert [row["answered"] for row in fills] == [1000, 1000, 1000]


def test_a_wrong_answer_is_counted_and_fails_the_run(tmp_path):
    """The upstream lies about every tenth name; Millrace cannot know."""
    code, found, _ = load(tmp_path, "--only", "memif", "--wrong-every", "10")
    fill = next(row for row in found["samples"] if row["load"] == "fill 1k")
    assert (fill["answered"], fill["wrong_by"]) == (900, {"address": 100})
    hits = next(row for row in found["samples"] if row["load"] == "hits 1k uniform" and row["server"] == "millrace")
    assert hits["answered"] / 10 < hits["wrong"] < hits["answered"] / 8
    assert code == 1
