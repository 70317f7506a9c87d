"""Migrations as rows: which count, and which of one service's goes first."""

from __future__ import annotations

from tests.unit.recommender.frozen_view import FrozenView
from wattkeeper.api.meta import ObjectMeta, ScaleTargetRef
from wattkeeper.api.power_migration import (
    PodReference,
    PowerMigration,
    PowerMigrationSpec,
    PowerMigrationStatus,
    Reservation,
)
from wattkeeper.api.readings import MigrationRows, ServiceKey
from wattkeeper.recommender.migrating import migration_rows

RESERVED = Reservation(state="Reserved", replicas=4)


def migration(
    name: str,
    phase: str = "Pending",
    *,
    of: str = "chat",
    budget: str = "rack-a",
    said: Reservation | None = None,
    second: int = 0,
) -> PowerMigration:
    spec = PowerMigrationSpec(
        scale_target_ref=ScaleTargetRef(kind="Deployment", name=of),
        pod=PodReference(name="pod", uid="pod"),
        budget=budget,
    )
    meta = ObjectMeta(name=name, namespace="llm", uid=name, creation_timestamp=f"2026-01-01T00:00:{second:02}Z")
    return PowerMigration(metadata=meta, spec=spec, status=PowerMigrationStatus(phase=phase, reservation=said))


def rows(*ones: PowerMigration) -> MigrationRows:
    return migration_rows(FrozenView(*ones), {ServiceKey("llm", "Deployment", "chat"): 7}, {"rack-a": 3})


def names(*ones: PowerMigration) -> list[str]:
    return [key.name for key in rows(*ones).keys]


def test_a_migration_names_its_service_its_budget_and_what_it_was_told() -> None:
    found = rows(migration("one", said=RESERVED))
    assert (found.keys, found.service.tolist(), found.budget.tolist()) == ((("llm", "one", "one"),), [7], [3])
    assert (found.asks.tolist(), found.reserved.tolist(), found.replicas.tolist()) == ([True], [True], [4])


def test_one_that_was_told_nothing_holds_nothing() -> None:
    found = rows(migration("one"))
    assert (found.reserved.tolist(), found.replicas.tolist()) == ([False], [0])


def test_what_is_not_begun_or_is_over_does_not_count() -> None:
    assert names(migration("new", ""), migration("done", "Succeeded"), migration("gone", "Failed")) == []


def test_services_and_budgets_that_nobody_knows_have_no_row() -> None:
    found = rows(migration("one", of="other", budget="other"))
    assert (found.service.tolist(), found.budget.tolist()) == ([-1], [-1])


def test_watts_are_asked_for_until_the_service_shrinks() -> None:
    phases = ("Pending", "Surging", "Waiting", "Shrinking", "Verifying", "RollingBack")
    found = rows(*(migration(phase.lower(), phase) for phase in phases))
    asks = dict(zip([key.name for key in found.keys], found.asks.tolist(), strict=True))
    assert [phase for phase in phases if asks[phase.lower()]] == ["Pending", "Surging", "Waiting"]


def test_the_furthest_goes_first_then_what_has_its_watts_then_the_oldest() -> None:
    assert names(
        migration("young", second=3),
        migration("old", second=2),
        migration("told", said=RESERVED, second=4),
        migration("surges", "Surging", second=5),
        migration("shrinks", "Shrinking", second=6),
    ) == ["shrinks", "surges", "told", "old", "young"]
