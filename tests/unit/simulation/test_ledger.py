"""The score: integrals over limits, and how long a cut took."""

from __future__ import annotations

import msgspec
import pytest

from tests.unit.simulation.test_twin import begin, make_twin, run, steady
from wattkeeper.api.meta import LabelSelector, ObjectMeta
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetSpec
from wattkeeper.simulation.errors import ImpossibleFixtureError
from wattkeeper.simulation.ledger import Ledger, Score
from wattkeeper.simulation.twin import Twin


def budget(watts: float, zone: str = "a", shed_seconds: int = 300) -> PowerBudget:
    spec = PowerBudgetSpec(
        limit_watts=watts,
        node_selector=LabelSelector(match_labels={"zone": zone}),
        meter="wall",
        shed_seconds=shed_seconds,
    )
    return PowerBudget(metadata=ObjectMeta(name="rack"), spec=spec)


def limit(twin: Twin, watts: float) -> None:
    found = twin.cluster.view.get(PowerBudget, "", "rack")
    assert found is not None
    spec = msgspec.structs.replace(found.spec, limit_watts=watts)
    twin.cluster.replace(msgspec.structs.replace(found, spec=spec))


def test_watts_over_the_limit_add_up_second_by_second() -> None:
    twin = make_twin(steady(0, 1), replicas=1)
    twin.cluster.create(budget(1_000.0))
    ledger = Ledger(twin)
    begin(twin)
    run(twin, 10)
    score = ledger.score()

    assert score.over_seconds == 10.0
    assert score.over_joules == pytest.approx(score.energy_joules - 10 * 1_000.0)
    assert score.domains[0].violation == pytest.approx(score.over_joules / (10 * 1_000.0))
    assert score.worst_over_share == pytest.approx(score.worst_over_watts / 1_000.0)


def test_a_cut_is_followed_until_the_domain_is_inside_and_stays_so() -> None:
    twin = make_twin(steady(80, 400), replicas=3)
    twin.cluster.create(budget(9_000.0))
    ledger = Ledger(twin)
    begin(twin)
    run(twin, 60)
    inside = ledger.domain_watts()[0]
    limit(twin, inside - 400.0)
    run(twin, 20)
    twin.cluster.scale(namespace="llm", name="chat", replicas=1)
    run(twin, 100)
    (shed,) = ledger.score().sheds

    assert shed.at_seconds == 60.0
    assert shed.seconds is not None
    assert 20 <= shed.seconds <= 60
    assert shed.over_joules == pytest.approx(ledger.score().over_joules)


def followed_cut(shed_seconds: int) -> Score:
    twin = make_twin(steady(80, 400), replicas=3)
    twin.cluster.create(budget(9_000.0, shed_seconds=shed_seconds))
    ledger = Ledger(twin)
    begin(twin)
    run(twin, 60)
    limit(twin, ledger.domain_watts()[0] - 400.0)
    run(twin, 20)
    twin.cluster.scale(namespace="llm", name="chat", replicas=1)
    run(twin, 100)
    return ledger.score()


def test_a_cut_that_is_followed_in_the_stated_time_is_no_violation() -> None:
    (domain,) = followed_cut(shed_seconds=300).domains

    assert domain.over_joules > 0
    assert domain.violation == 0.0


def test_a_cut_that_is_followed_too_late_is_a_violation() -> None:
    (domain,) = followed_cut(shed_seconds=5).domains

    assert domain.violation == pytest.approx(domain.over_joules / domain.limit_joules)


def test_a_cut_that_is_never_obeyed_has_no_end() -> None:
    twin = make_twin(steady(80, 400), replicas=3)
    twin.cluster.create(budget(9_000.0))
    ledger = Ledger(twin)
    begin(twin)
    run(twin, 30)
    limit(twin, 1_000.0)
    run(twin, 30)

    score = ledger.score()

    assert score.sheds[0].seconds is None
    assert score.domains[0].violation == pytest.approx(score.over_joules / (30 * 9_000.0 + 30 * 1_000.0))


def test_a_raise_is_no_cut() -> None:
    twin = make_twin(steady(0, 1))
    twin.cluster.create(budget(5_000.0))
    ledger = Ledger(twin)
    begin(twin)
    run(twin, 5)
    limit(twin, 6_000.0)
    run(twin, 5)

    assert ledger.score().sheds == ()


def test_a_budget_without_nodes_is_refused() -> None:
    twin = make_twin(steady(0, 1))
    twin.cluster.create(budget(1.0, zone="nowhere"))
    with pytest.raises(ImpossibleFixtureError, match="covers no node"):
        Ledger(twin)
