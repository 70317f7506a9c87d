"""Wakes open streams when what they say may have changed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager

from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.cluster.interface import View, Watched
from wattkeeper.cluster.objects import ScaledObject


class StreamAlarms:
    """An event per open stream. A changed object wakes the streams of its namespace, and only once however often."""

    def __init__(self, view: View) -> None:
        self._by_namespace: dict[str, set[asyncio.Event]] = defaultdict(set)
        self.closing = False
        for kind in (ScaledObject, PowerRecommendation, PowerCappingPolicy):
            view.subscribe(kind, self._changed)

    @contextmanager
    def listening(self, namespace: str) -> Generator[asyncio.Event]:
        """Registers a stream for as long as it is open."""
        alarm = asyncio.Event()
        self._by_namespace[namespace].add(alarm)
        try:
            yield alarm
        finally:
            alarms = self._by_namespace[namespace]
            alarms.discard(alarm)
            if not alarms:
                del self._by_namespace[namespace]

    def wake_all(self) -> None:
        """Wakes every stream: time has passed, and an answer may have become stale."""
        for alarms in self._by_namespace.values():
            for alarm in alarms:
                alarm.set()

    def close(self) -> None:
        """Tells every stream to end."""
        self.closing = True
        self.wake_all()

    def _changed(self, old: Watched | None, new: Watched | None) -> None:
        for one in (old, new):
            if one is not None:
                for alarm in self._by_namespace.get(one.metadata.namespace, ()):
                    alarm.set()
