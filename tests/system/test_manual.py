"""The manual pages against the programs' own --help, and what READMEs and alerts name against the manual pages;
millrace.yaml(5) against the parser is ConfigKeys' business."""

import re
import shutil
import subprocess

import pytest
import yaml

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


KEYS = set(re.findall(r"^\.It Ic (\S+)$", page("millrace.yaml.5"), re.MULTILINE))
PARTS = {part for key in KEYS for part in re.split(r"[.\[\]]+", key)}
TOP = {re.split(r"[.\[]", key)[0] for key in KEYS}
NAMING = ["README.md", "deploy/README.md", "deploy/metrics/alerts.yaml"]


def named(file):
    """What stands between backticks, but for tables' first columns: these have what others call it, or what is seen."""
    text = re.sub(r"^\|[^|]*\|", "|", (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [" ".join(words.split()) for words in re.findall(r"`([^`]+)`", text)]


def is_key(path):
    """Whether it is a key, a map or a list of such."""
    return any(key == path or key.startswith((f"{path}.", f"{path}[")) for key in KEYS)


def unknown_keys(value, at):
    """Of a piece of configuration: `cache: {entries, memory}` names keys, as does `limits: queries`."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from unknown_keys(below, f"{at}.{key}" if at else key)
    elif isinstance(value, list):
        for item in value:
            yield from unknown_keys(item, f"{at}[]")
    elif not (at.removesuffix("[]") in KEYS or is_key(at) and value is None or is_key(f"{at}.{value}")):
        yield at if value is None else f"{at}: {value}"


def configuration(words):
    """None: the words are something else, or a key of a map that was named before."""
    is_one = re.match(r"[\w-]+:( |$)", words) and "..." not in words and words.split(":")[0] not in PARTS - TOP
    return yaml.safe_load(words) if is_one else None


@pytest.mark.parametrize("file", NAMING)
def test_names_keys_that_there_are(file):
    pieces = [piece for words in named(file) if (piece := configuration(words))]
    assert pieces and [key for piece in pieces for key in unknown_keys(piece, "")] == []


@pytest.mark.parametrize("file", NAMING)
def test_names_commands_that_there_are(file):
    lines = [words.removeprefix("millracectl ") for words in named(file) if re.match("millracectl [a-z]", words)]
    assert lines and [line for line in lines if not any(f"{line} ".startswith(f"{command} ") for command in commands())] == []


def test_readme_has_each_key():
    table = re.search(r"^\| key \| meaning \|\n(.*?)\n\n", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    listed = [key for row in table[1].splitlines()[1:] for key in re.findall(r"`([\w-]+)`", row.split("|")[1])]
    assert sorted(listed) == sorted(TOP)


def test_each_alert_says_what_it_means_and_what_to_do():
    groups = yaml.safe_load((ROOT / "deploy/metrics/alerts.yaml").read_text(encoding="utf-8"))["groups"]
    said = {rule["alert"]: rule["annotations"] for group in groups for rule in group["rules"]}
    assert [alert for alert, words in said.items() if not (words.get("summary") and words.get("description"))] == []


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
@pytest.mark.parametrize("file", PAGES, ids=[file.name for file in PAGES])
def test_has_no_slips(file):
    said = subprocess.run(["mandoc", "-Tlint", "-W", "warning", file], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, "")
