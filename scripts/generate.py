"""Generates what is made from the kinds: definitions for kubectl and for the chart, and the reference for people.

    python scripts/generate.py

The output is committed; a test makes it anew and fails on a difference. Stubs have their own generate_stubs.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

from wattkeeper.api.crds import definitions, to_yaml

ROOT = Path(__file__).resolve().parent.parent
MADE_BY = "Generated from wattkeeper/api by make generate. Edit that instead."


def outputs() -> dict[str, str]:
    """Returns the text of every generated file by its path in the repository."""
    made: dict[str, str] = {}
    for name, definition in definitions().items():
        text = f"# {MADE_BY}\n{to_yaml(definition)}"
        made[f"manifests/crds/{name}.yaml"] = text
        made[f"manifests/chart/files/crds/{name}.yaml"] = text
    return made


def main() -> int:
    """Writes what differs, says so."""
    for name, text in outputs().items():
        path = ROOT / name
        if path.exists() and path.read_text() == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
