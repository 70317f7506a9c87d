"""A handful of random fault schedules, and that such a run would notice. `make faults` runs many."""

from __future__ import annotations

import sys
from typing import Any, get_args

import pytest

from kserve_hooks import reconcile
from kserve_hooks.protection import Protection
from tests.faults import __main__ as command
from tests.faults.checks_groups import GroupsAreWhole
from tests.faults.checks_kserve import CeilingsFollow, UsersBoundsAreKept
from tests.faults.checks_protection import ProtectionHolds
from tests.faults.run import Report, run_schedule, run_seed
from tests.faults.schedule import CALM_FROM_SECONDS, Fault, Kind, draw
from tests.faults.witness import Breach
from wattkeeper.api.readings import Bools, Floats, Ints
from wattkeeper.api.snapshot import Snapshot
from wattkeeper.cluster.objects import Pod

POLICY_GONE = (
    Fault(at=30, until=31, kind="budget", target="rack-a", amount=11_500.0),
    Fault(at=60, until=120, kind="policy gone", target="images-predictor"),
)


def test_no_invariant_is_broken_whatever_else_is() -> None:
    report = run_seed(1)

    assert report.breaches == ()
    assert report.counts["faults"] == len(report.schedule)
    assert report.counts["gates opened"] > 0


@pytest.mark.parametrize("seed", [11, 12])
def test_no_invariant_is_broken_in_the_midst_of_it(seed: int) -> None:
    assert run_schedule(seed, draw(seed), 220).breaches == ()


def test_the_same_seed_is_the_same_run() -> None:
    assert run_schedule(3, draw(3), 130) == run_schedule(3, draw(3), 130)


def test_a_guard_that_lets_everything_pass_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fitting_raises(_: Snapshot, raised: Ints, __: Floats, ___: Bools) -> Ints:
        return raised

    monkeypatch.setattr("wattkeeper.guard.guard.fitting_raises", fitting_raises)

    schedule = (
        Fault(at=90, until=91, kind="budget", target="rack-b", amount=11_000.0),
        Fault(at=100, until=160, kind="demand", target="chat", amount=3.0),
    )
    assert "1" in {one.invariant[0] for one in run_schedule(2, schedule, 200).breaches}


def test_who_asks_although_a_disruption_budget_forbids_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = (
        Fault(at=60, until=200, kind="pdb forbids", target="answers"),
        Fault(at=70, until=71, kind="budget", target="rack-b", amount=12_000.0),
    )

    def nobody(_: Protection, __: Pod) -> str:
        return ""

    monkeypatch.setattr(Protection, "forbids", nobody)

    found = {one.invariant for one in run_schedule(5, schedule, 110).breaches}
    assert ProtectionHolds.text in found


def test_evictions_that_are_asked_for_too_late_are_refused_and_not_pressed_for() -> None:
    schedule = (
        Fault(at=60, until=250, kind="pdb flaps", target="answers"),
        Fault(at=61, until=250, kind="view late", amount=4.0),
        Fault(at=70, until=71, kind="budget", target="rack-b", amount=11_500.0),
    )

    report = run_schedule(5, schedule, 200)

    assert report.breaches == ()
    assert report.counts["evict refused"] > 0


def test_a_service_of_kserve_is_seen_as_its_user_had_it_once_its_policy_has_gone() -> None:
    report = run_schedule(5, POLICY_GONE, 80)

    assert report.breaches == ()
    assert report.counts["seconds as users had it"] > 0


@pytest.mark.parametrize(
    ("breaks", "text"),
    [("notes", UsersBoundsAreKept.text), ("restores", UsersBoundsAreKept.text), ("lowers", CeilingsFollow.text)],
)
def test_an_actuator_that_forgets_one_thing_about_kserve_services_is_found_out(
    monkeypatch: pytest.MonkeyPatch, breaks: str, text: str
) -> None:
    whole = reconcile._fields  # pyright: ignore[reportPrivateUsage] - what forgets

    def forgetful(*given: Any) -> Any:
        found, wanted = whole(*given), given[2].fields
        if breaks == "notes":
            found.notes = []
        else:
            kept = {path: value for path, value in found.writes.items() if (path in wanted) == (breaks == "restores")}
            found.writes = kept
        return found

    monkeypatch.setattr(reconcile, "_fields", forgetful)

    assert text in {one.invariant for one in run_schedule(5, POLICY_GONE, 80).breaches}


def test_groups_that_are_counted_pod_by_pod_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def alone(_: Pod) -> int:
        return -1

    monkeypatch.setattr("wattkeeper.recommender.pods.group_of", alone)

    assert GroupsAreWhole.text in {one.invariant for one in run_schedule(5, (), 30).breaches}


def test_whatever_a_seed_breaks_is_whole_again_before_the_end() -> None:
    drawn = [draw(seed) for seed in range(500)]

    assert all(0 < one.at < one.until <= CALM_FROM_SECONDS for schedule in drawn for one in schedule)
    assert {one.kind for schedule in drawn for one in schedule} == set(get_args(Kind))


@pytest.mark.parametrize(("why", "code"), [(None, 0), ("it went wrong", 1)], ids=["whole", "broken"])
def test_the_command_says_how_to_replay_what_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], why: str | None, code: int
) -> None:
    def run(seed: int) -> Report:
        breaches = () if why is None or seed != 8 else (Breach(at=5.0, invariant="1 Nothing is raised", why=why),)
        return Report(seed=seed, schedule=draw(seed), breaches=breaches, counts={"steps": 780})

    monkeypatch.setattr(command, "run_seed", run)
    monkeypatch.setattr(sys, "argv", ["faults", "--seeds", "3", "--first", "7"])

    assert command.main() == code
    said = capsys.readouterr().out
    assert ("make faults N=1 SEED=8" in said) == bool(code)
    assert ("it went wrong" in said) == bool(code)
    assert "2,340" in said
