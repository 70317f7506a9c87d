from typing import Literal

import pytest
from msgspec.structs import replace

from tests.unit.scaler.publication import Publication
from tests.unit.scaler.results import Row, decision, violation
from tests.unit.scaler.samples import NAMESPACE, NOW, budget, policy, scaled_object
from wattkeeper.api.conditions import holds, message_of
from wattkeeper.api.instants import format_instant
from wattkeeper.api.meta import Condition
from wattkeeper.api.power_budget import ParentRef, PowerBudget
from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.api.power_recommendation import Actuation, PowerRecommendation
from wattkeeper.api.readings import Mode
from wattkeeper.cluster.objects import ScaledObject, Trigger
from wattkeeper.guard.guarded_plan import GrantReason

MET = GrantReason.DEMAND_MET


def child(name: str, watts: float) -> PowerBudget:
    alone = budget(name, evaluated=None, watts=watts)
    return replace(alone, spec=replace(alone.spec, parent_ref=ParentRef(name="hall")))


@pytest.fixture
def publication() -> Publication:
    return Publication()


async def test_a_first_decision_creates_the_recommendation_and_says_everything(publication: Publication) -> None:
    writes = await publication.writes(decision(Row()))
    assert ("apply", "chat/deployment-llm") in writes
    assert ("status", "chat/deployment-llm") in writes
    status = publication.status()
    assert (status.mode, status.target.replicas, status.target.watts) == ("Scale", 3, 1500.0)
    assert (status.lower_bound.replicas, status.upper_bound.replicas) == (0, 40)
    assert status.uncapped_target is not None
    assert (status.uncapped_target.replicas, status.reason, status.binding_budget) == (6, "BudgetBinds", "hall")
    assert "hall lacks 1500 W" in status.message
    assert holds(status.conditions, "Ready")
    assert holds(status.conditions, "CapEnforced")
    assert {one.observed_generation for one in status.conditions} == {1}


async def test_the_same_decision_again_writes_nothing(publication: Publication) -> None:
    await publication.writes(decision(Row()))
    assert await publication.writes(decision(Row(), now=NOW + 5)) == []


async def test_watts_that_drift_a_little_write_nothing_and_a_tenth_does(publication: Publication) -> None:
    await publication.writes(decision(Row(replica_watts=500.0)))
    assert await publication.writes(decision(Row(replica_watts=530.0), now=NOW + 1)) == []
    assert await publication.writes(decision(Row(replica_watts=560.0), now=NOW + 2)) == [
        ("status", "chat/deployment-llm")
    ]


@pytest.mark.parametrize(
    "changed",
    [
        Row(grant=2),
        Row(demand=7),
        Row(reason=GrantReason.FLOOR_HELD),
        Row(stale=True),
        Row(mode=Mode.OFF),
        Row(enforced=False),
    ],
)
async def test_what_means_something_new_is_written(publication: Publication, changed: Row) -> None:
    await publication.writes(decision(Row()))
    assert await publication.writes(decision(changed, now=NOW + 1)) == [("status", "chat/deployment-llm")]


async def test_conditions_keep_the_time_of_their_last_transition(publication: Publication) -> None:
    await publication.writes(decision(Row()))
    first = {one.type: one.last_transition_time for one in publication.status().conditions}
    await publication.writes(decision(Row(stale=True), now=NOW + 60))
    second = {one.type: one.last_transition_time for one in publication.status().conditions}
    assert {name for name in first if first[name] != second[name]} == {"Ready", "TelemetryStale"}


async def test_a_decision_that_is_not_warm_tells_nobody_anything_new(publication: Publication) -> None:
    await publication.writes(decision(Row(grant=3)))
    cold = decision(Row(grant=9, reason=GrantReason.WARMING_UP), now=NOW + 60, warm=False)
    assert await publication.writes(cold) == []
    assert publication.status().target.replicas == 3


async def test_a_decision_that_is_not_warm_gives_new_services_a_hold(publication: Publication) -> None:
    cold = decision(Row(grant=4, reason=GrantReason.WARMING_UP), warm=False)
    await publication.writes(cold)
    assert (publication.status().target.replicas, publication.status().reason) == (4, "WarmingUp")
    assert publication.budget().status.last_evaluated == ""


async def test_the_recommendation_of_a_service_that_is_gone_is_deleted(publication: Publication) -> None:
    await publication.writes(decision(Row(), Row(name="old")))
    writes = await publication.writes(decision(Row(), now=NOW + 1))
    assert [name for verb, name in writes if verb == "delete"] == ["chat/deployment-old"]


async def test_nothing_is_deleted_while_caches_are_incomplete_or_history_is_cold(publication: Publication) -> None:
    await publication.writes(decision(Row()))
    publication.cluster.view.complete = False
    assert await publication.writes(decision(now=NOW + 1)) == [("status", "chat/capped")]
    publication.cluster.view.complete = True
    assert await publication.writes(decision(now=NOW + 2, warm=False)) == []


async def test_a_failing_object_stops_no_other_and_is_tried_again(publication: Publication) -> None:
    rows = [Row(name=f"s{number}") for number in range(20)]
    publication.cluster.failing = {("status", "deployment-s3"), ("status", "hall")}
    writes = await publication.writes(decision(*rows))
    assert len([one for one in writes if one[0] == "status" and "deployment-" in one[1]]) == 19
    assert publication.failed("recommendation") == 1.0
    assert publication.failed("budget") == 1.0
    publication.cluster.failing.clear()
    assert ("status", "chat/deployment-s3") in await publication.writes(decision(*rows, now=NOW + 5))


async def test_a_replica_that_no_longer_leads_stops_writing(publication: Publication) -> None:
    publication.leads = False
    assert await publication.writes(decision(Row())) == []


async def test_figures_of_a_budget_are_written_every_second_tick_and_its_state_at_once(
    publication: Publication,
) -> None:
    refreshed = [
        bool(await publication.writes(decision(Row(), now=NOW + seconds, guarded=9_000.0 + seconds)))
        for seconds in (0.0, 5.0, 10.0, 15.0, 20.0)
    ]
    assert refreshed == [True, False, True, False, True]
    assert ("status", "/hall") in await publication.writes(decision(Row(), now=NOW + 21, over=0.4, guarded=10_000.4))
    assert publication.budget().status.over_watts == 1.0


async def test_a_budget_says_its_sums_and_which_pods_have_to_go(publication: Publication) -> None:
    pods = tuple(violation(f"pod-{number}") for number in range(30))
    await publication.writes(decision(Row(), over=1_000.0, guarded=11_000.0, rung=1, violations=pods))
    status = publication.budget().status
    assert (status.limit_watts, status.guarded_watts, status.over_watts, status.headroom_watts) == (
        10_000.0,
        11_000.0,
        1_000.0,
        0.0,
    )
    assert (status.meter_watts, status.nodes, status.readings) == (None, 4, "Frozen")
    assert len(status.violating_pods) == 10
    assert holds(status.conditions, "TelemetryStale")
    assert not holds(status.conditions, "Ready")
    assert publication.events() == ["OverBudget", "ReadingsStale"]
    assert "chat/pod-0 (700 W)" in publication.cluster.events[0].note


async def test_a_budget_whose_group_contradicts_itself_says_so_without_a_webhook(publication: Publication) -> None:
    publication.cluster.view.put(child("rack-a", 6_000.0), child("rack-b", 6_000.0))
    await publication.writes(decision(Row(), domains=("hall", "rack-a", "rack-b")))
    conditions = publication.budget().status.conditions
    assert not holds(conditions, "GroupConsistent")
    assert message_of(conditions, "GroupConsistent").startswith("spec.limitWatts: children may draw 12,000 W together")
    found = publication.cluster.view.get(PowerBudget, "", "rack-a")
    assert found is not None
    assert holds(found.status.conditions, "GroupConsistent")


async def test_a_budget_that_stands_alone_says_nothing_about_groups(publication: Publication) -> None:
    await publication.writes(decision(Row()))
    assert "GroupConsistent" not in {one.type for one in publication.budget().status.conditions}


async def test_a_budget_that_is_inside_and_fresh_again_says_so(publication: Publication) -> None:
    await publication.writes(decision(Row(), over=1_000.0, rung=2))
    await publication.writes(decision(Row(), now=NOW + 5))
    assert publication.events() == ["WithinBudget", "ReadingsRecovered"]


async def test_a_budget_says_since_when_it_is_over(publication: Publication) -> None:
    for tick, over in enumerate((0.0, 10.0, 20.0)):
        await publication.writes(decision(Row(), over=over, now=NOW + tick))
    (found,) = [one for one in publication.budget().status.conditions if one.type == "OverBudget"]
    assert (found.status, found.last_transition_time) == ("True", format_instant(NOW + 1))


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.INITIAL])
async def test_a_service_that_nobody_caps_says_that_more_runs_than_its_budget_carries(
    publication: Publication, mode: Mode
) -> None:
    await publication.writes(decision(Row(mode=mode, grant=3, active=5)))
    assert message_of(publication.status().conditions, "AboveAdvice") == (
        "5 replicas run, and PowerBudget hall carries 3. The policy's mode stops none."
    )
    await publication.writes(decision(Row(mode=mode, grant=5, active=5), now=NOW + 1))
    assert not holds(publication.status().conditions, "AboveAdvice")


async def test_replicas_that_only_the_traffic_does_not_ask_for_are_not_above_the_advice(
    publication: Publication,
) -> None:
    await publication.writes(decision(Row(mode=Mode.OFF, grant=2, demand=2, active=5, reason=MET)))
    assert not holds(publication.status().conditions, "AboveAdvice")


async def test_an_enforced_service_has_no_advice(publication: Publication) -> None:
    await publication.writes(decision(Row(grant=3, active=5)))
    assert "AboveAdvice" not in {one.type for one in publication.status().conditions}


async def test_cuts_and_raises_by_a_budget_are_events_and_demand_alone_is_none(publication: Publication) -> None:
    await publication.writes(decision(Row(grant=6, demand=6, reason=MET)))
    await publication.writes(decision(Row(grant=3), now=NOW + 1))
    assert publication.events() == ["CapLowered"]
    await publication.writes(decision(Row(grant=6, reason=MET), now=NOW + 2))
    assert publication.events() == ["CapRaised"]
    await publication.writes(decision(Row(grant=2, demand=2, reason=MET), now=NOW + 3))
    assert publication.events() == []


async def test_a_cap_that_the_scaled_object_defeats_is_unachievable_with_its_remedy(publication: Publication) -> None:
    publication.cluster.view.put(scaled_object(minimum=1))
    await publication.writes(decision(Row()))
    assert "minReplicaCount" in message_of(publication.status().conditions, "CapUnachievable")
    await publication.writes(decision(Row(), now=NOW + 1))
    assert publication.events() == ["CapUnachievable"], "a new object's events follow once its UID is known"


async def test_a_target_claimed_twice_is_said_on_the_target_and_on_both_policies(publication: Publication) -> None:
    publication.cluster.view.put(policy("another"))
    await publication.writes(decision(Row(claimed_twice=True)))
    assert holds(publication.status().conditions, "CapUnachievable")
    for name in ("capped", "another"):
        found = publication.cluster.view.get(PowerCappingPolicy, NAMESPACE, name)
        assert found is not None
        assert found.status.services == 1
        assert "Deployment llm" in message_of(found.status.conditions, "Ready")


async def test_a_target_without_a_trigger_of_ours_is_not_enforced(publication: Publication) -> None:
    publication.cluster.view.remove(ScaledObject, NAMESPACE, "llm")
    await publication.writes(decision(Row()))
    (enforced,) = [one for one in publication.status().conditions if one.type == "CapEnforced"]
    assert (enforced.status, enforced.reason) == ("False", "NoTrigger")


async def test_a_target_whose_scaled_object_asks_us_wrongly_is_told_why(publication: Publication) -> None:
    wrong = {"metricQuery": 'sum(wattkeeper_cap{namespace="chat", deployment="llm"})', "targetValue": "1"}
    scaled = scaled_object()
    triggers = (Trigger(type="external", metadata=wrong),)
    publication.cluster.view.put(replace(scaled, spec=replace(scaled.spec, triggers=triggers)))
    await publication.writes(decision(Row()))
    (enforced,) = [one for one in publication.status().conditions if one.type == "CapEnforced"]
    assert (enforced.status, enforced.reason) == ("False", "NoTrigger")
    assert "Wattkeeper answers wattkeeper_replicas alone" in enforced.message


async def test_a_policy_that_selects_nothing_is_not_ready(publication: Publication) -> None:
    await publication.writes(decision())
    found = publication.cluster.view.get(PowerCappingPolicy, NAMESPACE, "capped")
    assert found is not None
    assert (found.status.services, found.status.conditions[0].reason) == (0, "NoServices")


async def test_failing_events_are_counted_and_stop_no_status(publication: Publication) -> None:
    publication.cluster.failing = {("record", "*")}
    await publication.writes(decision(Row(), over=10.0))
    assert publication.budget().status.over_watts == 10.0
    assert publication.failed("event") == 1.0


async def actuated(publication: Publication, *conditions: Condition, actuation: Actuation | None = None) -> None:
    found = publication.cluster.view.get(PowerRecommendation, NAMESPACE, "deployment-llm")
    assert found is not None
    await publication.cluster.write_actuation(found, actuation=actuation, conditions=conditions)


def actuator_says(status: Literal["True", "False"], message: str = "") -> Condition:
    return Condition(
        type="Actuated", status=status, reason="R", message=message, last_transition_time=format_instant(NOW)
    )


async def test_what_the_actuator_says_makes_the_leader_write_nothing(publication: Publication) -> None:
    await publication.writes(decision(Row()))
    await actuated(publication, actuator_says("True"))
    assert [name for verb, name in await publication.writes(decision(Row())) if verb == "status"] == []
    assert holds(publication.status().conditions, "Actuated")


async def test_a_ceiling_of_the_actuator_s_enforces_a_cap_without_a_trigger(publication: Publication) -> None:
    publication.cluster.view.remove(ScaledObject, NAMESPACE, "llm")
    await publication.writes(decision(Row()))
    assert not holds(publication.status().conditions, "CapEnforced")
    await actuated(publication, actuator_says("True"), actuation=Actuation(autoscaler="hpa"))
    await publication.writes(decision(Row()))
    assert holds(publication.status().conditions, "CapEnforced")


async def test_a_cap_that_the_actuator_cannot_keep_is_unachievable_in_its_words(publication: Publication) -> None:
    await publication.writes(decision(Row()))
    await actuated(publication, actuator_says("False", "minReplicas is 4"))
    await publication.writes(decision(Row()))
    assert "minReplicas is 4" in message_of(publication.status().conditions, "CapUnachievable")


@pytest.mark.parametrize(("reason", "said"), [("NoEffect", True), ("RateLimited", False)])
async def test_evictions_that_were_given_up_make_a_cap_unachievable(
    publication: Publication, reason: str, *, said: bool
) -> None:
    await publication.writes(decision(Row()))
    stopped = replace(actuator_says("True", "3 evictions in a row"), type="KillBlocked", reason=reason)
    await actuated(publication, stopped)
    await publication.writes(decision(Row()))
    found = message_of(publication.status().conditions, "CapUnachievable")
    assert ("3 evictions in a row" in found) == said


async def test_a_recommendation_that_waits_to_go_is_not_deleted_again(publication: Publication) -> None:
    await publication.writes(decision(Row()))
    found = publication.cluster.view.get(PowerRecommendation, NAMESPACE, "deployment-llm")
    assert found is not None
    leaving = replace(found.metadata, deletion_timestamp=format_instant(NOW))
    publication.cluster.view.put(replace(found, metadata=leaving))
    assert "delete" not in [verb for verb, _ in await publication.writes(decision())]
