"""The manual pages against the programs' own --help; millrace.yaml(5) against the parser is ConfigKeys' business."""

import re
import shutil
import subprocess

import pytest

from conftest import ROOT
from help_text import options, verbs

PAGES = sorted((ROOT / "deploy/man").iterdir())


def commands():
    """Paths of verbs with none below."""
    paths = [" ".join(path) for path in verbs()]
    return [path for path in paths if not any(other.startswith(path + " ") for other in paths)]


def page(name):
    return (ROOT / "deploy/man" / name).read_text(encoding="utf-8")


@pytest.mark.quick
def test_has_every_command():
    items = re.findall(r"^\.It Cm ([a-z -]+?)(?: (?:Ar|Fl) .*)?$", page("millracectl.8"), re.MULTILINE)
    assert sorted(set(items)) == sorted(commands())


def test_has_every_option():
    for name, section in (("millraced", 8), ("millracectl", 8)):
        named = {"-" + option for option in re.findall(r"Fl (-[\w-]+)", page(f"{name}.{section}"))}
        below = {option for command in commands() for option in options(name, *command.split())} if name == "millracectl" else set()
        assert named == options(name) | below, name


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
@pytest.mark.parametrize("file", PAGES, ids=[file.name for file in PAGES])
def test_has_no_slips(file):
    said = subprocess.run(["mandoc", "-Tlint", "-W", "warning", file], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, "")
