"""The repository's own rules. lint.py ROOT prints what breaks them; lint.py ROOT --headers lists the headers."""

import pathlib
import re
import subprocess
import sys

ROOMS = {"cache": {"cache"}, "dataplane": {"cache", "dataplane"}, "control": {"cache", "dataplane", "control"}}
# A library, told by its headers, and the places that may include it.
LIBRARIES = {
    r"<tbb/": ["cache/shard.hpp"],
    r"<ldns/": ["control/ldns.hpp"],
    r"<asio": ["control/"],
    r"<spdlog/": ["control/"],
    r"<yaml-cpp/": ["control/config"],
    r"<rte_eth": ["dataplane/e"],
    r"<xxhash": ["cache/key.cpp", "control/recent_pairs.cpp"],
    r"<(bpf|linux/bpf|xdp)/": ["dataplane/xdp"],
}
TOP = {"meson.build", "dataplane", "control", "cache", "deploy", "tests", "bench", "README.md", "ARCHITECTURE.md", "LICENSE"}
MOST_LINES, MOST_FUNCTION_LINES = 500, 70


def main():
    root = pathlib.Path(sys.argv[1])
    if sys.argv[2:] == ["--headers"]:
        print("\n".join(sorted(str(f.relative_to(root)) for room in ROOMS for f in (root / room).glob("*.hpp"))))
        return 0
    problems = [*top_level(root)]
    for file in sorted(f for folder in (*ROOMS, "tests", "bench") for f in (root / folder).rglob("*.[ch]pp")):
        name = str(file.relative_to(root))
        lines = file.read_text(encoding="utf-8").splitlines()
        problems += [*includes(name, lines), *lengths(name, lines)]
        if name.endswith(".hpp") and "#pragma once" not in lines:
            problems.append(f"{name}: no #pragma once")
    print("\n".join(problems) or "nothing to complain about")
    return bool(problems)


def top_level(root):
    listed = subprocess.run(["git", "-C", root, "ls-files"], capture_output=True, text=True, check=False).stdout
    for name in sorted({line.split("/")[0] for line in listed.splitlines()} - TOP):
        if not name.startswith("."):
            yield f"{name}: not one of the agreed top-level names"


def includes(name, lines):
    room = name.split("/")[0]
    for number, line in enumerate(lines, 1):
        if not line.startswith("#include"):
            continue
        ours = re.match(r'#include "(\w+)/', line)
        if room in ROOMS and ours and ours[1] not in ROOMS[room]:
            yield f"{name}:{number}: {room} may not include {ours[1]}"
        for library, places in LIBRARIES.items():
            if room in ROOMS and re.search(library, line) and not any(name.startswith(place) for place in places):
                yield f"{name}:{number}: {line} belongs to {', '.join(places)}"


def lengths(name, lines):
    if len(lines) > MOST_LINES:
        yield f"{name}: {len(lines)} lines, at most {MOST_LINES}"
    start = None
    for number, line in enumerate(lines, 1):
        # As clang-format writes them: a function opens at the margin and ends with a brace at the margin.
        if re.match(r"\w.*\) (const )?(override )?\{$", line) and not line.startswith("namespace"):
            start = number
        if line == "}" and start:
            if number - start > MOST_FUNCTION_LINES:
                yield f"{name}:{start}: a function of {number - start} lines, at most {MOST_FUNCTION_LINES}"
            start = None


if __name__ == "__main__":
    sys.exit(main())
