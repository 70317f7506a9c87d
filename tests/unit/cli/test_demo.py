"""`wattkeeper demo`: the same seed tells the same day, whatever the machine does meanwhile."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from click.testing import CliRunner
from rich.console import Console

from wattkeeper.cli import demo_view
from wattkeeper.cli.demo import demo
from wattkeeper.cli.demo_run import Outcome, run_guarded, run_unguarded
from wattkeeper.cli.demo_table import outcome_json, outcome_table
from wattkeeper.cli.demo_view import DayLog, ServiceRow, screen
from wattkeeper.simulation.ledger import Score
from wattkeeper.simulation.story import Happening, plan_story
from wattkeeper.simulation.world import World

SECONDS = 900


async def _ignore(world: World) -> None:
    del world


async def _slowly(world: World) -> None:
    # Every so often real time passes, in which nothing may happen in virtual time.
    before = world.clock.now()
    if world.seconds() % 50 == 0:
        await asyncio.sleep(0.004)
    assert world.clock.now() == before


async def _guarded(seed: int, *, slow: bool = False) -> Score:
    return await run_guarded(plan_story(seconds=SECONDS, seed=seed), _slowly if slow else _ignore)


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    story = plan_story(seconds=SECONDS, seed=1)
    guarded, unguarded = asyncio.run(run_guarded(story, _ignore)), asyncio.run(run_unguarded(story, _ignore))
    return Outcome(story=story, guarded=guarded, unguarded=unguarded)


async def test_the_same_seed_gives_the_same_score_on_a_slower_machine() -> None:
    assert await _guarded(5) == await _guarded(5, slow=True)


async def test_another_seed_is_another_day() -> None:
    assert await run_unguarded(plan_story(seconds=SECONDS, seed=1), _ignore) != await run_unguarded(
        plan_story(seconds=SECONDS, seed=2), _ignore
    )


def test_wattkeeper_keeps_the_budget_that_the_same_day_breaks_without_it(outcome: Outcome) -> None:
    assert outcome.unguarded.over_joules > 10 * outcome.guarded.over_joules
    assert outcome.guarded.offered_tokens == outcome.unguarded.offered_tokens


def test_the_cut_is_followed_in_the_stated_time_and_nothing_else_goes_over(outcome: Outcome) -> None:
    assert [one.violation for one in outcome.guarded.domains] == [0.0, 0.0]
    assert outcome.unguarded.domains[0].violation > 0.01


def test_the_most_important_service_is_served_first(outcome: Outcome) -> None:
    chat, _, summaries = outcome.guarded.services
    assert chat.good_tokens / chat.offered_tokens > summaries.good_tokens / summaries.offered_tokens


def test_the_table_fits_a_terminal_of_eighty_columns(outcome: Outcome) -> None:
    console = Console(width=80, record=True, force_terminal=False)
    with console.capture() as capture:
        console.print(outcome_table(outcome))
    text = capture.get()

    assert "watt-seconds over budget" in text
    assert "violation of rack-a" in text
    assert "joules per token" in text
    assert "…" not in text
    assert "\x1b" not in text


def test_json_has_the_same_figures_in_base_units(outcome: Outcome) -> None:
    found = json.loads(outcome_json(outcome))

    assert found["with"]["over_budget_joules"] == round(outcome.guarded.over_joules, 3)
    assert found["with"]["budgets"]["rack-a"]["violation_share"] == 0.0
    assert found["simulated_seconds"] == SECONDS
    assert found["without"]["services"]["chat"]["offered_tokens"] > 0


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (60, 15)])
async def test_the_live_view_fits_its_terminal(width: int, height: int) -> None:
    shown: list[str] = []
    log = DayLog()
    console = Console(width=width, height=height, force_terminal=False)

    async def look(world: World) -> None:
        log.look(world)
        if world.seconds() % 300 == 0:
            with console.capture() as capture:
                console.print(screen(world, log, width=width, height=height))
            shown.append(capture.get())

    await run_unguarded(plan_story(seconds=SECONDS, seed=1), look)

    assert shown
    for text in shown:
        assert len(text.splitlines()) <= height
        assert max(map(len, text.splitlines())) <= width
    assert "rack-a" in shown[0]
    assert "summaries" in shown[0]


def _granted(replicas: int) -> ServiceRow:
    return ServiceRow(
        name="summaries",
        model="",
        demand=16,
        granted=replicas,
        ready=replicas,
        loading=0,
        draining=0,
        waiting=0,
        reason="BudgetBinds",
    )


async def test_the_log_tells_rises_and_cuts_while_a_budget_binds(monkeypatch: pytest.MonkeyPatch) -> None:
    world, log = World(plan_story(seconds=SECONDS, seed=1)), DayLog()
    for replicas in (2, 6, 2):
        monkeypatch.setattr(demo_view, "service_rows", Mock(return_value=[_granted(replicas)]))
        log.look(world)

    assert [text for _, _, text in log.lines] == [
        "summaries: 2 -> 6 replicas, budget binds, demand 16",
        "summaries: 6 -> 2 replicas, budget binds, demand 16",
    ]


@pytest.mark.parametrize(("ascii_only", "mark"), [(False, "…"), (True, "~")])
async def test_a_line_that_is_too_long_for_the_view_shows_that_it_goes_on(ascii_only: bool, mark: str) -> None:
    world, log = World(plan_story(seconds=SECONDS, seed=1)), DayLog()
    log.tell(world, Happening(hour=12.0, what="limit", rack="rack-a", text="x" * 90))
    console = Console(width=80, height=24)
    with console.capture() as capture:
        console.print(screen(world, log, width=80, height=24, ascii_only=ascii_only))

    assert f"x{mark}" in capture.get()


def test_json_on_stdout_is_nothing_but_json() -> None:
    result = CliRunner().invoke(demo, ["--hours", "0.25", "-o", "json"])

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["seed"] == 1
    assert "The day begins" in result.stderr


def test_a_recorded_trace_is_taken_and_its_factor_is_said(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    rows = "".join(f"2023-11-16 18:{minute:02d}:30.0,900,120\n" for minute in range(50))
    trace.write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}")
    result = CliRunner().invoke(demo, ["--hours", "0.25", "--trace", str(trace), "-o", "json"])

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["trace_factors"]["chat"] > 1
    assert "chat: the recorded trace" in result.stderr


def test_a_broken_trace_and_too_many_traces_are_said_in_a_sentence(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("nonsense\n")
    broken = CliRunner().invoke(demo, ["--trace", str(trace)])
    many = CliRunner().invoke(demo, ["--trace", str(trace)] * 4)

    assert (broken.exit_code, many.exit_code) == (1, 2)
    assert "first line must name" in broken.output
    assert "at most 3 traces" in many.output


def test_output_that_nobody_reads_any_more_ends_the_demo_without_complaints() -> None:
    command = [sys.executable, "-c", "from wattkeeper.cli.demo import demo; demo()", "--hours", "0.25"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "3 services" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        complaints = process.stderr.read()

    assert complaints == ""
    assert process.returncode == 1


def test_help_has_examples() -> None:
    assert "wattkeeper demo --speed 0 -o json" in CliRunner().invoke(demo, ["--help"]).output
