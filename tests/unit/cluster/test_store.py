"""The store and its subscribers."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattkeeper.api.meta import ObjectMeta
from wattkeeper.cluster.objects import Pod
from wattkeeper.cluster.store import Store


def pod(name: str, uid: str, version: str = "1") -> Pod:
    return Pod(metadata=ObjectMeta(name=name, namespace="ns", uid=uid, resource_version=version))


def test_an_object_that_has_not_changed_is_no_news() -> None:
    store = Store(Pod)
    seen: list[object] = []
    store.subscribe(lambda old, new: seen.append((old, new)))
    store.put(pod("a", "u"))
    store.put(pod("a", "u"))
    assert len(seen) == 1


def test_a_namesake_keeps_the_name_when_its_predecessor_goes() -> None:
    store = Store(Pod)
    store.put(pod("a", "old"))
    store.put(pod("a", "new"))
    assert set(store.all()) == {"old", "new"}
    store.remove("old")
    found = store.get("ns", "a")
    assert found is not None
    assert found.metadata.uid == "new"
    store.remove("new")
    assert store.get("ns", "a") is None


def test_what_is_handed_out_cannot_be_changed() -> None:
    store = Store(Pod)
    with pytest.raises(TypeError):
        store.all()["u"] = pod("a", "u")  # pyright: ignore[reportIndexIssue]  (this is what must fail)


def test_a_subscriber_that_fails_is_logged_and_the_others_are_told(caplog: pytest.LogCaptureFixture) -> None:
    store = Store(Pod)
    seen: list[Pod | None] = []

    def fails(_old: Pod | None, _new: Pod | None) -> None:
        raise ValueError("mistake")

    store.subscribe(fails)
    store.subscribe(lambda _old, new: seen.append(new))
    with caplog.at_level(logging.ERROR):
        store.put(pod("a", "u"))
    assert seen == [pod("a", "u")]
    assert store.handler_failures == 1
    assert "Pod ns/a" in caplog.text


UIDS = st.sampled_from(["1", "2", "3"])
Step = Callable[[Store[Pod]], object]


def putting(name: str, uid: str, version: int) -> Step:
    return lambda store: store.put(pod(name + uid, uid, str(version)))


def removing(uid: str) -> Step:
    return lambda store: store.remove(uid)


def keeping(uids: set[str]) -> Step:
    return lambda store: store.keep_only(uids)


STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(putting, st.just("a"), UIDS, st.integers(0, 3)),
    st.builds(removing, UIDS),
    st.builds(keeping, st.sets(UIDS)),
)


@given(st.lists(STEPS, max_size=30))
def test_a_subscriber_can_always_rebuild_the_store_from_what_it_was_told(steps: list[Step]) -> None:
    store = Store(Pod)
    told: dict[str, Pod] = {}

    def follow(old: Pod | None, new: Pod | None) -> None:
        if old is not None:
            assert told.pop(old.metadata.uid) is old
        if new is not None:
            told[new.metadata.uid] = new

    store.subscribe(follow)
    for step in steps:
        step(store)
        assert dict(store.all()) == told
        assert store.handler_failures == 0
        for one in told.values():
            assert store.get("ns", one.metadata.name) is one
