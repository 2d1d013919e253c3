"""bench/callgrind: counts instructions, the same number each time."""

import subprocess

import pytest

from conftest import BUILD, ROOT


def count(name):
    done = subprocess.run([ROOT / "bench/callgrind", "--build", BUILD, "packet_bench", name], capture_output=True, text=True,
                          timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    return {row[1]: float(row[2]) for row in rows}


@pytest.mark.skipif(not (BUILD / "bench/packet_bench").exists(), reason="with sanitizers there are no benchmarks")
def test_instructions_are_counted_and_repeat():
    first = count("answer_write/addresses:[12]$")
    assert first == count("answer_write/addresses:[12]$")
    one, two = (first[f"answer_write/addresses:{n}"] for n in (1, 2))
    assert 50 < one < two < 1000
