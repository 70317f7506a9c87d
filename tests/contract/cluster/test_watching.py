"""Lists and watches, and everything that goes wrong with them, over real HTTP on loopback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.contract.cluster.conftest import MakeCluster
from tests.contract.cluster.fake_api import PODS, Answer, FakeApi, TokenCredentials, Watch, pod, stay_open
from tests.contract.cluster.pausing_clock import PausingClock
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.cluster.client import KubernetesCluster
from wattkeeper.cluster.credentials import ServiceAccountCredentials
from wattkeeper.cluster.errors import ClusterError, ForbiddenError, NotFoundError, UnreachableError
from wattkeeper.cluster.informer import Pace
from wattkeeper.cluster.objects import LeaderWorkerSet, Pod, ScaledObject

Eventually = Callable[[Callable[[], object]], Awaitable[None]]


def names(cluster: KubernetesCluster) -> list[str]:
    return sorted(one.metadata.name for one in cluster.view.all(Pod).values())


def script(*events: tuple[str, dict[str, Any]], then_end: bool = False) -> Callable[[Watch], Awaitable[None]]:
    async def run(watch: Watch) -> None:
        for kind, obj in events:
            await watch.event(kind, obj)
        if not then_end:
            await stay_open(watch)

    return run


async def test_all_pages_of_the_first_list_are_there_when_start_returns(
    api: FakeApi, make_cluster: MakeCluster
) -> None:
    api.lists[PODS] = [pod(f"p{n:03}") for n in range(1_203)]
    cluster = make_cluster()
    assert not cluster.view.synced()
    assert cluster.view.staleness_seconds(0.0) == float("inf")
    await cluster.start()
    assert len(names(cluster)) == 1_203
    assert cluster.view.synced()
    assert cluster.server_minor == 36
    assert len(api.asked("GET", PODS, watch=False)) == 3


async def test_a_watch_brings_additions_changes_and_deletions_in_order(
    api: FakeApi, make_cluster: MakeCluster, eventually: Eventually
) -> None:
    api.lists[PODS] = [pod("a")]
    api.scripts[PODS].append(
        script(
            ("ADDED", pod("b", version="101")),
            ("MODIFIED", pod("a", version="102", phase="Failed")),
            ("DELETED", pod("b", version="103")),
        )
    )
    cluster = make_cluster()
    seen: list[tuple[str | None, str | None]] = []
    cluster.view.subscribe(Pod, lambda old, new: seen.append((old and old.metadata.name, new and new.status.phase)))
    await cluster.start()
    await eventually(lambda: len(seen) == 4)
    assert seen == [(None, "Running"), (None, "Running"), ("a", "Failed"), ("b", None)]
    found = cluster.view.get(Pod, "default", "a")
    assert found is not None
    assert found.status.phase == "Failed"
    assert cluster.view.get(Pod, "default", "b") is None


async def test_a_late_subscriber_is_told_what_there_is(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.lists[PODS] = [pod("a")]
    cluster = make_cluster()
    await cluster.start()
    seen: list[object] = []
    cluster.view.subscribe(Pod, lambda old, new: seen.append((old, new)))
    assert seen == [(None, cluster.view.get(Pod, "default", "a"))]


async def test_a_watch_goes_on_from_the_last_bookmark(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock, eventually: Eventually
) -> None:
    async def marked(watch: Watch) -> None:
        await watch.bookmark("777")
        await eventually(lambda: clock.time > 1_000_200)

    api.scripts[PODS].append(marked)
    cluster = make_cluster()
    await cluster.start()
    await eventually(lambda: api.asked("GET", PODS, watch=True))
    clock.advance(240)
    await eventually(lambda: len(api.asked("GET", PODS, watch=True)) == 2)
    first, second = api.asked("GET", PODS, watch=True)
    assert (first["resourceVersion"], second["resourceVersion"]) == ("100", "777")
    assert first["allowWatchBookmarks"] == "true"
    assert 240 <= int(first["timeoutSeconds"]) <= 360
    assert clock.pauses == []


async def test_a_watch_that_ends_at_once_is_not_asked_for_in_a_hot_loop(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock, eventually: Eventually
) -> None:
    for _ in range(4):
        api.scripts[PODS].append(script(then_end=True))
    await make_cluster().start()
    for round_ in range(1, 5):
        await eventually(lambda: len(clock.pauses) == round_)  # noqa: B023 - awaited within the round.
        clock.advance(60)
    assert all(low <= pause <= 2 * low for low, pause in zip((0.25, 0.5, 1.0, 2.0), clock.pauses, strict=True))


@pytest.mark.parametrize("how", ["status", "event"])
async def test_an_expired_watch_lists_again_and_reports_what_was_deleted_meanwhile(
    how: str,
    api: FakeApi,
    make_cluster: MakeCluster,
    clock: PausingClock,
    registry: CollectorRegistry,
    eventually: Eventually,
) -> None:
    api.lists[PODS] = [pod("gone"), pod("same"), pod("changed"), pod("reborn", uid="old")]

    async def expired(watch: Watch) -> None:
        await watch.error(410)

    if how == "status":
        api.answers["WATCH", PODS].append(Answer(code=410, message="too old resource version"))
    else:
        api.scripts[PODS].append(expired)
    cluster = make_cluster()
    await cluster.start()
    seen: list[tuple[str | None, str | None]] = []
    cluster.view.subscribe(Pod, lambda old, new: seen.append((old and old.metadata.uid, new and new.metadata.uid)))
    seen.clear()
    api.version = 200
    api.lists[PODS] = [pod("same"), pod("changed", version="150"), pod("new"), pod("reborn", uid="new")]
    await eventually(lambda: clock.pauses)
    clock.advance(5)
    await eventually(lambda: len(api.asked("GET", PODS, watch=True)) == 2)
    assert seen == [
        ("uid-changed", "uid-changed"),
        (None, "uid-new"),
        (None, "new"),
        ("uid-gone", None),
        ("old", None),
    ]
    reborn = cluster.view.get(Pod, "default", "reborn")
    assert reborn is not None
    assert reborn.metadata.uid == "new"
    assert api.asked("GET", PODS, watch=True)[-1]["resourceVersion"] == "200"
    assert registry.get_sample_value("wattkeeper_cluster_relists_total", {"kind": "Pod"}) == 1


async def test_a_list_that_expires_between_pages_starts_anew(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock, eventually: Eventually
) -> None:
    api.lists[PODS] = [pod(f"p{n}") for n in range(4)]
    api.answers["PAGE", PODS].append(Answer(code=410, message="the provided continue parameter is too old"))
    cluster = make_cluster(pace=Pace(page_size=2))
    starting = asyncio.create_task(cluster.start())
    await eventually(lambda: clock.pauses)
    clock.advance(5)
    await starting
    assert len(names(cluster)) == 4


async def test_a_half_open_connection_is_given_up_and_the_watch_renewed(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock, eventually: Eventually
) -> None:
    cluster = make_cluster(pace=Pace(silence_seconds=0.05))
    await cluster.start()
    await eventually(lambda: clock.pauses)
    clock.advance(1)
    await eventually(lambda: len(api.asked("GET", PODS, watch=True)) == 2)
    assert len(api.asked("GET", PODS, watch=False)) == 1


async def test_a_watch_that_stays_lost_makes_the_view_unsynced_and_a_renewed_one_synced(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock, eventually: Eventually
) -> None:
    for _ in range(2):
        api.answers["WATCH", PODS].append(Answer(code=503))
    cluster = make_cluster()
    await cluster.start()
    await eventually(lambda: clock.pauses)
    assert cluster.view.synced()
    clock.advance(11)
    assert not cluster.view.synced()
    assert cluster.view.staleness_seconds(clock.time) == 11
    await eventually(lambda: len(clock.pauses) == 2)
    clock.advance(1)
    await eventually(cluster.view.synced)
    assert cluster.view.staleness_seconds(clock.time) == 0


async def test_a_garbage_line_is_survived_and_resumed_from_before_it(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock, eventually: Eventually
) -> None:
    async def garbage(watch: Watch) -> None:
        await watch.event("ADDED", pod("a", version="101"))
        await watch.raw(b'<html>\xff\n{"type":\n')
        await stay_open(watch)

    api.scripts[PODS].extend([garbage, script(("ADDED", pod("b", version="102")))])
    cluster = make_cluster()
    await cluster.start()
    await eventually(lambda: clock.pauses)
    clock.advance(1)
    await eventually(lambda: names(cluster) == ["a", "b"])
    assert api.asked("GET", PODS, watch=True)[1]["resourceVersion"] == "101"


async def test_garbage_that_comes_again_makes_it_list_again(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock, eventually: Eventually
) -> None:
    async def garbage(watch: Watch) -> None:
        await watch.raw(b"{}\n")
        await stay_open(watch)

    api.scripts[PODS].extend([garbage, garbage])
    await make_cluster().start()
    await eventually(lambda: len(clock.pauses) == 1)
    clock.advance(5)
    await eventually(lambda: len(clock.pauses) == 2)
    clock.advance(5)
    await eventually(lambda: len(api.asked("GET", PODS, watch=False)) == 2)


async def test_a_line_cut_off_by_the_end_of_the_connection_is_not_taken(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock, eventually: Eventually
) -> None:
    async def cut(watch: Watch) -> None:
        await watch.raw(b'{"type":"DELETED","object":{"metadata":{"name":"a","uid":"uid-a"}}}')

    api.lists[PODS] = [pod("a")]
    api.scripts[PODS].append(cut)
    cluster = make_cluster()
    await cluster.start()
    await eventually(lambda: clock.pauses)
    assert names(cluster) == ["a"]


async def test_a_malformed_object_is_named_and_counted_and_the_others_are_kept(
    api: FakeApi,
    make_cluster: MakeCluster,
    registry: CollectorRegistry,
    caplog: pytest.LogCaptureFixture,
    eventually: Eventually,
) -> None:
    bad = pod("bad", version="5")
    bad["spec"]["containers"] = "none"
    api.lists[PODS] = [pod("a"), bad, pod("c")]
    worse = pod("c", version="101")
    worse["status"] = 7
    api.scripts[PODS].append(
        script(("MODIFIED", worse), ("ADDED", pod("d", version="102")), ("DELETED", {**bad, "spec": []}))
    )
    cluster = make_cluster()
    with caplog.at_level(logging.ERROR):
        await cluster.start()
        assert [one.name for one in cluster.view.undecodable(Pod)] == ["bad"]
        await eventually(lambda: "d" in names(cluster))
    assert "Pod default/bad cannot be read" in caplog.text
    await eventually(lambda: [one.name for one in cluster.view.undecodable(Pod)] == ["c"])
    assert names(cluster) == ["a", "c", "d"]
    assert registry.get_sample_value("wattkeeper_cluster_undecodable_objects", {"kind": "Pod"}) == 1
    assert registry.get_sample_value("wattkeeper_cluster_objects", {"kind": "Pod"}) == 3


async def test_nulls_count_as_absent(api: FakeApi, make_cluster: MakeCluster) -> None:
    odd = pod("a")
    odd["metadata"].update(creationTimestamp=None, labels=None)
    odd["status"]["podIP"] = None
    api.lists[PODS] = [odd]
    cluster = make_cluster()
    await cluster.start()
    assert names(cluster) == ["a"]
    assert cluster.view.undecodable(Pod) == ()


async def test_a_refusal_by_rbac_ends_the_start_with_the_servers_words(api: FakeApi, make_cluster: MakeCluster) -> None:
    words = 'pods is forbidden: User "w" cannot list resource "pods" in API group "" at the cluster scope'
    api.answers["GET", PODS].append(Answer(code=403, message=words))
    with pytest.raises(ForbiddenError, match="cannot list resource"):
        await make_cluster().start()


async def test_kinds_whose_crd_is_missing_are_empty_and_looked_for_every_minute(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock, eventually: Eventually
) -> None:
    path = "/apis/keda.sh/v1alpha1/scaledobjects"
    api.missing = {path, "/apis/leaderworkerset.x-k8s.io/v1/leaderworkersets"}
    cluster = make_cluster(kinds=(ScaledObject, LeaderWorkerSet))
    await cluster.start()
    assert cluster.view.synced()
    assert cluster.view.all(ScaledObject) == {}
    await eventually(lambda: clock.pauses == [60.0, 60.0])
    api.missing.clear()
    api.lists[path] = [pod("so")]
    clock.advance(60)
    await eventually(lambda: cluster.view.get(ScaledObject, "default", "so"))


async def test_missing_crds_of_our_own_end_the_start(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.missing = {"/apis/wattkeeper.dev/v1alpha1/powerbudgets"}
    with pytest.raises(NotFoundError):
        await make_cluster(kinds=(PowerBudget,)).start()


async def test_retry_after_is_waited_for(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock, eventually: Eventually
) -> None:
    api.answers["GET", PODS].append(Answer(code=429, headers={"Retry-After": "17"}))
    starting = asyncio.create_task(make_cluster().start())
    await eventually(lambda: clock.pauses)
    assert clock.pauses == [17.0]
    clock.advance(17)
    await starting


async def test_a_start_that_takes_too_long_names_what_is_missing(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.answers["GET", PODS].append(Answer(code=503, message="etcd is away"))
    with pytest.raises(UnreachableError, match="Pod: GET /api/v1/pods: etcd is away"):
        await make_cluster(start_seconds=0.2).start()


async def test_a_rotated_token_is_taken_up_after_one_refusal(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.valid_token = "second"
    api.lists[PODS] = [pod("a")]
    cluster = make_cluster(credentials=TokenCredentials(api.url, ["first", "second"]))
    await cluster.start()
    assert names(cluster) == ["a"]
    assert api.tokens[:2] == ["first", "second"]


async def test_a_token_refused_in_a_watch_is_rotated_for_the_next_one(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock, eventually: Eventually
) -> None:
    cluster = make_cluster(credentials=TokenCredentials(api.url, ["first", "second"]))
    api.answers["WATCH", PODS].append(Answer(code=401))
    api.scripts[PODS].append(script(("ADDED", pod("a", version="101"))))
    await cluster.start()
    await eventually(lambda: clock.pauses)
    clock.advance(1)
    await eventually(lambda: names(cluster) == ["a"])
    assert api.tokens[-1] == "second"


async def test_credentials_that_stay_refused_are_a_forbidden_error(api: FakeApi, make_cluster: MakeCluster) -> None:
    api.valid_token = "other"
    with pytest.raises(ForbiddenError, match="credentials are not accepted"):
        await make_cluster().start()


async def test_a_subscriber_that_fails_does_not_end_the_watch(
    api: FakeApi, make_cluster: MakeCluster, registry: CollectorRegistry, eventually: Eventually
) -> None:
    api.scripts[PODS].append(script(("ADDED", pod("a", version="101")), ("ADDED", pod("b", version="102"))))
    cluster = make_cluster()

    def fails(_old: Pod | None, _new: Pod | None) -> None:
        raise RuntimeError("mistake")

    cluster.view.subscribe(Pod, fails)
    await cluster.start()
    await eventually(lambda: names(cluster) == ["a", "b"])
    assert registry.get_sample_value("wattkeeper_cluster_handler_failures", {"kind": "Pod"}) == 2


async def test_a_server_that_cannot_be_reached_is_an_unreachable_error(make_cluster: MakeCluster) -> None:
    with pytest.raises(UnreachableError, match=r"within 0\.2 s: GET /version: .*127\.0\.0\.1"):
        await make_cluster(credentials=TokenCredentials("http://127.0.0.1:1"), start_seconds=0.2).start()


async def test_an_api_server_that_starts_after_us_is_waited_for(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock, eventually: Eventually
) -> None:
    api.answers["GET", "/version"].append(Answer(code=503))
    cluster = make_cluster()
    starting = asyncio.create_task(cluster.start())
    await eventually(lambda: clock.pauses)
    clock.advance(1)
    await starting
    assert cluster.view.synced()


async def test_credentials_that_cannot_be_read_end_the_start_at_once(make_cluster: MakeCluster, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="give a kubeconfig"):
        await make_cluster(credentials=ServiceAccountCredentials(folder=tmp_path, environment={})).start()


async def test_a_bad_object_that_keeps_changing_is_logged_once(
    api: FakeApi, make_cluster: MakeCluster, caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    bad: list[tuple[str, dict[str, Any]]] = [
        ("MODIFIED", {**pod("bad", version=str(n)), "spec": 1}) for n in range(101, 111)
    ]
    api.scripts[PODS].append(script(*bad, ("ADDED", pod("good", version="111"))))
    cluster = make_cluster()
    with caplog.at_level(logging.ERROR):
        await cluster.start()
        await eventually(lambda: names(cluster) == ["good"])
    assert len(caplog.records) == 1


async def test_a_stopped_cluster_can_be_started_again_and_goes_on(
    api: FakeApi, make_cluster: MakeCluster, eventually: Eventually
) -> None:
    cluster = make_cluster()
    await cluster.start()
    await cluster.stop()
    api.scripts[PODS].append(script(("ADDED", pod("a", version="101"))))
    await cluster.start()
    await eventually(lambda: names(cluster) == ["a"])


async def test_a_kind_that_fails_does_not_keep_the_others_from_being_followed(
    api: FakeApi, make_cluster: MakeCluster, clock: PausingClock, eventually: Eventually
) -> None:
    objects = "/apis/keda.sh/v1alpha1/scaledobjects"
    api.answers["WATCH", objects].append(Answer(code=500))
    api.scripts[PODS].append(script(("ADDED", pod("a", version="101"))))
    cluster = make_cluster(kinds=(Pod, ScaledObject))
    await cluster.start()
    await eventually(lambda: clock.pauses)
    await eventually(lambda: names(cluster) == ["a"])
    clock.time += 11
    assert not cluster.view.synced()
