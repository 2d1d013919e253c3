"""What --help of the programs lists."""

import re

from conftest import BUILD
from lab.children import run


def help_of(program, *words):
    done = run([BUILD / program, *words, "--help"])
    assert done.returncode == 0, done.stdout
    return done.stdout


def verbs(*words):
    """Each path of millracectl's verbs below these, with those that have more below them."""
    block = re.search(r"^Subcommands:\n((?:  .*\n?)+)", help_of("millracectl", *words), re.MULTILINE)
    for verb in re.findall(r"^  ([a-z-]+)", block[1], re.MULTILINE) if block else []:
        yield (*words, verb)
        yield from verbs(*words, verb)


def options(program, *words):
    return set(re.findall(r"^ +(?:-\w,)?(--[a-z-]+)", help_of(program, *words), re.MULTILINE))
