"""`wattkeeper demo`: the same seed tells the same day, whatever the machine does meanwhile."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import Mock

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from tests.unit.cli.demo_scene import SECONDS, drawn, made
from wattkeeper.api.meta import ObjectMeta, ScaleTargetRef
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_recommendation import (
    PowerRecommendation,
    PowerRecommendationSpec,
    PowerRecommendationStatus,
    WaitingPod,
)
from wattkeeper.cli import demo_view
from wattkeeper.cli.demo import demo
from wattkeeper.cli.demo_pods import PodRow, pod_rows, pods_table
from wattkeeper.cli.demo_run import Outcome, Watcher, run_guarded, run_unguarded
from wattkeeper.cli.demo_table import outcome_json, outcome_table
from wattkeeper.cli.demo_view import DayLog, ServiceRow, screen
from wattkeeper.cluster.interface import EventRecord
from wattkeeper.cluster.objects import Pod
from wattkeeper.simulation.errors import UnusablePatchError
from wattkeeper.simulation.models import LLAMA_70B
from wattkeeper.simulation.story import NAMESPACE, Happening, plan_story
from wattkeeper.simulation.world import World

SIZES = ((80, 24), (120, 40), (60, 15))


async def _ignore(world: World) -> None:
    del world


async def _slowly(world: World) -> None:
    # Every so often real time passes, in which nothing may happen in virtual time.
    before = world.clock.now()
    if world.seconds() % 50 == 0:
        await asyncio.sleep(0.004)
    assert world.clock.now() == before


@dataclass
class Day:
    """One day as it was shown.

    Attributes:
        lines: what was said.
        pods: every pod that was made during the day and seen out of the gate, as it was seen first.
        alerts: the numbers of alerts that were active, as they came.
        screens: by size, columns and lines: the live view, three times.
    """

    lines: list[str] = field(default_factory=list[str])
    pods: dict[str, PodRow] = field(default_factory=dict[str, PodRow])
    alerts: list[int] = field(default_factory=list[int])
    screens: dict[tuple[int, int], list[str]] = field(default_factory=lambda: {size: [] for size in SIZES})

    def watch(self, log: DayLog) -> Watcher:
        async def look(world: World) -> None:
            self.lines += [text for _, _, text in log.look(world)]
            for row in pod_rows(world, 100):
                if not row.gated:
                    self.pods.setdefault(row.name, row)
            if not self.alerts or self.alerts[-1] != len(log.alerts):
                self.alerts.append(len(log.alerts))
            if world.seconds() % (SECONDS // 3) == 0:
                for (width, height), shown in self.screens.items():
                    shown.append(drawn(world, log, width, height))

        return look


@pytest.fixture(scope="module")
def day() -> Day:
    return Day()


@pytest.fixture(scope="module")
def outcome(day: Day) -> Outcome:
    story = plan_story(seconds=SECONDS, seed=1)
    guarded, actions = asyncio.run(run_guarded(story, day.watch(DayLog())))
    unguarded = asyncio.run(run_unguarded(story, _ignore))
    return Outcome(story=story, guarded=guarded, actions=actions, unguarded=unguarded)


async def test_the_same_seed_gives_the_same_score_on_a_slower_machine(outcome: Outcome) -> None:
    slow = await run_guarded(plan_story(seconds=SECONDS, seed=1), _slowly)
    assert slow == (outcome.guarded, outcome.actions)


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


@pytest.mark.usefixtures("outcome")
def test_every_pod_of_the_day_has_its_watts_and_requests_from_what_was_used(day: Day) -> None:
    assert {row.service for row in day.pods.values()} == {"chat", "code", "summaries"}
    assert all(row.watts > 0 for row in day.pods.values())
    learned = [row for row in day.pods.values() if row.memory_bytes]
    assert all(row.cores > row.template_cores for row in learned)
    assert len(learned) > len(day.pods) / 2


@pytest.mark.usefixtures("outcome")
def test_memory_covers_what_loading_took(day: Day) -> None:
    last = {row.service: row for row in day.pods.values()}
    assert last["chat"].memory_bytes > 2 * LLAMA_70B.parameters


@pytest.mark.usefixtures("outcome")
def test_the_day_tells_what_new_pods_get(day: Day) -> None:
    said = [line for line in day.lines if "a new pod" in line]
    form = r"\w+: a new pod, [\d,]+ W granted, requests cpu \d -> [\d.]+, memory \d+ GiB"
    assert all(re.fullmatch(form, line) for line in said)
    assert len(said) < len(day.pods)


@pytest.mark.usefixtures("outcome")
def test_an_alert_appears_and_is_over(day: Day) -> None:
    said = [line for line in day.lines if line.startswith("alert")]
    assert [line.partition(":")[0] for line in said] == ["alert", "alert over"]
    assert all("Power readings of PowerBudget rack-b" in line for line in said)
    assert day.alerts == [0, 1, 0]


async def test_a_part_of_the_world_that_breaks_ends_the_day_with_its_error() -> None:
    def broken(pod: Pod) -> Pod:
        raise UnusablePatchError(pod.metadata.name)

    async def breaks(world: World) -> None:
        world.cluster.admit_pods(broken)

    with pytest.raises(UnusablePatchError):
        await run_unguarded(plan_story(seconds=SECONDS, seed=1), breaks)


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


@pytest.mark.usefixtures("outcome")
@pytest.mark.parametrize("size", SIZES)
def test_the_live_view_fits_its_terminal(day: Day, size: tuple[int, int]) -> None:
    width, height = size
    for text in day.screens[size]:
        assert len(text.splitlines()) <= height
        assert max(map(len, text.splitlines())) <= width
    assert "rack-a" in day.screens[size][0]
    assert "summaries" in day.screens[size][0]


@pytest.mark.usefixtures("outcome")
def test_a_view_that_is_high_enough_shows_new_pods(day: Day) -> None:
    shown = {size: any("granted, loads" in text for text in day.screens[size]) for size in SIZES}
    assert shown == {(80, 24): True, (120, 40): True, (60, 15): False}


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


async def _alert(world: World, state: str, note: str) -> None:
    budget = world.cluster.view.get(PowerBudget, "", "rack-a")
    assert budget is not None
    key = f"alert/0123/{state}"
    record = EventRecord(regarding=budget, type="Warning", reason="X", action="Alert", note=note, dedupe_key=key)
    await world.cluster.record(record)


async def test_an_alert_that_comes_back_is_told_again() -> None:
    world, log = World(plan_story(seconds=SECONDS, seed=1)), DayLog()
    for _ in range(2):
        await _alert(world, "firing", "It burns. Look.")
        log.look(world)
        await _alert(world, "resolved", "Over: It burns")
        log.look(world)

    assert [text for _, _, text in log.lines] == ["alert: It burns. Look.", "alert over: It burns"] * 2


async def test_active_alerts_stand_at_the_top() -> None:
    world, log = World(plan_story(seconds=SECONDS, seed=1)), DayLog()
    shown: list[str] = []
    for note in ("", "It burns. Look."):
        if note:
            await _alert(world, "firing", note)
        log.look(world)
        shown.append(drawn(world, log, 80, 24).splitlines()[1])

    assert "no alerts" in shown[0]
    assert "1 alert  It burns " in shown[1]


async def test_a_pod_at_the_gate_comes_first_and_says_what_it_waits_for() -> None:
    world = World(plan_story(seconds=SECONDS, seed=1))
    made(world, "chat-waits", gated=True)
    made(world, "chat-runs", gated=False)
    target = ScaleTargetRef(kind="Deployment", name="chat")
    waiting = WaitingPod(name="chat-waits", since="2026-03-02T07:01:00Z", budget="rack-a", missing_watts=610.0)
    world.cluster.create(
        PowerRecommendation(
            metadata=ObjectMeta(name="deployment-chat", namespace=NAMESPACE),
            spec=PowerRecommendationSpec(scale_target_ref=target),
            status=PowerRecommendationStatus(mode="Scale", waiting_pods=(waiting,)),
        )
    )
    rows = pod_rows(world, 5)
    console = Console(width=120)
    with console.capture() as capture:
        console.print(pods_table(rows, wide=True))

    assert [row.name for row in rows] == ["chat-waits", "chat-runs"]
    _, first, second = capture.get().splitlines()
    assert " ".join(first.split()) == "chat-waits - 4 -> 9.5 20 GiB 2,660 at the gate: rack-a lacks 610 W"
    assert second.rstrip().endswith("granted, waits for a node")


@pytest.mark.parametrize(("ascii_only", "mark"), [(False, "…"), (True, "~")])
async def test_a_line_that_is_too_long_for_the_view_shows_that_it_goes_on(ascii_only: bool, mark: str) -> None:
    world, log = World(plan_story(seconds=SECONDS, seed=1)), DayLog()
    log.tell(world, Happening(hour=12.0, what="limit", rack="rack-a", text="x" * 90))
    console = Console(width=80, height=24)
    with console.capture() as capture:
        console.print(screen(world, log, width=80, height=24, ascii_only=ascii_only))

    assert f"x{mark}" in capture.get()


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The command, with a recorded trace for the first service."""
    trace = tmp_path_factory.mktemp("traces") / "trace.csv"
    rows = "".join(f"2023-11-16 18:{minute:02d}:30.0,900,120\n" for minute in range(50))
    trace.write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}")
    return CliRunner().invoke(demo, ["--hours", "0.25", "--trace", str(trace), "-o", "json"])


def test_json_on_stdout_is_nothing_but_json(traced: Result) -> None:
    assert traced.exit_code == 0, traced.output
    assert json.loads(traced.stdout)["seed"] == 1
    assert "The day begins" in traced.stderr


def test_a_recorded_trace_is_taken_and_its_factor_is_said(traced: Result) -> None:
    assert json.loads(traced.stdout)["trace_factors"]["chat"] > 1
    assert "chat: the recorded trace" in traced.stderr


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
