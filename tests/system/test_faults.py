"""bench/faults/run: its smallest run measures what it says, and finds wrong answers."""

import json
import subprocess

import pytest

from conftest import BUILD, ROOT


def faults(out, *arguments):
    """What was written: figures by row and kind of name, and the picture."""
    done = subprocess.run([ROOT / "bench/faults/run", "--no-install", "--build", BUILD, "--out", out, "--peers", "millrace",
                           "--rounds", "1", "--warm-up", "0.5", *arguments],
                          capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((out / "faults.json").read_text())
    return {(row["scenario"], row["names"]): row for row in found["summary"]}, (out / "faults.svg").read_text(), found


@pytest.fixture(autouse=True)
def programs():
    assert (BUILD / "bench/faulty").exists(), "deploy/build builds the parts of bench/faults/run too"


def test_a_dead_server_and_a_flood_are_measured(tmp_path):
    rows, svg, found = faults(tmp_path, "--rows", "dead,flood", "--seconds", "1")
    assert set(rows) == {(row, names) for row in ("dead", "flood") for names in ("popular", "new")}
    for row in rows.values():
        shares = [row[key] for key in ("answered", "wrong", "failed", "silent")]
        assert sum(shares) == pytest.approx(100) and row["asked"] > 100
        assert row["wrong"] == 0
        assert row["upstream_questions"] > 0
    assert rows["flood", "new"]["upstream_questions"] > rows["dead", "new"]["upstream_questions"]
    assert found["behind"] == []  # nobody else took part
    assert svg.startswith("<svg") and "millrace" in svg
    assert "127.0." in (tmp_path / "configurations/dead/millrace/millrace.yaml").read_text()
    assert "flood: others ask" in (tmp_path / "faults.txt").read_text()


def test_a_forged_answer_is_wrong_and_a_validators_servfail_is_right(tmp_path):
    """The quicker server's answer goes out first: of the names that are forged, new ones are wrong; popular ones, once they have
    expired, at most once for each of their lives."""
    rows, _, _ = faults(tmp_path, "--rows", "forge,prefer", "--seconds", "6")
    assert 0 < rows["forge", "new"]["wrong"] < 20
    assert rows["forge", "popular"]["wrong"] < rows["forge", "new"]["wrong"]
    assert rows["forge", "popular"]["failed"] == 0
    assert rows["prefer", "new"]["wrong"] == 0 and rows["prefer", "new"]["failed"] == 0
