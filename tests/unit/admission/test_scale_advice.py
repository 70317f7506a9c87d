"""What is said to people who raise replicas where a policy does not enforce."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from admission.review import Answer, GroupVersionKind, Review
from admission.scale_advice import ScaleAdvisor
from admission.view import AdmissionView
from tests.unit.admission.samples import NAMESPACE, NOW, budget, cluster, namespace, policy, recommendation
from tests.unit.scaler.hand_clock import HandClock
from tests.unit.scaler.memory_cluster import MemoryView
from wattkeeper.api.power_capping_policy import Mode


def view(mode: Mode = "Off", *, over: float = 0.0, kind: str = "Deployment") -> MemoryView:
    return cluster(
        namespace(), policy(mode=mode), budget(over=over), recommendation(kind, "llm", target=3, budget="row-a")
    )


def scaled(before: int, replicas: int, *, over: MemoryView | None = None, now: float = NOW, **more: Any) -> Answer:
    def scale(count: int) -> bytes:
        return json.dumps({"spec": {"replicas": count} if count else {}}).encode()

    review = Review(
        uid="u-1",
        kind=GroupVersionKind("autoscaling", "v1", "Scale"),
        resource="deployments",
        sub_resource="scale",
        operation="UPDATE",
        namespace=NAMESPACE,
        name="llm",
        object=scale(replicas),
        old_object=scale(before),
    )
    advisor = ScaleAdvisor(AdmissionView(view() if over is None else over), HandClock(now))
    return advisor(dataclasses.replace(review, **more))


@pytest.mark.parametrize("mode", ["Off", "Initial"])
def test_who_asks_for_more_than_the_budget_carries_is_told(mode: Mode) -> None:
    answer = scaled(3, 5, over=view(mode))
    assert (answer.allowed, answer.result) == (True, "warned")
    assert answer.warnings == (
        f"PowerBudget row-a carries 3 of 5 replicas; policy capped is in mode {mode}, so these replicas start anyway",
    )


def test_who_raises_replicas_under_a_budget_that_is_over_is_told_by_how_much() -> None:
    (warning,) = scaled(0, 1, over=view(over=400.0)).warnings
    assert warning.startswith("PowerBudget row-a is over by 400 W; ")


def test_groups_are_scaled_alike() -> None:
    assert scaled(3, 5, over=view(kind="LeaderWorkerSet"), resource="leaderworkersets").result == "warned"


def test_the_object_itself_is_looked_at_as_its_scale_is() -> None:
    whole = GroupVersionKind("apps", "v1", "Deployment")
    assert scaled(3, 5, kind=whole, sub_resource="").result == "warned"


@pytest.mark.parametrize(
    ("before", "replicas"), [(5, 5), (5, 4), (1, 3), (0, 0)], ids=["kept", "lowered", "carried", "none"]
)
def test_what_the_budget_carries_and_what_is_not_raised_needs_no_word(before: int, replicas: int) -> None:
    assert scaled(before, replicas) == Answer()


def test_a_policy_that_enforces_says_it_on_the_pods_instead() -> None:
    assert scaled(3, 5, over=view("Scale")) == Answer()


def test_a_service_without_a_recommendation_or_a_policy_gets_no_advice() -> None:
    assert scaled(3, 5, name="other") == Answer()
    alone = cluster(namespace(), budget(), recommendation(name="llm", target=3, budget="row-a"))
    assert scaled(3, 5, over=alone) == Answer()


def test_a_budget_that_nobody_has_evaluated_for_a_minute_says_nothing() -> None:
    assert scaled(3, 5, now=NOW + 61.0) == Answer()


def test_a_namespace_that_nobody_opted_in_is_left_alone() -> None:
    assert scaled(3, 5, over=cluster(namespace(enabled=False))) == Answer(result="unconcerned")


@pytest.mark.parametrize(
    "more",
    [{"operation": "CREATE"}, {"operation": "DELETE"}, {"resource": "statefulsets"}, {"sub_resource": "status"}],
    ids=str,
)
def test_what_it_does_not_judge_is_let_through(more: dict[str, Any]) -> None:
    assert scaled(3, 5, **more) == Answer(result="not_asked_for")


@pytest.mark.parametrize(
    "raw",
    [b"null", b"{", b'{"spec":{"replicas":"5"}}', b"[" * 10_000],
    ids=["null", "cut-off", "a-word", "deep"],
)
def test_what_cannot_be_read_is_let_through(raw: bytes) -> None:
    assert scaled(3, 5, object=raw) == Answer(result="unreadable")
