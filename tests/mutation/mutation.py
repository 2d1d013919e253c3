"""One mutation. mutations.py says what they are for."""

from typing import NamedTuple


class Mutation(NamedTuple):
    name: str
    file: str
    old: str
    new: str
    danger: str
    tests: str
