"""What every Cluster promises, whatever is behind it.

The tests know the interface alone: another implementation runs through them by another fixture `cluster`, whose API
server holds none of the names below.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import pytest

from wattkeeper.api.meta import Condition, ObjectMeta, ScaleTargetRef
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetSpec, PowerBudgetStatus
from wattkeeper.api.power_migration import (
    PodReference,
    PowerMigration,
    PowerMigrationSpec,
    PowerMigrationStatus,
    Reservation,
)
from wattkeeper.api.power_recommendation import (
    Actuation,
    PowerRecommendation,
    PowerRecommendationSpec,
    PowerRecommendationStatus,
)
from wattkeeper.cluster.braking import MAXIMUM, PAUSE
from wattkeeper.cluster.errors import ConflictError, NotFoundError, RefusedError, StateCorruptError
from wattkeeper.cluster.interface import WATCHED, Cluster, EventRecord
from wattkeeper.cluster.kserve import InferenceService, KServeMeta
from wattkeeper.cluster.objects import (
    CrossVersionTarget,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec,
    Pod,
    ScaledObject,
)
from wattkeeper.simulation.cluster import TwinCluster

NAMESPACE = "default"


class StillClock:
    def now(self) -> float:
        return 1_000.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing waits here")


@pytest.fixture
async def cluster() -> Cluster:
    found = TwinCluster(StillClock())
    await found.start()
    return found


@pytest.fixture
def tear_state(cluster: Cluster) -> Callable[[str], Awaitable[None]]:
    """Leaves kept state as a write leaves it that was cut off."""

    async def tear(name: str) -> None:
        assert isinstance(cluster, TwinCluster)
        cluster.tear_state(namespace=NAMESPACE, name=name)

    return tear


def budget(name: str = "contract", watts: float = 1000.0, labels: dict[str, str] | None = None) -> PowerBudget:
    return PowerBudget(metadata=ObjectMeta(name=name, labels=labels or {}), spec=PowerBudgetSpec(limit_watts=watts))


async def seen(cluster: Cluster, name: str = "contract") -> PowerBudget:
    found = cluster.view.get(PowerBudget, "", name)
    assert found is not None
    return found


async def test_a_started_view_is_synced_and_holds_every_kind(cluster: Cluster) -> None:
    assert cluster.view.synced()
    assert cluster.view.staleness_seconds(1_000.0) >= 0.0
    for kind in WATCHED:
        assert dict(cluster.view.all(kind)) == {}


async def test_a_subscriber_is_told_what_there_is_and_then_what_changes(cluster: Cluster) -> None:
    await cluster.apply(budget())
    told: list[tuple[float | None, float | None]] = []

    def watts(one: PowerBudget | None) -> float | None:
        return None if one is None else one.spec.limit_watts

    cluster.view.subscribe(PowerBudget, lambda old, new: told.append((watts(old), watts(new))))
    await cluster.apply(budget(watts=2000.0))
    await cluster.delete(await seen(cluster))

    assert told == [(None, 1000.0), (1000.0, 2000.0), (2000.0, None)]


async def test_applying_the_same_again_changes_nothing(cluster: Cluster) -> None:
    await cluster.apply(budget())
    before = await seen(cluster)
    await cluster.apply(budget())

    assert await seen(cluster) == before


async def test_a_changed_spec_is_a_new_generation_and_a_changed_status_is_not(cluster: Cluster) -> None:
    await cluster.apply(budget())
    first = await seen(cluster)
    await cluster.write_status(msgspec.structs.replace(first, status=PowerBudgetStatus(guarded_watts=5.0)))
    second = await seen(cluster)
    await cluster.apply(budget(watts=2000.0))
    third = await seen(cluster)

    assert (first.metadata.generation, second.metadata.generation, third.metadata.generation) == (1, 1, 2)
    assert len({one.metadata.resource_version for one in (first, second, third)}) == 3
    assert len({one.metadata.uid for one in (first, second, third)}) == 1


async def test_applying_leaves_the_status_and_what_others_labelled(cluster: Cluster) -> None:
    await cluster.apply(budget(labels={"team": "power"}))
    found = await seen(cluster)
    await cluster.write_status(msgspec.structs.replace(found, status=PowerBudgetStatus(nodes=4)))
    await cluster.apply(budget(watts=2000.0, labels={"row": "7"}))

    after = await seen(cluster)
    assert after.status.nodes == 4
    assert after.metadata.labels["row"] == "7"


async def test_writing_a_status_replaces_it_whole_and_leaves_the_spec(cluster: Cluster) -> None:
    await cluster.apply(budget())
    found = await seen(cluster)
    await cluster.write_status(msgspec.structs.replace(found, status=PowerBudgetStatus(nodes=4, readings="Fresh")))
    other = msgspec.structs.replace(found, spec=PowerBudgetSpec(limit_watts=9.0), status=PowerBudgetStatus(nodes=5))
    await cluster.write_status(other)

    after = await seen(cluster)
    assert (after.status.nodes, after.status.readings) == (5, "")
    assert after.spec.limit_watts == 1000.0


def recommendation() -> PowerRecommendation:
    reference = ScaleTargetRef(kind="Deployment", name="a")
    meta = ObjectMeta(name="deployment-a", namespace=NAMESPACE)
    return PowerRecommendation(metadata=meta, spec=PowerRecommendationSpec(scale_target_ref=reference))


async def recommended(cluster: Cluster) -> PowerRecommendation:
    found = cluster.view.get(PowerRecommendation, NAMESPACE, "deployment-a")
    assert found is not None
    return found


def condition(type_: str) -> Condition:
    return Condition(type=type_, status="True", reason="R", last_transition_time="2026-01-01T00:00:00Z")


async def test_leader_and_actuator_write_one_status_without_erasing_each_other(cluster: Cluster) -> None:
    await cluster.apply(recommendation())
    one = await recommended(cluster)
    theirs = PowerRecommendationStatus(mode="Scale", conditions=(condition("Ready"), condition("AboveAdvice")))
    await cluster.write_status(msgspec.structs.replace(one, status=theirs))
    actuation = Actuation(autoscaler="hpa")
    await cluster.write_actuation(await recommended(cluster), actuation=actuation, conditions=(condition("Actuated"),))
    one = await recommended(cluster)
    less = PowerRecommendationStatus(mode="Off", conditions=(condition("Ready"),))
    await cluster.write_status(msgspec.structs.replace(one, status=less))
    status = (await recommended(cluster)).status
    assert (status.mode, status.actuation) == ("Off", actuation)
    assert {found.type for found in status.conditions} == {"Ready", "Actuated"}


async def test_a_held_recommendation_goes_only_when_it_is_let_go(cluster: Cluster) -> None:
    await cluster.apply(recommendation())
    await cluster.hold_recommendation(await recommended(cluster), held=True)
    await cluster.delete(await recommended(cluster))
    assert (await recommended(cluster)).metadata.deletion_timestamp
    await cluster.hold_recommendation(await recommended(cluster), held=False)
    assert cluster.view.get(PowerRecommendation, NAMESPACE, "deployment-a") is None


async def test_a_recommendation_that_is_not_there_is_not_held(cluster: Cluster) -> None:
    with pytest.raises(NotFoundError):
        await cluster.hold_recommendation(recommendation(), held=True)


async def test_fields_that_are_not_ours_and_scaled_objects_of_others_are_refused(cluster: Cluster) -> None:
    service = InferenceService(metadata=KServeMeta(name="chat", namespace=NAMESPACE, resource_version="1"))
    with pytest.raises(RefusedError):
        await cluster.set_replica_fields(service, {"spec.model": 1})
    with pytest.raises(NotFoundError):
        await cluster.set_replica_fields(service, {"spec.predictor.maxReplicas": 1})
    with pytest.raises(RefusedError):
        await cluster.apply_scaled_object(ScaledObject(metadata=ObjectMeta(name="a", namespace=NAMESPACE)))


async def test_the_brake_touches_only_what_is_there_and_keda_s(cluster: Cluster) -> None:
    spec = HorizontalPodAutoscalerSpec(scale_target_ref=CrossVersionTarget(kind="Deployment", name="chat"))
    meta = ObjectMeta(name="keda-hpa-chat", namespace=NAMESPACE, resource_version="1")
    with pytest.raises(RefusedError):
        await cluster.set_brake(HorizontalPodAutoscaler(metadata=meta, spec=spec), {MAXIMUM: 1})
    scaled = ScaledObject(metadata=ObjectMeta(name="chat", namespace=NAMESPACE, resource_version="1"))
    with pytest.raises(RefusedError):
        await cluster.set_brake(scaled, {MAXIMUM: 1})
    with pytest.raises(NotFoundError):
        await cluster.set_brake(scaled, {PAUSE: 1})


async def test_a_pod_that_is_not_there_gets_no_cost_and_is_as_good_as_evicted(cluster: Cluster) -> None:
    gone = Pod(metadata=ObjectMeta(name="gone", namespace=NAMESPACE, uid="u9"))
    with pytest.raises(NotFoundError):
        await cluster.set_deletion_cost(gone, -1)
    await cluster.evict(gone)
    assert await cluster.serving_pods(NAMESPACE) == frozenset()


def migration() -> PowerMigration:
    return PowerMigration(
        metadata=ObjectMeta(name="a-u1", namespace=NAMESPACE),
        spec=PowerMigrationSpec(
            scale_target_ref=ScaleTargetRef(kind="Deployment", name="a"),
            pod=PodReference(name="a-1", uid="u1"),
            budget="rack-a",
        ),
    )


async def migrating(cluster: Cluster) -> PowerMigration:
    found = cluster.view.get(PowerMigration, NAMESPACE, "a-u1")
    assert found is not None
    return found


async def test_a_migration_is_made_once(cluster: Cluster) -> None:
    await cluster.create_migration(migration())
    with pytest.raises(ConflictError):
        await cluster.create_migration(migration())


async def test_the_actuator_s_part_of_a_migration_and_the_leader_s_do_not_erase_each_other(cluster: Cluster) -> None:
    await cluster.create_migration(migration())
    await cluster.write_migration(await migrating(cluster), PowerMigrationStatus(phase="Pending"))
    one = await migrating(cluster)
    reserved = PowerMigrationStatus(reservation=Reservation(state="Reserved", replicas=4))
    await cluster.write_status(msgspec.structs.replace(one, status=reserved))
    await cluster.write_migration(await migrating(cluster), PowerMigrationStatus(phase="Surging"))
    status = (await migrating(cluster)).status
    assert (status.phase, status.reservation) == ("Surging", Reservation(state="Reserved", replicas=4))


async def test_a_held_migration_goes_only_when_it_is_let_go(cluster: Cluster) -> None:
    await cluster.create_migration(migration())
    await cluster.hold_migration(await migrating(cluster), held=True)
    await cluster.delete(await migrating(cluster))
    assert (await migrating(cluster)).metadata.deletion_timestamp
    await cluster.hold_migration(await migrating(cluster), held=False)
    assert cluster.view.get(PowerMigration, NAMESPACE, "a-u1") is None


async def test_a_status_of_what_is_gone_or_replaced_is_refused(cluster: Cluster) -> None:
    await cluster.apply(budget())
    gone = await seen(cluster)
    await cluster.delete(gone)
    with pytest.raises(NotFoundError):
        await cluster.write_status(gone)
    await cluster.apply(budget())
    with pytest.raises(NotFoundError):
        await cluster.write_status(gone)


async def test_deleting_twice_succeeds_and_never_hits_a_namesake(cluster: Cluster) -> None:
    await cluster.apply(budget())
    gone = await seen(cluster)
    await cluster.delete(gone)
    await cluster.delete(gone)
    await cluster.apply(budget())
    await cluster.delete(gone)

    assert (await seen(cluster)).metadata.uid != gone.metadata.uid


async def test_deleting_needs_a_uid(cluster: Cluster) -> None:
    with pytest.raises(RefusedError):
        await cluster.delete(budget())


async def test_a_lease_is_held_renewed_taken_over_when_it_has_expired_and_given_up(cluster: Cluster) -> None:
    async def hold(holder: str, now: float) -> bool:
        return await cluster.hold_lease(
            namespace=NAMESPACE, name="contract", holder=holder, duration_seconds=15, now=now
        )

    assert await hold("one", 0.0)
    assert not await hold("two", 1.0)
    assert await hold("one", 10.0)
    assert not await hold("two", 12.0)
    assert await hold("two", 60.0)
    assert not await hold("one", 61.0)
    await cluster.release_lease(namespace=NAMESPACE, name="contract", holder="one")
    assert not await hold("one", 62.0)
    await cluster.release_lease(namespace=NAMESPACE, name="contract", holder="two")
    assert await hold("one", 63.0)


async def test_state_comes_back_as_it_was_written_last(cluster: Cluster) -> None:
    async def read() -> bytes | None:
        return await cluster.read_state(namespace=NAMESPACE, name="contract")

    assert await read() is None
    for state in (bytes(range(256)) * 8192, b"short", b""):
        await cluster.write_state(namespace=NAMESPACE, name="contract", state=state)
        assert await read() == state


async def test_torn_state_is_an_error_until_it_is_written_anew(
    cluster: Cluster, tear_state: Callable[[str], Awaitable[None]]
) -> None:
    await cluster.write_state(namespace=NAMESPACE, name="contract", state=b"whole")
    await tear_state("contract")
    with pytest.raises(StateCorruptError):
        await cluster.read_state(namespace=NAMESPACE, name="contract")
    await cluster.write_state(namespace=NAMESPACE, name="contract", state=b"new")
    assert await cluster.read_state(namespace=NAMESPACE, name="contract") == b"new"


async def test_events_can_be_recorded_again_and_again(cluster: Cluster) -> None:
    await cluster.apply(budget())
    event = EventRecord(
        regarding=await seen(cluster), type="Normal", reason="Test", action="Test", note="x" * 2000, dedupe_key="k"
    )
    await cluster.record(event)
    await cluster.record(event)
