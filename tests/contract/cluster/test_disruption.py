"""What evicting and setting deletion costs promise, on the client and on the twin alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import pytest
from msgspec.structs import replace

from tests.contract.cluster.conftest import MakeCluster
from tests.contract.cluster.fake_api import Answer, FakeApi
from tests.contract.cluster.pausing_clock import PausingClock
from wattkeeper.api.meta import LabelSelector, ObjectMeta, ScaleTargetRef
from wattkeeper.api.power_migration import (
    PodReference,
    PowerMigration,
    PowerMigrationSpec,
    PowerMigrationStatus,
    Reservation,
)
from wattkeeper.cluster.actuation import FINALIZER
from wattkeeper.cluster.disruption import DELETION_COST
from wattkeeper.cluster.encoding import written
from wattkeeper.cluster.errors import (
    ConflictError,
    FailedError,
    ForbiddenError,
    NotFoundError,
    ProtectedError,
    RefusedError,
    UnreachableError,
)
from wattkeeper.cluster.interface import Cluster
from wattkeeper.cluster.objects import (
    Pod,
    PodCondition,
    PodDisruptionBudget,
    PodDisruptionBudgetSpec,
    PodDisruptionBudgetStatus,
    PodStatus,
)
from wattkeeper.simulation.cluster import TwinCluster

PATH = "/api/v1/namespaces/chat/pods/llm-1"
EVICTION = f"{PATH}/eviction"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/chat/endpointslices"
MIGRATION = "/apis/wattkeeper.dev/v1alpha1/namespaces/chat/powermigrations"
READY = PodStatus(phase="Running", conditions=(PodCondition(type="Ready", status="True"),))


@dataclass(frozen=True, kw_only=True)
class Place:
    """A cluster, what others do in it, and what there is.

    Attributes:
        put: makes a pod, in the place of its namesake.
        read: returns the pod of that name, None where it is gone.
        lose: has evictions of the pod find nothing.
        protect: has so many PodDisruptionBudgets that allow nothing select the pod.
        serve: has a Service send traffic to the pod.
    """

    cluster: Cluster
    put: Callable[[Pod], Pod]
    read: Callable[[], Pod | None]
    lose: Callable[[], None]
    protect: Callable[[int], None]
    serve: Callable[[Pod], None]


def on_the_twin() -> Place:
    twin = TwinCluster(PausingClock())

    def put(pod: Pod) -> Pod:
        old = twin.view.get(Pod, pod.metadata.namespace, pod.metadata.name)
        if old is not None:
            twin.objects.remove(old)
        return twin.create(pod)

    def protect(count: int) -> None:
        for number in range(count):
            twin.create(
                PodDisruptionBudget(
                    metadata=ObjectMeta(name=f"llm-{number}", namespace="chat"),
                    spec=PodDisruptionBudgetSpec(selector=LabelSelector(match_labels={"app": "llm"})),
                    status=PodDisruptionBudgetStatus(disruptions_allowed=0, observed_generation=1),
                )
            )

    def serve(pod: Pod) -> None:
        twin.replace(replace(pod, spec=replace(pod.spec, node_name="n1"), status=READY))

    return Place(
        cluster=twin,
        put=put,
        read=lambda: twin.view.get(Pod, "chat", "llm-1"),
        lose=lambda: None,
        protect=protect,
        serve=serve,
    )


def protected(count: int) -> Answer:
    """Returns what an Eviction API says of a pod that so many PodDisruptionBudgets select.

    As kubernetes 1.36 does (pkg/registry/core/pod/storage/eviction.go).
    """
    if count > 1:
        message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        return Answer(code=500, message=message, reason="InternalError")
    body = {
        "kind": "Status",
        "code": 429,
        "reason": "TooManyRequests",
        "message": "Cannot evict pod as it would violate the pod's disruption budget.",
        "details": {"causes": [{"reason": "DisruptionBudget", "message": "The disruption budget llm-0 needs 2 pods"}]},
    }
    return Answer(code=429, body=msgspec.json.encode(body))


def on_an_api_server(api: FakeApi, make_cluster: MakeCluster) -> Place:
    def put(pod: Pod) -> Pod:
        api.objects[PATH] = {"metadata": written(pod.metadata), "spec": {"nodeName": "n1"}}
        return pod

    def read() -> Pod | None:
        return msgspec.convert(api.objects[PATH], Pod) if PATH in api.objects else None

    def protect(count: int) -> None:
        api.answers["POST", EVICTION].append(protected(count))

    def serve(pod: Pod) -> None:
        endpoint = {"targetRef": {"kind": "Pod", "name": pod.metadata.name, "uid": pod.metadata.uid}}
        api.lists[SLICES] = [{"endpoints": [{**endpoint, "conditions": {"ready": True}}]}, {"endpoints": None}]

    def lose() -> None:
        api.missing.add(EVICTION)

    return Place(cluster=make_cluster(), put=put, read=read, lose=lose, protect=protect, serve=serve)


@pytest.fixture(params=["twin", "client"])
def place(request: pytest.FixtureRequest, api: FakeApi, make_cluster: MakeCluster) -> Place:
    return on_the_twin() if request.param == "twin" else on_an_api_server(api, make_cluster)


def pod(uid: str = "u1", **annotations: str) -> Pod:
    named = {"cost": DELETION_COST}
    return Pod(
        metadata=ObjectMeta(
            name="llm-1",
            namespace="chat",
            uid=uid,
            resource_version="7",
            labels={"app": "llm"},
            annotations={named.get(key, key): value for key, value in annotations.items()},
        )
    )


def annotated(place: Place) -> dict[str, str]:
    found = place.read()
    assert found is not None
    return found.metadata.annotations


@pytest.mark.parametrize("before", [{}, {"note": "x"}, {"note": "x", "cost": "5"}])
async def test_a_cost_is_set_whatever_annotations_there_are(place: Place, before: dict[str, str]) -> None:
    one = place.put(pod(**before))
    await place.cluster.set_deletion_cost(one, -100)
    kept = {key: value for key, value in before.items() if key != "cost"}
    assert annotated(place) == {**kept, DELETION_COST: "-100"}


async def test_a_cost_is_taken_away_again(place: Place) -> None:
    await place.cluster.set_deletion_cost(place.put(pod(note="x", cost="-100")), None)
    assert annotated(place) == {"note": "x"}


async def test_taking_away_a_cost_that_is_not_there_changes_nothing(place: Place) -> None:
    await place.cluster.set_deletion_cost(place.put(pod(note="x")), None)
    assert annotated(place) == {"note": "x"}


@pytest.mark.parametrize("seen", [{}, {"note": "x"}, {"cost": "5"}])
async def test_a_cost_that_somebody_else_has_written_since_stays(place: Place, seen: dict[str, str]) -> None:
    one = place.put(pod(**seen))
    place.put(replace(pod(cost="7"), metadata=replace(pod(cost="7").metadata, resource_version="8")))
    with pytest.raises(ConflictError):
        await place.cluster.set_deletion_cost(one, -100)
    assert annotated(place) == {DELETION_COST: "7"}


async def test_a_namesake_gets_no_cost(place: Place) -> None:
    one = place.put(pod())
    place.put(pod(uid="u2"))
    with pytest.raises(NotFoundError):
        await place.cluster.set_deletion_cost(one, -100)
    assert annotated(place) == {}


async def test_a_pod_that_is_gone_gets_no_cost(place: Place) -> None:
    with pytest.raises(NotFoundError):
        await place.cluster.set_deletion_cost(pod(), -100)


async def test_evicting_a_pod_that_is_gone_is_a_success(place: Place) -> None:
    place.lose()
    await place.cluster.evict(pod())


@pytest.mark.parametrize(("budgets", "words"), [(1, "disruption"), (2, "more than one")])
async def test_a_disruption_budget_keeps_a_pod(place: Place, budgets: int, words: str) -> None:
    one = place.put(pod())
    place.protect(budgets)
    with pytest.raises(ProtectedError, match=words):
        await place.cluster.evict(one)
    assert place.read() is not None


async def test_pods_that_get_traffic_are_told_by_uid(place: Place) -> None:
    one = place.put(pod())
    assert await place.cluster.serving_pods("chat") == frozenset()
    place.serve(one)
    assert await place.cluster.serving_pods("chat") == {"u1"}


async def test_the_twin_evicts_a_pod_once_and_never_its_namesake() -> None:
    place = on_the_twin()
    one = place.put(pod())
    await place.cluster.evict(one)
    assert place.read() is None
    place.put(pod(uid="u2"))
    await place.cluster.evict(one)
    assert place.read() is not None


async def test_an_eviction_names_the_very_pod(api: FakeApi, make_cluster: MakeCluster) -> None:
    place = on_an_api_server(api, make_cluster)
    await place.cluster.evict(place.put(pod()))
    ((method, path, body),) = api.bodies
    assert (method, path) == ("POST", EVICTION)
    assert (body["kind"], body["apiVersion"], body["metadata"]["name"]) == ("Eviction", "policy/v1", "llm-1")
    assert body["deleteOptions"] == {"preconditions": {"uid": "u1"}}


async def test_a_pod_that_another_one_has_replaced_is_as_good_as_evicted(
    api: FakeApi, make_cluster: MakeCluster
) -> None:
    place = on_an_api_server(api, make_cluster)
    one = place.put(pod())
    place.put(pod(uid="u2"))
    api.answers["POST", EVICTION].append(Answer(code=409, message="the UID in the precondition differs"))
    await place.cluster.evict(one)


async def test_no_answer_about_a_pod_that_another_one_has_replaced_is_a_success(
    api: FakeApi, make_cluster: MakeCluster
) -> None:
    place = on_an_api_server(api, make_cluster)
    one = place.put(pod())
    place.put(pod(uid="u2"))
    api.answers["POST", EVICTION].append(Answer(code=504, message="timed out"))
    await place.cluster.evict(one)


@pytest.mark.parametrize(("code", "error"), [(409, ConflictError), (403, ForbiddenError), (500, FailedError)])
async def test_other_refusals_of_an_eviction_surface(
    api: FakeApi, make_cluster: MakeCluster, code: int, error: type[Exception]
) -> None:
    place = on_an_api_server(api, make_cluster)
    one = place.put(pod())
    api.answers["POST", EVICTION].append(Answer(code=code))
    with pytest.raises(error) as raised:
        await place.cluster.evict(one)
    assert not isinstance(raised.value, ProtectedError)


async def test_a_busy_api_server_says_for_how_long_and_that_is_no_disruption_budget(
    api: FakeApi, make_cluster: MakeCluster
) -> None:
    place = on_an_api_server(api, make_cluster)
    one = place.put(pod())
    api.answers["POST", EVICTION].append(Answer(code=429, headers={"Retry-After": "7"}))
    with pytest.raises(UnreachableError) as raised:
        await place.cluster.evict(one)
    assert raised.value.retry_after_seconds == 7.0
    assert not isinstance(raised.value, FailedError)


async def test_an_eviction_that_meets_conflicts_over_its_disruption_budget_has_failed_and_nothing_else_has(
    api: FakeApi, make_cluster: MakeCluster
) -> None:
    # kubernetes 1.36 pkg/registry/core/pod/storage/eviction.go
    message = 'Timeout: couldn\'t update PodDisruptionBudget "llm-0" due to conflicts'
    place = on_an_api_server(api, make_cluster)
    one = place.put(pod())
    api.answers["POST", EVICTION].append(Answer(code=504, message=message, reason="Timeout"))
    with pytest.raises(FailedError, match="due to conflicts"):
        await place.cluster.evict(one)


async def test_a_patch_that_the_server_refuses_for_another_reason_is_told_in_its_words(
    api: FakeApi, make_cluster: MakeCluster
) -> None:
    place = on_an_api_server(api, make_cluster)
    one = place.put(pod())
    api.answers["PATCH", PATH].append(Answer(code=422, message="annotations: too long"))
    with pytest.raises(RefusedError, match="too long"):
        await place.cluster.set_deletion_cost(one, -100)


async def test_endpoints_that_say_nothing_of_readiness_are_ready_and_unready_ones_are_not(
    api: FakeApi, make_cluster: MakeCluster
) -> None:
    api.lists[SLICES] = [
        {
            "endpoints": [
                {"targetRef": {"uid": "silent"}},
                {"targetRef": {"uid": "unready"}, "conditions": {"ready": False}},
                {"conditions": {"ready": True}},
            ]
        }
    ]
    assert await make_cluster().serving_pods("chat") == {"silent"}


def migration(uid: str = "m1") -> PowerMigration:
    return PowerMigration(
        metadata=ObjectMeta(name="llm-u1", namespace="chat", uid=uid, resource_version="7"),
        spec=PowerMigrationSpec(
            scale_target_ref=ScaleTargetRef(kind="Deployment", name="llm"),
            pod=PodReference(name="llm-1", uid="u1"),
            budget="rack-a",
        ),
    )


async def test_the_actuators_part_of_a_migration_leaves_the_reservation_alone(
    api: FakeApi, make_cluster: MakeCluster
) -> None:
    path = f"{MIGRATION}/llm-u1"
    api.objects[path] = {
        "metadata": {"uid": "m1", "resourceVersion": "7"},
        "status": {"reservation": {"state": "Reserved", "replicas": 4}},
    }
    status = PowerMigrationStatus(phase="Surging", reservation=Reservation(state="Refused"))
    await make_cluster().write_migration(migration(), status)
    found = api.objects[path]["status"]
    assert (found["phase"], found["reservation"]) == ("Surging", {"state": "Reserved", "replicas": 4})


async def test_a_migration_is_held_by_the_finalizer(api: FakeApi, make_cluster: MakeCluster) -> None:
    path = f"{MIGRATION}/llm-u1"
    api.objects[path] = {"metadata": {"uid": "m1", "resourceVersion": "7"}}
    await make_cluster().hold_migration(migration(), held=True)
    assert api.objects[path]["metadata"]["finalizers"] == [FINALIZER]


async def test_nothing_is_written_to_the_namesake_of_a_migration(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.objects[f"{MIGRATION}/llm-u1"] = {"metadata": {"uid": "m2", "resourceVersion": "9"}}
    cluster = make_cluster()
    with pytest.raises(NotFoundError):
        await cluster.write_migration(migration(), PowerMigrationStatus(phase="Surging"))
    assert "status" not in api.objects[f"{MIGRATION}/llm-u1"]
