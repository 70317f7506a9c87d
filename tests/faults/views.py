"""The picture that one process has of the cluster: it can stand still while the cluster goes on, or come late."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast

from wattkeeper.cluster.clock import Clock
from wattkeeper.cluster.interface import WATCHED, ChangeHandler, View, Watched
from wattkeeper.cluster.store import Store

T = TypeVar("T", bound=Watched)
SILENT_SECONDS: Final = 70.0
"""An informer that hears nothing for so long gives its watch up, and is not synced until it has listed again."""


class ProcessView:
    """A View that follows another one, until it is frozen, and catches up in order when it is thawed.

    Attributes:
        late_seconds: how long every change takes to show.
    """

    def __init__(self, live: View, clock: Clock) -> None:
        self._clock = clock
        self._stores: dict[type[Watched], Store[Any]] = {kind: Store(kind) for kind in WATCHED}
        self._missed: deque[tuple[float, Callable[[], None]]] = deque()
        self._frozen_at: float | None = None
        self.late_seconds = 0.0
        self._catches_up = False
        self._ended = False
        for kind in WATCHED:
            live.subscribe(kind, self._follower(kind))

    @property
    def frozen(self) -> bool:
        """Says whether it stands still."""
        return self._frozen_at is not None

    def freeze(self) -> None:
        """Shows nothing new from now on."""
        if self._frozen_at is None:
            self._frozen_at = self._clock.now()

    def thaw(self) -> None:
        """Shows all that was missed."""
        self._frozen_at = None
        self._catch_up()

    def end(self) -> None:
        """Follows nothing any more: its process is gone."""
        self._ended = True
        self._missed.clear()

    def all(self, kind: type[T]) -> Mapping[str, T]:
        """Returns every object of a kind by UID."""
        return self._of(kind).all()

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        """Returns one object by name."""
        return self._of(kind).get(namespace, name)

    def subscribe(self, kind: type[T], handler: ChangeHandler[T]) -> None:
        """Calls the handler for everything there is, and then for every change."""
        self._of(kind).subscribe(handler)

    def synced(self) -> bool:
        """Says whether watches are alive, as far as an informer would know."""
        self._catch_up()
        return not self._ended and self.staleness_seconds(self._clock.now()) <= SILENT_SECONDS

    def staleness_seconds(self, now: float) -> float:
        """Returns for how long nothing was heard."""
        return 0.0 if self._frozen_at is None else now - self._frozen_at

    def _follower(self, kind: type[Watched]) -> ChangeHandler[Any]:
        store = self._stores[kind]

        def apply(old: Watched | None, new: Watched | None) -> None:
            if new is not None:
                store.put(new)
            elif old is not None:
                store.remove(old.metadata.uid)

        def changed(old: Watched | None, new: Watched | None) -> None:
            if self._ended:
                return
            self._missed.append((self._clock.now(), lambda: apply(old, new)))
            self._catch_up()

        return changed

    def _catch_up(self) -> None:
        """Shows what is due. Who is told of a change, and looks, sees no later one: the next is told of it first."""
        if self._catches_up:
            return
        self._catches_up = True
        shown_until = self._clock.now() - self.late_seconds
        while self._frozen_at is None and self._missed and self._missed[0][0] <= shown_until:
            self._missed.popleft()[1]()
        self._catches_up = False

    def _of(self, kind: type[T]) -> Store[T]:
        self._catch_up()
        return cast("Store[T]", self._stores[kind])
