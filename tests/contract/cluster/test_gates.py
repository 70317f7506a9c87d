"""What opening a power gate promises, on the client and on the twin alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from tests.contract.cluster.conftest import MakeCluster
from tests.contract.cluster.fake_api import Answer, FakeApi
from tests.contract.cluster.pausing_clock import PausingClock
from wattkeeper.api.admission import POWER_GATE
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.cluster.encoding import written
from wattkeeper.cluster.errors import ConflictError, ForbiddenError, NotFoundError, RefusedError, UnreachableError
from wattkeeper.cluster.interface import Cluster
from wattkeeper.cluster.objects import (
    Affinity,
    NodeAffinity,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    PodSpec,
    RequiredNodeAffinity,
    SchedulingGate,
)
from wattkeeper.recommender.affinity import required_terms
from wattkeeper.simulation.cluster import TwinCluster

PATH = "/api/v1/namespaces/chat/pods/llm-1"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A cluster, and the two things that others do to its pods."""

    cluster: Cluster
    put: Callable[[Pod], Pod]
    read: Callable[[], Pod]


def on_the_twin() -> Place:
    twin = TwinCluster(PausingClock())

    def put(pod: Pod) -> Pod:
        old = twin.view.get(Pod, pod.metadata.namespace, pod.metadata.name)
        if old is not None:
            twin.objects.remove(old)
        return twin.create(pod)

    def read() -> Pod:
        found = twin.view.get(Pod, "chat", "llm-1")
        assert found is not None
        return found

    return Place(cluster=twin, put=put, read=read)


def on_an_api_server(api: FakeApi, make_cluster: MakeCluster) -> Place:
    def put(pod: Pod) -> Pod:
        spec: Any = written(pod.spec)
        if pod.spec.affinity is not None:
            # What the client does not know must survive its patch.
            spec["affinity"] = {"podAffinity": {}, **written(pod.spec.affinity)}
            if pod.spec.affinity.node_affinity is not None:
                own = spec["affinity"].get("nodeAffinity", {})
                spec["affinity"]["nodeAffinity"] = {"preferredDuringSchedulingIgnoredDuringExecution": [], **own}
        api.objects[PATH] = {"metadata": written(pod.metadata), "spec": spec}
        return pod

    return Place(cluster=make_cluster(), put=put, read=lambda: msgspec.convert(api.objects[PATH], Pod))


@pytest.fixture(params=["twin", "client"])
def place(request: pytest.FixtureRequest, api: FakeApi, make_cluster: MakeCluster) -> Place:
    return on_the_twin() if request.param == "twin" else on_an_api_server(api, make_cluster)


def requirement(key: str, operator: str, *values: str) -> NodeSelectorRequirement:
    return NodeSelectorRequirement(key=key, operator=operator, values=values)


def term(*requirements: NodeSelectorRequirement) -> NodeSelectorTerm:
    return NodeSelectorTerm(match_expressions=requirements)


NOT_R7 = requirement("rack", "NotIn", "r7")
POOL = requirement("pool", "In", "h100")


def gated(*gates: str, uid: str = "u1", affinity: Affinity | None = None) -> Pod:
    return Pod(
        metadata=ObjectMeta(name="llm-1", namespace="chat", uid=uid),
        spec=PodSpec(scheduling_gates=tuple(SchedulingGate(name=one) for one in gates), affinity=affinity),
    )


def requiring(*terms: NodeSelectorTerm) -> Affinity:
    required = RequiredNodeAffinity(node_selector_terms=terms)
    return Affinity(node_affinity=NodeAffinity(required_during_scheduling_ignored_during_execution=required))


async def test_only_the_power_gate_goes(place: Place) -> None:
    pod = place.put(gated("a.example/quota", POWER_GATE, "b.example/volume"))
    await place.cluster.open_gate(pod, terms=None)
    assert [gate.name for gate in place.read().spec.scheduling_gates] == ["a.example/quota", "b.example/volume"]


async def test_a_gate_that_is_off_already_is_a_success(place: Place) -> None:
    pod = place.put(gated(POWER_GATE))
    await place.cluster.open_gate(pod, terms=None)
    await place.cluster.open_gate(pod, terms=None)
    await place.cluster.open_gate(place.read(), terms=None)
    assert place.read().spec.scheduling_gates == ()


@pytest.mark.parametrize(
    "affinity",
    [None, Affinity(), Affinity(node_affinity=NodeAffinity())],
    ids=["no affinity", "affinity to pods alone", "preferences alone"],
)
async def test_terms_are_given_to_a_pod_without_any(place: Place, affinity: Affinity | None) -> None:
    pod = place.put(gated(POWER_GATE, affinity=affinity))
    await place.cluster.open_gate(pod, terms=(term(NOT_R7), term(POOL)))
    assert required_terms(place.read().spec) == (term(NOT_R7), term(POOL))


async def test_terms_replace_a_pods_own(place: Place) -> None:
    pod = place.put(gated(POWER_GATE, affinity=requiring(term(POOL))))
    await place.cluster.open_gate(pod, terms=(term(POOL, NOT_R7),))
    assert required_terms(place.read().spec) == (term(POOL, NOT_R7),)


async def test_a_pods_own_terms_stay_where_none_are_given(place: Place) -> None:
    pod = place.put(gated(POWER_GATE, affinity=requiring(term(POOL))))
    await place.cluster.open_gate(pod, terms=None)
    assert required_terms(place.read().spec) == (term(POOL),)


async def test_a_namesake_keeps_its_gate(place: Place) -> None:
    pod = place.put(gated(POWER_GATE))
    place.put(gated(POWER_GATE, uid="u2"))
    with pytest.raises(NotFoundError):
        await place.cluster.open_gate(pod, terms=None)
    assert place.read().spec.scheduling_gates != ()


async def test_gates_that_others_changed_are_a_conflict_and_ours_stays(place: Place) -> None:
    pod = place.put(gated("a.example/quota", POWER_GATE))
    place.put(gated(POWER_GATE))
    with pytest.raises(ConflictError):
        await place.cluster.open_gate(pod, terms=None)
    assert [gate.name for gate in place.read().spec.scheduling_gates] == [POWER_GATE]


async def test_a_pod_that_is_gone_is_not_found(place: Place) -> None:
    gone = Pod(metadata=ObjectMeta(name="gone", namespace="chat", uid="u9"), spec=gated(POWER_GATE).spec)
    with pytest.raises(NotFoundError):
        await place.cluster.open_gate(gone, terms=None)


async def test_the_twin_refuses_terms_that_kubernetes_refuses() -> None:
    place = on_the_twin()
    pod = place.put(gated(POWER_GATE, affinity=requiring(term(POOL), term())))
    for terms in ((term(POOL),), (term(NOT_R7, POOL), term()), (term(POOL), term(NOT_R7)), ()):
        with pytest.raises(RefusedError, match="only be tightened"):
            await place.cluster.open_gate(pod, terms=terms)
    assert place.read().spec.scheduling_gates != ()


async def test_one_patch_tests_uid_and_gate_before_it_changes_anything(api: FakeApi, make_cluster: MakeCluster) -> None:
    place = on_an_api_server(api, make_cluster)
    await place.cluster.open_gate(place.put(gated("a.example/quota", POWER_GATE)), terms=None)
    assert api.bodies == [
        (
            "PATCH",
            PATH,
            [
                {"op": "test", "path": "/metadata/uid", "value": "u1"},
                {"op": "test", "path": "/spec/schedulingGates/1", "value": {"name": POWER_GATE}},
                {"op": "remove", "path": "/spec/schedulingGates/1"},
            ],
        )
    ]


async def test_terms_that_the_server_refuses_are_told_in_its_words(api: FakeApi, make_cluster: MakeCluster) -> None:
    place = on_an_api_server(api, make_cluster)
    api.answers["PATCH", PATH].append(Answer(code=422, message="spec.affinity: only additions are allowed"))
    with pytest.raises(RefusedError, match="only additions"):
        await place.cluster.open_gate(place.put(gated(POWER_GATE)), terms=(term(POOL),))


@pytest.mark.parametrize(("code", "error"), [(403, ForbiddenError), (500, UnreachableError), (409, ConflictError)])
async def test_other_refusals_surface(
    api: FakeApi, make_cluster: MakeCluster, code: int, error: type[Exception]
) -> None:
    place = on_an_api_server(api, make_cluster)
    api.answers["PATCH", PATH].append(Answer(code=code))
    with pytest.raises(error):
        await place.cluster.open_gate(place.put(gated(POWER_GATE)), terms=None)
