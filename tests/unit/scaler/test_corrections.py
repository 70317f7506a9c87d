"""What is published of pods that have to go or could move."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from scaler.metrics import ScalerMetrics
from tests.unit.scaler.publication import Publication
from tests.unit.scaler.results import Row, decision
from tests.unit.scaler.samples import NAMESPACE, NOW
from wattkeeper.api.instants import format_instant
from wattkeeper.api.power_recommendation import MovablePod, ViolatingPod, Violation
from wattkeeper.api.readings import Mode, ServiceKey
from wattkeeper.guard.guarded_plan import GrantReason
from wattkeeper.recommender.result import StepResult

MET = GrantReason.DEMAND_MET


@pytest.fixture
def publication() -> Publication:
    return Publication()


def violated(
    type_: Literal["Budget", "Replicas", "Slipped", "Performance"] = "Budget", *names: str, watts: float = 700.0
) -> Violation:
    pods = tuple(ViolatingPod(name=name, uid=f"uid-{name}", watts=watts) for name in names)
    budget = "hall" if type_ == "Budget" else ""
    return Violation(type=type_, since=format_instant(NOW), budget=budget, watts=watts, pods=pods)


def violating(*violations: Violation, movable: tuple[MovablePod, ...] = (), **row: Any) -> StepResult:
    key = ServiceKey(NAMESPACE, "Deployment", "llm")
    return dataclasses.replace(
        decision(Row(**row), now=NOW + 5),
        service_violations={key: violations} if violations else {},
        movable_pods={key: movable} if movable else {},
    )


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.SCALE, Mode.KILL])
async def test_violations_and_movable_pods_are_published_in_every_mode(publication: Publication, mode: Mode) -> None:
    one, pod = violated("Budget", "a"), MovablePod(name="b", uid="uid-b", budget="hall", watts=500.0)
    await publication.writes(violating(one, movable=(pod,), mode=mode))
    assert (publication.status().violations, publication.status().movable_pods) == ((one,), (pod,))


async def test_watts_of_named_pods_that_drift_write_nothing_and_other_pods_do(publication: Publication) -> None:
    await publication.writes(violating(violated("Budget", "a")))
    assert await publication.writes(violating(violated("Budget", "a", watts=720.0))) == []
    again = [violated("Budget", "b"), violated("Budget", "b", "a"), violated("Slipped", "a"), violated("Budget")]
    for one in again:
        assert await publication.writes(violating(one)) == [("status", "chat/deployment-llm")]


async def test_another_movable_pod_or_budget_is_written(publication: Publication) -> None:
    pod = MovablePod(name="b", uid="uid-b", budget="hall", watts=500.0)
    await publication.writes(violating(movable=(pod,)))
    assert await publication.writes(violating(movable=(replace(pod, watts=510.0),))) == []
    for other in (replace(pod, budget="rack"), replace(pod, uid="uid-c")):
        assert await publication.writes(violating(movable=(other,))) == [("status", "chat/deployment-llm")]


async def test_a_violation_that_begins_and_ends_makes_events_with_its_pods(publication: Publication) -> None:
    await publication.writes(violating())
    await publication.writes(violating(violated("Budget", "a", "b")))
    (event,) = publication.cluster.events
    assert (event.reason, event.note) == (
        "BudgetViolated",
        "PowerBudget hall is over its limit. To go: a (700 W), b (700 W).",
    )
    await publication.writes(violating(violated("Budget", "b")))
    assert publication.events() == []
    await publication.writes(violating())
    assert publication.events() == ["ViolationEnded"]


async def test_replicas_that_go_because_traffic_falls_make_no_event(publication: Publication) -> None:
    met: dict[str, Any] = {"reason": MET, "grant": 2, "demand": 2}
    await publication.writes(violating(**met))
    await publication.writes(violating(violated("Replicas", "a"), **met))
    assert publication.status().violations
    await publication.writes(violating(**met))
    assert publication.events() == []
    await publication.writes(violating(violated("Replicas", "a")))
    assert "ReplicasViolated" in publication.events()


async def test_pods_that_begin_to_perform_badly_one_after_the_other_make_one_event(publication: Publication) -> None:
    await publication.writes(violating())
    first = violated("Performance", "a")
    await publication.writes(violating(first))
    assert publication.events() == ["PerformanceViolated"]
    await publication.writes(violating(first, replace(violated("Performance", "b"), since=format_instant(NOW + 9))))
    assert publication.events() == []


def test_violating_and_movable_pods_are_counted() -> None:
    registry = CollectorRegistry()
    pod = MovablePod(name="b", uid="uid-b", budget="hall")
    result = violating(violated("Budget", "a", "b"), violated("Replicas", "a"), movable=(pod,))
    # A pod under two budgets is one pod.
    row = replace(violated("Budget", "a"), budget="row")
    key = next(iter(result.service_violations))
    violations = {key: (*result.service_violations[key], row)}
    ScalerMetrics(registry).plan.result = dataclasses.replace(result, service_violations=violations)
    counts = [
        registry.get_sample_value("wattkeeper_violating_pods", {"type": type_})
        for type_ in ("Budget", "Replicas", "Slipped", "Performance")
    ]
    assert (counts, registry.get_sample_value("wattkeeper_movable_pods")) == ([2.0, 1.0, 0.0, 0.0], 1.0)
