"""The nearest right name to a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice
from typing import Final

_MOST_CHOICES: Final = 500
"""Comparing takes some 20 microseconds a name, and everybody waits meanwhile: among more names none is offered."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Returns the choice that resembles a word most, "" where none does or there are very many.

    >>> nearest("stie", ["row", "site"])
    'site'
    """
    some = list(islice(choices, _MOST_CHOICES + 1))
    found = difflib.get_close_matches(word, some, n=1) if len(some) <= _MOST_CHOICES else []
    return found[0] if found else ""
