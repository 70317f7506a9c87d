"""Runs every benchmark that an aim names and checks the aims: `python -m tests.perf.run [BENCH...]`.

Rows go to bench-results/<bench>.json, one benchmark after the other, each in a process of its own. Exit status 1 when a
figure is missing or its aim is not met; aims of a benchmark that lacks what it needs on this machine do not count.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from tests.perf.aims import AIMS, shortfalls
from tests.perf.rows import UNMEASURABLE, Row

RESULTS = Path("bench-results")
MOST_SECONDS = 900


def run(bench: str) -> list[Row] | None:
    """Runs one benchmark, which prints its own table, and returns its rows.

    Returns:
        No rows where it failed, None where it lacks what it needs.
    """
    file = RESULTS / f"{bench}.json"
    file.unlink(missing_ok=True)
    command = [sys.executable, "-m", f"tests.perf.{bench}", f"--json={file}"]
    try:
        status = subprocess.run(command, check=False, timeout=MOST_SECONDS).returncode
    except subprocess.TimeoutExpired:
        print(f"{bench} took more than {MOST_SECONDS} s", file=sys.stderr)
        return []
    if status == UNMEASURABLE:
        print(f"{bench} cannot be measured on this machine: its aims do not count", file=sys.stderr)
        return None
    if status or not file.exists():
        print(f"{bench} ended with status {status}", file=sys.stderr)
        return []
    return msgspec.json.decode(file.read_bytes(), type=list[Row])


def main(arguments: list[str]) -> int:
    """Runs the benchmarks named, or all; 0 only when every aim of theirs is met."""
    known = list(dict.fromkeys(aim.bench for aim in AIMS))
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        print(f"no aim names {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    chosen = arguments or known
    RESULTS.mkdir(exist_ok=True)
    rows = {bench: found for bench in chosen if (found := run(bench)) is not None}
    missed = shortfalls([aim for aim in AIMS if aim.bench in rows], rows)
    for line in missed:
        print(f"AIM MISSED  {line}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
