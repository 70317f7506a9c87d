"""Pods of one service say the same things: keep each thing once."""

from __future__ import annotations

from typing import Any, Final

_MOST_ENTRIES: Final = 16_384


class Interner:
    """Shares equal strings and dicts between pods.

    What is measured (tests/perf/informer.py): about half of a slim pod's memory. The table is emptied when full, which
    costs sharing, never correctness.
    """

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def shared(self, pod: object) -> None:
        """Replaces parts of a pod by equal ones that are there already."""
