"""Nothing reaches the cluster unguarded: no other module makes the type that publishers accept."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[3]


def makers() -> set[str]:
    found: set[str] = set()
    for package in ("wattkeeper", "scaler", "kserve_hooks", "admission"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    function = node.func
                    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
                    if name == "GuardedPlan":
                        found.add(path.relative_to(ROOT).as_posix())
    return found


def test_the_guard_alone_makes_guarded_plans() -> None:
    assert makers() == {"wattkeeper/guard/guard.py"}
