"""A benchmark that never ran, or stopped reporting a figure, is as bad as one that is too slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.perf import run
from tests.perf.aims import AIMS, Aim, shortfalls
from tests.perf.rows import Row

AIM = Aim(bench="decision", figure="decision, ...: median")
PERF = Path(__file__).resolve().parents[1] / "perf"


def row(*, name: str = "decision, 10 nodes: median", met: bool | None = True) -> Row:
    return Row(name=name, value=3.0, unit="ms", aim="<= 2", met=met)


def test_a_figure_that_meets_its_aim_is_no_shortfall() -> None:
    assert shortfalls([AIM], {"decision": [row()]}) == []


def test_a_figure_that_misses_its_aim_is_named_with_both() -> None:
    (line,) = shortfalls([AIM], {"decision": [row(met=False)]})
    assert line == "decision: decision, 10 nodes: median is 3 ms, the aim is <= 2"


@pytest.mark.parametrize(
    "rows", [{}, {"decision": []}, {"decision": [row(name="decision, 10 nodes: slowest")]}], ids=str
)
def test_a_figure_that_nobody_reported_is_a_shortfall(rows: dict[str, list[Row]]) -> None:
    (line,) = shortfalls([AIM], rows)
    assert "no figure 'decision, ...: median' was reported" in line


def test_a_figure_without_an_aim_of_its_own_is_a_shortfall() -> None:
    (line,) = shortfalls([AIM], {"decision": [row(met=None)]})
    assert "states no aim" in line


def test_every_aim_names_a_benchmark_that_exists() -> None:
    assert [aim.bench for aim in AIMS if not (PERF / f"{aim.bench}.py").exists()] == []


@pytest.mark.parametrize(("found", "status"), [(None, 0), ([], 1)], ids=["cannot be measured here", "failed"])
def test_only_a_benchmark_that_cannot_be_measured_here_is_let_off_its_aims(
    found: list[Row] | None, status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    def runs(bench: str) -> list[Row] | None:
        return found

    monkeypatch.setattr(run, "run", runs)
    assert run.main(["gate"]) == status
