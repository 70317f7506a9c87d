"""Whatever order replicas act in, and wherever they die: at every instant what each shows is trusted by every caller.

Rounds are driven by hand, from one read or write to the next, so that others act, and processes end, between any two.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from admission.certificate_rules import Lives
from tests.unit.admission.certificates import (
    DAY,
    HOST,
    MUTATING,
    POLL,
    SECRET,
    SETTLE,
    SPACE,
    VALIDATING,
    CertificateCluster,
    Died,
    Replica,
    SetClock,
    trusts,
)
from wattkeeper.cluster.trust import WebhookKind

REPLICAS = 2
# Short enough that a few actions see both renewed; much longer than what time moves by.
LIVES = Lives(names=(HOST,), authority_seconds=6 * DAY, serving_seconds=3 * DAY)
LAG = SETTLE / 2
STRIDES = (POLL, LAG, LAG, SETTLE, SETTLE, DAY / 2, 0.9 * DAY)

Action = tuple[str, Any]
ONE = st.integers(0, REPLICAS - 1)
ACTIONS = st.one_of(
    st.tuples(st.just("on"), ONE),
    st.tuples(st.just("on"), ONE),
    st.tuples(st.just("on"), ONE),
    st.tuples(st.just("finish"), ONE),
    st.tuples(st.just("die"), ONE),
    st.tuples(st.just("wait"), st.sampled_from(STRIDES)),
    st.tuples(st.just("wait"), st.sampled_from(STRIDES)),
    st.tuples(st.just("lose"), st.none()),
    st.tuples(
        st.just("damage"), st.sampled_from(["ca_crt", "ca_key", "next_ca_crt", "next_ca_key", "old_ca_crt", "tls_crt"])
    ),
    st.tuples(st.just("deny"), st.sampled_from([MUTATING, VALIDATING])),
    st.tuples(st.just("reset"), st.sampled_from([MUTATING, VALIDATING])),
)


class World:
    """Replicas, each in the middle of a round or between two, and callers.

    API servers and replicas may know what is up to LAG old: callers go by any version of a caBundle since then.
    """

    def __init__(self) -> None:
        self.cluster = CertificateCluster()
        self.clock = SetClock()
        self.replicas = [Replica(self.cluster, self.clock, LIVES) for _ in range(REPLICAS)]
        self.running: list[Coroutine[Any, Any, None] | None] = [None] * REPLICAS
        self.began = [self.clock.time] * REPLICAS
        self.looked = [self.clock.time] * REPLICAS
        self.versions: list[tuple[float, tuple[bytes, ...]]] = []
        self.checking = True
        self.cluster.between = lambda _: self.check()

    def check(self) -> None:
        """Verifies what every replica shows by every caBundle that somebody may go by."""
        now = self.clock.time
        current = self.cluster.bundles()
        if not self.versions or self.versions[-1][1] != current:
            self.versions.append((now, current))
        # The last version before the lag is what some still go by then.
        while len(self.versions) > 1 and self.versions[1][0] <= now - LAG:
            self.versions.pop(0)
        # Nobody was ever called through an empty one.
        bundles = {one for _, version in self.versions for one in version if one} if self.checking else set[bytes]()
        for number, replica in enumerate(self.replicas):
            held = replica.certificates.held
            wrong = [one for one in bundles if held is not None and not trusts(one, held.certificate, now)]
            assert wrong == [], f"replica {number} is distrusted"

    def on(self, one: int) -> bool:
        """Goes on to the replica's next read or write. Returns whether its round goes on after that."""
        task = self.running[one]
        if task is None:
            task, self.began[one] = self.replicas[one].keeper.round(), self.clock.time
        try:
            task.send(None)
        except StopIteration:
            task, self.looked[one] = None, self.began[one]
        self.running[one] = task
        self.check()
        return task is not None

    def finish(self, one: int) -> None:
        """Ends the replica's round as it began, if it has, and does a whole one."""
        while self.running[one] is not None:
            self.on(one)
        while self.on(one):
            pass

    def die(self, one: int) -> None:
        """Ends the process where it is; a new one knows nothing yet."""
        task = self.running[one]
        if task is not None:
            self.running[one] = None
            with suppress(Died):
                task.throw(Died())
        self.replicas[one], self.looked[one] = Replica(self.cluster, self.clock, LIVES), self.clock.time

    def wait(self, seconds: float) -> None:
        """Lets time pass. Nobody has not looked for longer than LAG; long times pass while nothing happens."""
        if seconds > LAG:
            self.quiet()
            self.clock.time += seconds
            self.looked = [self.clock.time] * REPLICAS
        else:
            for one in range(REPLICAS):
                if min(self.looked[one], self.began[one]) < self.clock.time + seconds - LAG:
                    self.finish(one)
            self.clock.time += seconds
        self.check()

    def quiet(self) -> None:
        before = -1
        while before != len(self.cluster.writes):
            before = len(self.cluster.writes)
            for one in range(REPLICAS):
                self.finish(one)

    def lose(self, _: None) -> None:
        self.cluster.trust.put_secret(SPACE, SECRET, {})

    def damage(self, place: str) -> None:
        self.cluster.put(**{place: b"damaged"})

    def deny(self, kind: WebhookKind) -> None:
        """Nobody can write a configuration, until the next one that can be reset."""
        self.cluster.denied = kind

    def reset(self, kind: WebhookKind) -> None:
        """Somebody else makes a configuration anew: calls fail until replicas have told it again."""
        self.cluster.denied = None
        self.checking = False
        self.cluster.reset(kind)
        for one in range(REPLICAS):
            self.finish(one)
        self.checking = True
        self.versions = []
        self.check()


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTIONS, max_size=50))
def test_every_replica_is_trusted_at_every_instant(actions: list[Action]) -> None:
    world = World()
    for name, argument in actions:
        getattr(world, name)(argument)
    world.cluster.denied = None
    for _ in range(4):
        world.wait(SETTLE)
    world.quiet()
    shown = world.cluster.kept.serving
    assert shown is not None
    assert [replica.shows for replica in world.replicas] == [shown] * REPLICAS
