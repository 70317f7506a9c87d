"""Taking, renewing, taking over and giving up a Lease."""

from __future__ import annotations

from tests.contract.cluster.conftest import MakeCluster
from tests.contract.cluster.fake_api import Answer, FakeApi
from wattkeeper.cluster.client import KubernetesCluster

LEASES = "/apis/coordination.k8s.io/v1/namespaces/wk/leases"
LEASE = f"{LEASES}/leader"


async def hold(cluster: KubernetesCluster, holder: str, now: float) -> bool:
    return await cluster.hold_lease(namespace="wk", name="leader", holder=holder, duration_seconds=15, now=now)


async def release(cluster: KubernetesCluster, holder: str) -> None:
    await cluster.release_lease(namespace="wk", name="leader", holder=holder)


async def test_the_first_one_makes_the_lease_and_has_it(api: FakeApi, make_cluster: MakeCluster) -> None:
    assert await hold(make_cluster(), "a", 1.5)
    assert api.objects[LEASE]["spec"] == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "1970-01-01T00:00:01.500000Z",
        "renewTime": "1970-01-01T00:00:01.500000Z",
        "leaseTransitions": 0,
    }


async def test_losing_the_race_to_make_it_is_not_having_it(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.answers["POST", LEASES].append(Answer(code=409, reason="AlreadyExists"))
    assert not await hold(make_cluster(), "a", 0)


async def test_the_holder_renews_without_a_transition(api: FakeApi, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    assert await hold(cluster, "a", 0)
    assert await hold(cluster, "a", 100)
    spec = api.objects[LEASE]["spec"]
    assert (spec["acquireTime"], spec["renewTime"]) == ("1970-01-01T00:00:00.000000Z", "1970-01-01T00:01:40.000000Z")
    assert spec["leaseTransitions"] == 0


async def test_a_lease_that_stands_still_for_its_duration_is_taken_over(
    api: FakeApi, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster()
    assert await hold(cluster, "a", 0)
    # b's clock is far ahead: it counts from when it first saw the record, not from what the record says.
    assert not await hold(cluster, "b", 5_000)
    assert not await hold(cluster, "b", 5_014.9)
    assert await hold(cluster, "b", 5_015)
    assert api.objects[LEASE]["spec"]["holderIdentity"] == "b"
    assert api.objects[LEASE]["spec"]["leaseTransitions"] == 1


async def test_a_renewed_lease_is_not_taken_over(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    assert await hold(cluster, "a", 0)
    assert not await hold(cluster, "b", 1)
    assert await hold(cluster, "a", 10)
    assert not await hold(cluster, "b", 17)
    assert not await hold(cluster, "b", 31)
    assert await hold(cluster, "b", 32)
    assert not await hold(cluster, "a", 33)


async def test_who_writes_second_does_not_have_it(api: FakeApi, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    assert await hold(cluster, "a", 0)
    assert not await hold(cluster, "b", 0)
    api.answers["PATCH", LEASE].append(Answer(code=409, reason="Conflict"))
    assert not await hold(cluster, "b", 100)


async def test_a_write_is_guarded_by_the_version_that_was_read(api: FakeApi, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await hold(cluster, "a", 0)
    version = api.objects[LEASE]["metadata"]["resourceVersion"]
    await hold(cluster, "a", 1)
    assert api.bodies[-1][2]["metadata"] == {"resourceVersion": version}


async def test_a_released_lease_is_taken_at_once(api: FakeApi, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await hold(cluster, "a", 0)
    await release(cluster, "a")
    assert api.objects[LEASE]["spec"]["holderIdentity"] == ""
    assert await hold(cluster, "b", 1)


async def test_only_the_holder_releases(api: FakeApi, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await release(cluster, "b")
    await hold(cluster, "a", 0)
    await release(cluster, "b")
    assert api.objects[LEASE]["spec"]["holderIdentity"] == "a"
