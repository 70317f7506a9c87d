import pytest

from scaler.answers import Answer, Answers
from scaler.errors import BrokenWatchError, NoPlanError
from tests.unit.scaler.memory_cluster import MemoryView
from tests.unit.scaler.samples import NAMESPACE, NOW, budget, deployment, policy, recommendation, scaled_object
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.cluster.interface import Watched

LATE = NOW + 16.0


def answer(
    *objects: Watched, metric: str = "replicas", now: float = NOW, server_minor: int = 36, synced: bool = True
) -> Answer:
    view = MemoryView()
    view.complete = synced
    view.put(policy(), budget(), scaled_object(), deployment(replicas=4), recommendation(target=3, uncapped=6))
    view.put(*objects)
    return Answers(view, server_minor=server_minor, stale_seconds=15.0).answer(
        NAMESPACE, "llm", {"metric": metric}, now
    )


@pytest.mark.parametrize("metric", ["replicas", "cap"])
def test_while_a_pod_moves_one_replica_more_is_told_than_the_traffic_asks_for(metric: str) -> None:
    moving = recommendation(target=4, uncapped=3, migrating=1)
    told = answer(moving, deployment(replicas=3), metric=metric)
    assert (told.replicas, told.value) == (4, 4.0)


@pytest.mark.parametrize("mode", ["Off", "Initial"])
def test_in_shadow_modes_demand_is_told_uncapped_and_the_cap_is_the_policys_maximum(mode: str) -> None:
    shadow = recommendation(target=3, uncapped=6, mode=mode, maximum=40)
    assert answer(shadow).value == 6.0
    assert answer(shadow, metric="cap").value == 40.0


def test_unknown_demand_in_a_shadow_mode_holds_what_the_target_asks_for() -> None:
    assert answer(recommendation(uncapped=None, mode="Off"), deployment(replicas=4)).value == 4.0


@pytest.mark.parametrize(("recommended", "told"), [(9, 4), (4, 4), (2, 2), (0, 0)])
def test_stale_decisions_lower_but_never_raise(recommended: int, told: int) -> None:
    stale = answer(recommendation(target=recommended), now=LATE)
    assert (stale.replicas, stale.stale) == (told, True)


@pytest.mark.parametrize("recommended", [9, 2])
def test_caches_that_may_have_missed_a_decision_give_no_number(recommended: int) -> None:
    with pytest.raises(BrokenWatchError, match="may be over"):
        answer(recommendation(target=recommended), synced=False)


def test_a_broken_watch_does_not_cap_a_service_in_a_shadow_mode() -> None:
    assert answer(recommendation(mode="Off", maximum=40), metric="cap", synced=False).replicas == 40


def test_a_stale_decision_leaves_a_target_at_zero_inactive() -> None:
    assert not answer(recommendation(target=5), deployment(replicas=0), now=LATE).active


def test_a_stale_decision_does_not_cap_a_service_in_a_shadow_mode() -> None:
    assert answer(recommendation(mode="Off", maximum=40), metric="cap", now=LATE).replicas == 40


@pytest.mark.parametrize("evaluated", [None, NOW - 16.0, NOW + 16.0])
def test_budgets_never_evaluated_or_by_a_wrong_clock_are_stale(evaluated: float | None) -> None:
    assert answer(budget(evaluated=evaluated)).stale


def test_one_budget_evaluated_in_time_shows_that_somebody_decides() -> None:
    assert not answer(budget("new", evaluated=None)).stale


def test_without_any_budget_there_is_nothing_to_be_stale() -> None:
    view = MemoryView()
    view.put(policy(), budget(), scaled_object(), deployment(), recommendation(target=9))
    answers = Answers(view, server_minor=36, stale_seconds=15.0)
    view.remove(PowerBudget, "", "hall")
    assert answers.answer(NAMESPACE, "llm", {}, LATE).replicas == 9


@pytest.mark.parametrize(
    ("tolerance", "server_minor", "value"),
    [("0", 36, 19.0), ("0", 35, 19.0), ("0", 34, 17.999), (None, 36, 17.999), ("50m", 36, 18.999), ("0.3", 34, 13.999)],
)
def test_the_value_fits_the_tolerance_in_force(tolerance: str | None, server_minor: int, value: float) -> None:
    down = {} if tolerance is None else {"tolerance": tolerance}
    scaled = scaled_object(advanced={"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": down}}})
    told = answer(scaled, deployment(replicas=20), recommendation(target=19), server_minor=server_minor)
    assert told.replicas == 19
    assert told.value == pytest.approx(value, abs=1e-9)


def test_the_hpa_counts_from_the_status_and_so_does_the_value() -> None:
    # A rollout's surge: 25 pods where 20 are asked for. Told 24, the HPA would set 25.
    told = answer(deployment(replicas=20, status_replicas=25), recommendation(target=24), scaled_object(advanced={}))
    assert told.value == pytest.approx(22.499, abs=1e-9)


def test_a_recommendation_without_a_status_is_none_yet() -> None:
    with pytest.raises(NoPlanError):
        answer(recommendation(mode=""))
