"""Runs clang-tidy, with the checks of .clang-tidy, on the product's files. tidy.py ROOT BUILD [FILE...] prints what it finds."""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOMS = ("cache", "dataplane", "control")
AT_ONCE = 2


def main():
    root, build = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    commands = [c for c in json.loads((build / "compile_commands.json").read_text()) if is_ours(root, c)]
    wanted = [root / name for name in sys.argv[3:]] or sorted({file_of(c) for c in commands})
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        # Some files are compiled a second time for the stress test.
        once = {file_of(c): c for c in reversed(commands)}
        pathlib.Path(folder, "compile_commands.json").write_text(json.dumps(list(once.values())))
        found = "\n".join(filter(None, pool.map(lambda file: check(root, folder, file), wanted)))
    print("\n".join(dict.fromkeys(found.splitlines())) or f"{len(wanted)} files, nothing to complain about")
    return bool(found)


def file_of(command):
    return pathlib.Path(os.path.normpath(os.path.join(command["directory"], command["file"])))


def is_ours(root, command):
    return any(root / room in file_of(command).parents for room in ROOMS)


def check(root, folder, file):
    """A line for each finding; those in headers come once for each file that includes them."""
    result = subprocess.run(
        ["clang-tidy", "-p", folder, "--quiet", f"--header-filter={re.escape(str(root))}/({'|'.join(ROOMS)})/", file],
        capture_output=True, text=True, check=False)
    lines = [line for line in result.stdout.splitlines() if re.search(r" (error|warning): ", line)]
    lines = [re.sub(r"^\S*\.\./|^" + re.escape(f"{root}/"), "", line) for line in lines]
    return "\n".join(lines or ([f"{file}: {result.stderr}"] if result.returncode else []))


if __name__ == "__main__":
    sys.exit(main())
