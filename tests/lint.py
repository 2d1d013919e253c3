"""The repository's own rules. lint.py ROOT prints what breaks them; lint.py ROOT --headers lists the headers that
no source of their name includes first, which would show that they compile alone."""

import pathlib
import re
import subprocess
import sys

# Each may include itself and those before it.
FOLDERS = ["message", "config", "upstream", "local", "rank", "fetch", "store", "traffic", "command", "metrics", "daemon"]
ROOMS = {"cache": {"cache"}, "dataplane": {"cache", "dataplane"}, "control": {"cache", "dataplane", "control"}}
# A library, told by its headers, and the places that may include it.
LIBRARIES = {
    r"<tbb/": ["cache/shard.hpp"],
    r"<ldns/": ["control/message/ldns.hpp"],
    r"<asio": ["control/"],
    r"<spdlog/": ["control/"],
    r"<yaml-cpp/": ["control/config"],
    r"<rte_eth": ["dataplane/e"],
    r"<idn2": ["control/local/list_line.cpp"],
    r"<xxhash": ["cache/key.cpp", "control/store/cache_file.cpp", "control/upstream/recent_pairs.cpp"],
    r"<(bpf|linux/bpf|xdp)/": ["dataplane/xdp"],
    r"<fstrm": ["control/traffic/dnstap_sink.cpp"],
    r"<libmnl/": ["dataplane/netlink"],
    r"<microhttpd": ["control/metrics/http_server.cpp"],
    r"<prometheus/": ["control/metrics/exposition.cpp"],
}
TOP = {"meson.build", "dataplane", "control", "cache", "deploy", "tests", "bench", "README.md", "ARCHITECTURE.md",
       "CONTRIBUTING.md", "LICENSE"}
MOST_LINES, MOST_FUNCTION_LINES, MOST_COLUMNS = 500, 70, 110


def main():
    root = pathlib.Path(sys.argv[1])
    if sys.argv[2:] == ["--headers"]:
        print("\n".join(h for h in sorted(str(f.relative_to(root)) for room in ROOMS for f in (root / room).rglob("*.hpp"))
                        if not is_first_of_its_source(root, h)))
        return 0
    problems = [*top_level(root)]
    for file in sorted(f for folder in (*ROOMS, "tests", "bench") for f in (root / folder).rglob("*.[ch]pp")):
        name = str(file.relative_to(root))
        lines = file.read_text(encoding="utf-8").splitlines()
        problems += [*includes(name, lines), *folders(name, lines), *lengths(name, lines), *comments(name, lines)]
        problems += returns(name, "\n".join(lines))
        if name.endswith(".hpp") and "#pragma once" not in lines:
            problems.append(f"{name}: no #pragma once")
    problems += [*mutations(root), *pages(root), *rate_limits(root)]
    print("\n".join(problems) or "nothing to complain about")
    return bool(problems)


def is_first_of_its_source(root, header):
    source = (root / header).with_suffix(".cpp")
    includes_of = re.findall(r'^#include (.*)$', source.read_text(encoding="utf-8") if source.exists() else "", re.MULTILINE)
    return includes_of[:1] == [f'"{header}"']


def mutations(root):
    """The list keeps step with the code: run would notice too, but only after it has built everything."""
    sys.path.insert(0, str(root / "tests/mutation"))
    from mutations import MUTATIONS  # pylint: disable=import-outside-toplevel
    for m in MUTATIONS:
        file = root / m.file
        places = file.read_text(encoding="utf-8").count(m.old) if file.exists() else 0
        if places != 1:
            yield f"tests/mutation: {m.name}: its text is {places} times in {m.file}"


def pages(root):
    """What pages name is there: files, and in ARCHITECTURE.md's walk the function that each step is."""
    for page in sorted(root.glob("*.md")) + sorted(f for room in (*ROOMS, "tests", "bench") for f in (root / room).rglob("*.md")):
        name, text = page.relative_to(root), page.read_text(encoding="utf-8")
        for file in sorted(set(re.findall(r"`([\w.-]+/[\w./-]+\.(?:[ch]pp|py|md|yaml))`", text))):
            if not (root / file).exists() and not (page.parent / file).exists():
                yield f"{name}: there is no {file}"
        for file, function in re.findall(r"^\| \d+\. .*\| `([\w./]+)` \| `([\w:]+)", text, re.MULTILINE):
            if not re.search(rf"^\S.*\b{function}\(", (root / file).read_text(encoding="utf-8"), re.MULTILINE):
                yield f"{name}: {file} does not define {function}"


def rate_limits(root):
    """An nsd that we start loses no answers on purpose: a test would take them for ours."""
    for file in sorted(f for folder in ("deploy", "tests", "bench") for f in (root / folder).rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if len(re.findall(r"^ +xfrdfile: ", text, re.MULTILINE)) != len(re.findall(r"^ +rrl-ratelimit: 0\b", text, re.MULTILINE)):
            yield f"{file.relative_to(root)}: an nsd without rrl-ratelimit: 0"


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


def folders(name, lines):
    """No arrow within control/ runs back up; what belongs to no folder is there for all of them."""
    if not name.startswith("control/"):
        return
    own = name.split("/")[1] if name.count("/") > 1 else None
    if own and own not in FOLDERS:
        yield f"{name}: {own} is not one of control's folders"
        return
    for number, line in enumerate(lines, 1):
        other = re.match(r'#include "control/(\w+)/', line)
        if other and (not own or FOLDERS.index(other[1]) > FOLDERS.index(own)):
            yield f"{name}:{number}: {own or 'the room itself'} may not include {other[1]}"


def comments(name, lines):
    """Comments as somebody wrote them: no columns beyond the limit, no last words that a reflow left behind."""
    before = None
    for number, line in enumerate(lines, 1):
        if len(line) > MOST_COLUMNS:
            yield f"{name}:{number}: {len(line)} columns, at most {MOST_COLUMNS}"
        comment = re.match(r"( *)(///?) (\S.*)$", line)
        goes_on = comment and before and comment[1] == before[1] and comment[2] == before[2]
        if goes_on and len(comment[3].split()) <= 2 and len(before[0]) > MOST_COLUMNS - len(comment[3].split()[0]) - 2:
            yield f"{name}:{number}: a comment's last words alone on a line"
        before = comment


def returns(name, text):
    """A statement does one thing: what is done before a return stands in a line of its own."""
    plain = re.sub(r'//[^\n]*|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)\'', lambda m: " " * len(m[0]), text)
    for statement in re.finditer(r"\breturn\b(?=([^;]*);)", plain):
        value = re.sub(r"<[^<>;()]*>", "", statement[1])  # the commas of template arguments separate nothing
        while (inner := re.sub(r"[(\[{][^()\[\]{}]*[)\]}]", "", value)) != value:
            value = inner
        # What is open still is a lambda, whose body a semicolon has cut off.
        if "," in re.split(r"[(\[{]", value)[0] or re.match(r"\s*void\(", statement[1]):
            yield f"{name}:{text.count(chr(10), 0, statement.start()) + 1}: a return that does something else first"


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
