"""Adds up test results. count.py FOLDER prints "N passed, N failed"; its exit code is 0 when something passed and nothing failed.

In the folder, from tests/run: NAME.status, a step's exit code; unit-*/, results of gtest as JSON; unit-*.testlog, meson's
list of what it ran; system-*.xml, results of pytest. Other steps count by the last line of NAME.log when that has the form
"N passed, N failed". A step that failed without a failed test case counts as one failure.
"""

import json
import pathlib
import re
import sys
import xml.etree.ElementTree


def main(folder):
    passed = failed = 0
    for status in sorted(folder.glob("*.status")):
        name, ended_well = status.stem, status.read_text().strip() == "0"
        good, bad = cases(folder, name)
        if not bad and (not ended_well or name.startswith(("unit-", "system-")) and not good):  # or nothing ran
            bad = 1
            print(f"failed: {name}, a step: exit code {status.read_text().strip()}, {good} passed")
        passed, failed = passed + good, failed + bad
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


def cases(folder, name):
    if (folder / f"{name}.testlog").exists():
        return meson_cases(folder, name)
    if (folder / f"{name}.xml").exists():
        return pytest_cases(folder / f"{name}.xml")
    lines = (folder / f"{name}.log").read_text(errors="replace").splitlines() if (folder / f"{name}.log").exists() else []
    own = re.fullmatch(r"(\d+) passed, (\d+) failed", lines[-1]) if lines else None
    return (int(own[1]), int(own[2])) if own else (0, 0)


def meson_cases(folder, name):
    """Every case of a gtest program; a program without cases, or one that crashed, is a case itself. What is skipped is none."""
    good = bad = 0
    for line in (folder / f"{name}.testlog").read_text().splitlines():
        test = json.loads(line)
        if test["result"] == "SKIP":
            print(f"skipped: {name} {test['name']}")
            continue
        well = test["result"] in ("OK", "EXPECTEDFAIL")
        file = folder / name / (pathlib.Path(test["command"][0]).name + ".json")
        results = [result for suite in json.loads(file.read_text())["testsuites"] for result in suite["testsuite"]] \
            if file.exists() else []
        failures = sum("failures" in result for result in results)
        good += sum(result["result"] == "COMPLETED" and "failures" not in result for result in results)
        bad += failures + (not well and not failures)
        good += not results and well
        for result in results:
            if "failures" in result:
                print(f"failed: {name} {result['classname']}.{result['name']}")
        if not well and not failures:
            print(f"failed: {name} {test['name']}: {test['result']}")
    return good, bad


def pytest_cases(file):
    good = bad = 0
    for case in xml.etree.ElementTree.parse(file).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            bad += 1
            print(f"failed: {file.stem} {case.get('classname')}::{case.get('name')}")
        elif "skipped" not in kinds:
            good += 1
    return good, bad


def matching(what, build, pattern):
    """The names, or the programs we build, of the tests registered with meson whose name matches, one a line."""
    for test in json.loads((build / "meson-info/intro-tests.json").read_text()):
        program = pathlib.Path(test["cmd"][0])
        if re.search(pattern, test["name"]) and (what == "--tests" or build.resolve() in program.parents):
            print(test["name"] if what == "--tests" else program.relative_to(build.resolve()))


if __name__ == "__main__":
    if sys.argv[1] in ("--tests", "--programs"):
        sys.exit(matching(sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]))
    sys.exit(main(pathlib.Path(sys.argv[1])))
