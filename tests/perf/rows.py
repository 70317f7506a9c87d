"""One figure of a benchmark as a JSON row, and the file that collects them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

UNMEASURABLE: Final = 69
"""Exit status of a benchmark that lacks what it needs on this machine, and said so (EX_UNAVAILABLE of sysexits.h)."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A figure. `aim` is a sentence such as "<= 250"; `met` is None for a figure without an aim."""

    name: str
    value: float
    unit: str
    aim: str = ""
    met: bool | None = None
    command: str = ""


def at_most(name: str, value: float, unit: str, limit: float, command: str) -> Row:
    """Returns a row whose aim is an upper limit."""
    return Row(name=name, value=round(value, 4), unit=unit, aim=f"<= {limit:g}", met=value <= limit, command=command)


def report(rows: list[Row], json_path: Path | None) -> None:
    """Prints rows, and adds them to a JSON file if one is named."""
    for row in rows:
        verdict = {True: "met", False: "NOT MET", None: ""}[row.met]
        print(f"{row.name:<58} {row.value:>12.3f} {row.unit:<10} {row.aim:<10} {verdict}")
    if json_path is not None:
        before: list[dict[str, object]] = json.loads(json_path.read_text()) if json_path.exists() else []
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps([*before, *map(asdict, rows)], indent=1) + "\n")
