"""Fails unless every test of a JUnit report ran: `python -m scripts.require_ran REPORT`.

A suite that skips itself on a machine that lacks something looks as green as one that passed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET


def skipped(report: str) -> list[str]:
    """Returns what did not run, one line per test; a line of its own for a report without tests."""
    cases = ET.fromstring(report).findall(".//testcase")  # noqa: S314 - pytest has just written it.
    if not cases:
        return ["the report names no test at all"]
    marks = ((case, case.find("skipped")) for case in cases)
    return [
        f"{case.get('classname')}.{case.get('name')}: {mark.get('message', '')}"
        for case, mark in marks
        if mark is not None
    ]


def main(arguments: list[str]) -> int:
    """Prints what did not run; 0 only when everything did."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    missing = skipped(Path(arguments[0]).read_text())
    for line in missing:
        print(f"did not run: {line}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
