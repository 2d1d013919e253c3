"""bench/callgrind: counts instructions, the same number each time."""

import subprocess

import pytest

from conftest import BUILD, ROOT

pytestmark = pytest.mark.skipif(not (BUILD / "bench/packet_bench").exists(), reason="with sanitizers there are no benchmarks")


def callgrind(program, name):
    return subprocess.run([ROOT / "bench/callgrind", "--build", BUILD, program, name], capture_output=True, text=True, timeout=50,
                          check=False)


def count(name):
    done = callgrind("packet_bench", name)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    return {row[1]: float(row[2].replace(",", "")) for row in rows}


def test_instructions_are_counted_and_repeat():
    first = count("answer_write/addresses:[12]$")
    assert first == count("answer_write/addresses:[12]$")
    one, two = (first[f"answer_write/addresses:{n}"] for n in (1, 2))
    assert 50 < one < two < 1000


def test_a_benchmark_that_did_not_work_has_no_count():
    done = callgrind("lookup_bench", "rte_hash_bulk/10000$")
    assert done.returncode == 1 and "needs EAL" in done.stderr and not done.stdout
