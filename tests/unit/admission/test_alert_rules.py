"""What alerts, said by the objects alone."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from admission.alert import Fact, fingerprint
from admission.alert_rules import SILENT_SECONDS, RuleOptions, find_facts
from tests.unit.admission.alert_samples import condition, row, running, service, telling
from tests.unit.admission.samples import NAMESPACE, NOW, cluster
from wattkeeper.api.instants import format_instant
from wattkeeper.api.power_recommendation import WaitingPod

LABELS = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=6)


def found(*objects: Any, now: float = NOW, hold: float = 60.0) -> list[Fact]:
    return [fact for some in find_facts(cluster(*objects), now, RuleOptions(hold_seconds=hold)) for fact in some]


def names(*objects: Any, now: float = NOW) -> list[str]:
    return [fact.alert.name for fact in found(*objects, now=now)]


def test_where_nothing_is_wrong_nothing_alerts() -> None:
    over = condition("OverBudget", holds=False)
    assert found(row(over), service(condition("AboveAdvice", holds=False)), telling(), running(3)) == []


def test_a_budget_alerts_when_it_is_over_for_longer_than_it_may_take_to_shed() -> None:
    (fact,) = found(row(condition("OverBudget", NOW - 10.0), over=300.0))
    assert (fact.alert.name, fact.alert.severity) == ("WattkeeperBudgetOver", "critical")
    assert fact.fires_at == NOW - 10.0 + 300.0
    assert fact.alert.identity == {"budget": "row-a"}
    assert fact.alert.figures == {
        "since": format_instant(NOW - 10.0),
        "limit_watts": "10000",
        "guarded_watts": "10300",
        "over_watts": "300",
    }


def test_readings_that_are_old_and_limits_that_cannot_be_kept_alert_after_the_hold() -> None:
    stale, unachievable = condition("TelemetryStale", NOW - 5.0), condition("CapUnachievable", NOW - 9.0)
    facts = found(row(stale, unachievable), hold=30.0)
    assert {fact.alert.name: fact.fires_at for fact in facts} == {
        "WattkeeperTelemetryStale": NOW + 25.0,
        "WattkeeperCapUnachievable": NOW + 21.0,
    }


def test_a_passive_service_above_its_advice_alerts_while_the_budget_is_over() -> None:
    over, above = condition("OverBudget", NOW - 50.0), condition("AboveAdvice", NOW - 20.0, message="5 replicas run.")
    facts = found(row(over, over=700.0), service(above, target=3), running(5), telling())
    (fact,) = [one for one in facts if one.alert.name == "WattkeeperAboveAdvice"]
    assert fact.since == NOW - 20.0, "both must hold, so the later one counts"
    assert fact.alert.identity == {"namespace": NAMESPACE, "service_kind": "Deployment", "service": "llm"}
    assert fact.alert.figures == {
        "since": format_instant(NOW - 20.0),
        "budget": "row-a",
        "over_watts": "700",
        "target_replicas": "3",
        "current_replicas": "5",
        "mode": "Off",
        "policy": "capped",
    }


def test_a_passive_service_above_its_advice_is_left_alone_while_the_budget_is_inside() -> None:
    assert names(row(condition("OverBudget", holds=False)), service(condition("AboveAdvice")), running(5)) == []


def test_an_enforced_service_is_cut_and_not_alerted() -> None:
    over, above = condition("OverBudget"), condition("AboveAdvice")
    assert "WattkeeperAboveAdvice" not in names(row(over), service(above, mode="Scale"), running(5))


def pod(name: str, since: float) -> WaitingPod:
    return WaitingPod(name=name, since=format_instant(since), budget="row-a", missing_watts=70.0)


def test_a_pod_alerts_at_its_policys_deadline() -> None:
    waiting = service(mode="Scale", waiting=(pod("b", NOW - 30.0), pod("a", NOW - 100.0)))
    assert names(waiting, telling(deadline=101)) == []
    (fact,) = found(waiting, telling(deadline=100))
    assert (fact.alert.name, fact.fires_at) == ("WattkeeperPodsWaiting", NOW)
    assert (fact.alert.figures["pod"], fact.alert.figures["missing_watts"]) == ("a", "70")


def test_without_a_policys_word_a_pod_may_wait_for_ten_minutes() -> None:
    assert names(service(waiting=(pod("a", NOW - 599.0),)), telling()) == []
    assert names(service(waiting=(pod("a", NOW - 600.0),))) == ["WattkeeperPodsWaiting"]


def test_blocked_rollouts_and_slipped_pods_alert() -> None:
    conditions = condition("RolloutBlocked", message="No watts."), condition("PodsSlipped", message="2 pods started.")
    facts = found(service(*conditions, mode="Scale", slipped=2))
    assert [fact.alert.name for fact in facts] == ["WattkeeperRolloutBlocked", "WattkeeperPodsSlipped"]
    assert facts[0].alert.description == "No watts."
    assert facts[1].alert.figures["pods"] == "2"


def test_what_a_budget_cannot_keep_is_the_budgets_alert_alone() -> None:
    whose = service(condition("CapUnachievable", reason="BudgetUnachievable"), mode="Scale")
    assert names(whose) == []
    assert names(service(condition("CapUnachievable", reason="ScaledObject"))) == ["WattkeeperCapUnachievable"]


def test_a_leader_that_decides_no_more_alerts_once() -> None:
    budgets = row(name="a", evaluated=NOW - SILENT_SECONDS), row(name="b", evaluated=NOW - 500.0)
    (fact,) = found(*budgets)
    assert (fact.alert.name, fact.alert.identity, fact.fires_at) == ("WattkeeperNobodyDecides", {}, NOW)
    assert names(*budgets, row(name="c", evaluated=NOW - 10.0)) == []


def test_budgets_that_nobody_ever_evaluated_alert() -> None:
    assert names(row(evaluated=0.0)) == ["WattkeeperNobodyDecides"]


def test_the_policy_says_who_is_told() -> None:
    blocked = service(condition("RolloutBlocked"), mode="Scale")
    assert [fact.alert.sinks for fact in found(blocked, telling("oncall", "chat"))] == [("oncall", "chat")]
    assert [fact.alert.sinks for fact in found(blocked)] == [()]


def test_a_condition_without_a_readable_time_has_held_for_long_enough() -> None:
    (fact,) = found(row(replace(condition("TelemetryStale"), last_transition_time="?")))
    assert fact.fires_at == NOW


def test_figures_that_change_leave_an_alert_the_same() -> None:
    (small,) = found(row(condition("OverBudget"), over=100.0))
    (large,) = found(row(condition("OverBudget", NOW - 9.0), over=900.0))
    assert small.alert.fingerprint == large.alert.fingerprint
    assert small.alert != large.alert


def test_alerts_about_different_objects_differ() -> None:
    facts = found(
        row(condition("TelemetryStale"), name="a"),
        row(condition("TelemetryStale"), condition("CapUnachievable"), name="b"),
        service(condition("CapUnachievable", reason="ScaledObject")),
        service(condition("CapUnachievable", reason="ScaledObject"), name="other"),
    )
    assert len({fact.alert.fingerprint for fact in facts}) == len(facts) == 5


@given(LABELS, st.randoms(use_true_random=False))
def test_a_fingerprint_knows_no_order(labels: dict[str, str], random: Any) -> None:
    shuffled = list(labels.items())
    random.shuffle(shuffled)
    assert fingerprint(dict(shuffled)) == fingerprint(labels)


@given(LABELS, LABELS)
def test_different_labels_have_different_fingerprints(one: dict[str, str], other: dict[str, str]) -> None:
    assert (fingerprint(one) == fingerprint(other)) == (one == other)


def test_every_replica_finds_the_same_in_the_same_objects() -> None:
    objects = (
        row(condition("OverBudget", NOW - 400.0), condition("TelemetryStale"), over=5.0),
        service(condition("AboveAdvice"), condition("RolloutBlocked")),
    )
    assert found(*objects) == found(*reversed(objects))
