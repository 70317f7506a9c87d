"""Stops the control plane that `up` left running, each process only if it is still the one that was started.

python -m tests.cluster.controlplane.down
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from tests.cluster.controlplane.errors import ProcessError
from tests.cluster.controlplane.processes import stop_recorded

FOLDER = Path(__file__).resolve().parents[3] / ".cluster"
"""Where `up` keeps everything of its control plane, in the checkout."""

RECORD = FOLDER / "processes.json"
"""The running processes, as `Plane.record` wrote them."""


def stop_all() -> int:
    """Kills every recorded process that still runs and removes the folder.

    Returns:
        How many were still running.

    Raises:
        ProcessError: one survived; the folder stays.
    """
    running: list[dict[str, Any]] = json.loads(RECORD.read_text()) if RECORD.exists() else []
    # The last started first: a controller that loses its API server fills its log.
    stopped = [
        stop_recorded(one["name"], one["pid"], one["start_ticks"], grace_seconds=0)
        for one in reversed(running)
        if one["start_ticks"] is not None
    ]
    shutil.rmtree(FOLDER, ignore_errors=True)
    return sum(stopped)


def main() -> int:
    """Stops everything and says how much that was; exit status 1 when something would not stop."""
    try:
        stopped = stop_all()
    except ProcessError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"stopped {stopped} processes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
