"""What migrations and recommendations are told of a decision about moving pods."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from scaler.metrics import ScalerMetrics
from scaler.migration_statuses import SHOWN_SECONDS
from scaler.publish import Publisher
from tests.unit.scaler.memory_cluster import MemoryCluster
from tests.unit.scaler.results import Row, decision
from tests.unit.scaler.samples import NAMESPACE, NOW, budget, deployment, policy, scaled_object
from wattkeeper.api.conditions import holds, message_of
from wattkeeper.api.instants import format_instant
from wattkeeper.api.meta import ObjectMeta, ScaleTargetRef
from wattkeeper.api.power_migration import (
    PodReference,
    PowerMigration,
    PowerMigrationSpec,
    PowerMigrationStatus,
    Reservation,
)
from wattkeeper.api.power_recommendation import PowerRecommendation, PowerRecommendationStatus
from wattkeeper.api.readings import MigrationKey
from wattkeeper.guard.guarded_plan import GrantReason
from wattkeeper.recommender.result import MigrationResults, Refusal, StepResult


def migration(name: str = "move", phase: str = "Pending", *, uid: str = "") -> PowerMigration:
    return PowerMigration(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE, uid=uid or name),
        spec=PowerMigrationSpec(
            scale_target_ref=ScaleTargetRef(kind="Deployment", name="llm"),
            pod=PodReference(name="llm-1", uid="llm-1"),
            budget="rack-a",
        ),
        status=PowerMigrationStatus(phase=phase, since="2026-01-01T00:00:00Z"),
    )


def decided(refusal: Refusal = Refusal.NONE, watts: float = 0.0, *, now: float = NOW, warm: bool = True) -> StepResult:
    """Returns a decision about one migration of a service that is granted three replicas."""
    lacks = refusal is Refusal.LACKS_WATTS
    moves = MigrationResults(
        keys=(MigrationKey(NAMESPACE, "move", "move"),),
        service=np.array([0]),
        refusal=np.array([int(refusal)]),
        replicas=np.array([4]),
        binding=np.array([0 if lacks else -1]),
        missing_watts=np.array([watts]),
        surge=np.array([int(refusal is Refusal.NONE)]),
    )
    row = Row(demand=3, reason=GrantReason.DEMAND_MET)
    return decision(row, migrations=moves, now=now, warm=warm, domains=("rack-b",))


class Publication:
    """A publisher with its cluster."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.cluster.view.put(policy(), budget(evaluated=None), deployment(), scaled_object(), migration())
        self._publisher = Publisher(
            self.cluster, ScalerMetrics(CollectorRegistry()), lambda: True, concurrency=4, refresh_seconds=7.5
        )

    async def writes(self, result: StepResult) -> list[tuple[str, str]]:
        self.cluster.written.clear()
        self.cluster.events.clear()
        await self._publisher.publish(result, {})
        return self.cluster.written

    def migration(self) -> PowerMigrationStatus:
        found = self.cluster.view.get(PowerMigration, NAMESPACE, "move")
        assert found is not None
        return found.status

    def reservation(self) -> Reservation | None:
        return self.migration().reservation

    def recommendation(self) -> PowerRecommendationStatus:
        found = self.cluster.view.get(PowerRecommendation, NAMESPACE, "deployment-llm")
        assert found is not None
        return found.status


@pytest.fixture
def publication() -> Publication:
    return Publication()


async def test_reserved_watts_are_told_to_the_migration_and_leave_the_rest_of_its_status(
    publication: Publication,
) -> None:
    await publication.writes(decided())
    status = publication.migration()
    assert status.reservation == Reservation(state="Reserved", replicas=4, message="Watts for 4 replicas are reserved.")
    assert (status.phase, status.since) == ("Pending", "2026-01-01T00:00:00Z")


async def test_the_recommendation_is_one_replica_more_and_says_so(publication: Publication) -> None:
    await publication.writes(decided())
    status = publication.recommendation()
    assert (status.target.replicas, status.migrating_replicas, status.granted_replicas) == (4, 1, 3)
    assert status.message.endswith("And one more while a pod moves.")
    assert not holds(status.conditions, "MigrationBlocked")


async def test_the_migration_hears_of_its_watts_after_the_recommendation(publication: Publication) -> None:
    written = await publication.writes(decided())
    assert written.index(("status", "chat/deployment-llm")) < written.index(("status", "chat/move"))


async def test_a_refusal_says_what_is_missing_and_where(publication: Publication) -> None:
    await publication.writes(decided(Refusal.LACKS_WATTS, 1479.6))
    assert publication.reservation() == Reservation(
        state="Refused",
        replicas=4,
        message="One replica more needs 1,480 W more in PowerBudget rack-b.",
        budget="rack-b",
        missing_watts=1480.0,
    )
    status = publication.recommendation()
    assert (status.target.replicas, status.migrating_replicas) == (3, None)
    assert "1,480 W" in message_of(status.conditions, "MigrationBlocked")


async def test_a_refusal_is_an_event_once(publication: Publication) -> None:
    await publication.writes(decided())
    await publication.writes(decided(Refusal.ROLLS))
    assert [one.reason for one in publication.cluster.events] == ["MigrationBlocked"]
    await publication.writes(decided(Refusal.ROLLS, now=NOW + 5))
    assert publication.cluster.events == []


async def test_the_same_answer_is_written_once_although_watts_drift(publication: Publication) -> None:
    await publication.writes(decided(Refusal.LACKS_WATTS, 1480.0))
    assert await publication.writes(decided(Refusal.LACKS_WATTS, 1400.0, now=NOW + 5)) == []


async def test_watts_that_moved_are_written(publication: Publication) -> None:
    await publication.writes(decided(Refusal.LACKS_WATTS, 1480.0))
    await publication.writes(decided(Refusal.LACKS_WATTS, 700.0, now=NOW + 5))
    assert "700 W" in (publication.reservation() or Reservation(state="Reserved")).message


async def test_what_comes_and_goes_with_a_migration_is_no_news_about_budgets(publication: Publication) -> None:
    bound = replace(
        publication.cluster.view.get(PowerMigration, NAMESPACE, "move") or migration(), status=PowerMigrationStatus()
    )
    publication.cluster.view.put(bound)
    row = Row(demand=6, reason=GrantReason.BUDGET_BINDS)
    surge = decided().migrations
    await publication.writes(decision(row, domains=("rack-b",)))
    await publication.writes(decision(row, migrations=surge, now=NOW + 5, domains=("rack-b",)))
    await publication.writes(decision(row, now=NOW + 10, domains=("rack-b",)))
    assert publication.recommendation().target.replicas == 3
    assert publication.cluster.events == []


async def test_nothing_is_told_before_caches_are_warm(publication: Publication) -> None:
    await publication.writes(decided(warm=False))
    assert publication.reservation() is None


async def test_a_namesake_is_not_told(publication: Publication) -> None:
    publication.cluster.view.put(migration(uid="another"))
    await publication.writes(decided())
    assert publication.reservation() is None


@pytest.mark.parametrize(("seconds", "told"), [(SHOWN_SECONDS - 1, True), (SHOWN_SECONDS + 1, False)])
async def test_a_migration_that_failed_for_watts_is_told_of_for_a_while(
    publication: Publication, seconds: float, told: bool
) -> None:
    await publication.writes(decided(Refusal.LACKS_WATTS, 1480.0))
    ended = replace(publication.migration(), phase="Failed", since=format_instant(NOW))
    publication.cluster.view.put(replace(migration(), status=ended))
    await publication.writes(decision(Row(demand=3, reason=GrantReason.DEMAND_MET), now=NOW + seconds))
    assert holds(publication.recommendation().conditions, "MigrationBlocked") == told


@pytest.mark.parametrize("refusal", [one for one in Refusal if one is not Refusal.NONE])
async def test_every_refusal_is_a_sentence(publication: Publication, refusal: Refusal) -> None:
    await publication.writes(decided(refusal))
    said = publication.reservation()
    assert said is not None
    assert said.state == "Refused"
    assert said.message.endswith(".")
