"""Who puts back what the actuator writes, such as a GitOps tool: seen and said, not fought in a loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wattkeeper.api.conditions import Finding
from wattkeeper.api.instants import format_instant, parse_instant
from wattkeeper.api.power_recommendation import ActuatedField, Actuation, Kill
from wattkeeper.cluster.actuation import ACTUATOR_MANAGER
from wattkeeper.cluster.braking import Brakeable
from wattkeeper.cluster.kserve import KServeService, writers_of
from wattkeeper.cluster.objects import ScaledObject, ScaledObjectSpec

_LATE_SECONDS: Final = 30.0
"""Longer than any request of ours lasts, and than a view is late while its watch is alive."""
_SHOWN_SECONDS: Final = 4.0
"""A write of ours has shown by then, where something newer than what it was planned from does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RevertOptions:
    """When it is enough.

    Attributes:
        limit: so many reverts in a row, and the actuator stops writing.
        pause_seconds: after which it tries once more, and after which a value that stayed makes all forgotten.
    """

    limit: int = 3
    pause_seconds: float = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reverts:
    """How often in a row somebody put something back, when last (Unix seconds), and who."""

    count: int = 0
    at: float = 0.0
    by: str = ""

    @staticmethod
    def of(actuation: Actuation | None) -> Reverts:
        """Returns what a status says."""
        if actuation is None:
            return Reverts()
        at = parse_instant(actuation.reverted_at) or 0.0
        return Reverts(count=actuation.reverts, at=at, by=actuation.reverted_by)

    @staticmethod
    def of_costs(kill: Kill) -> Reverts:
        """Returns what a status says of deletion costs. Who it was is not seen: no cache keeps that of pods."""
        return Reverts(count=kill.reverts, at=parse_instant(kill.reverted_at) or 0.0)

    def again(self, service: KServeService, fields: list[str], now: float) -> Reverts:
        """Returns what to remember once somebody has put fields back."""
        writers = sorted({one for path in fields for one in writers_of(service, path) if one != ACTUATOR_MANAGER})
        return Reverts(count=self.count + 1, at=now, by=", ".join(writers))

    def paused(self, options: RevertOptions, now: float) -> bool:
        """Says whether nothing is to be written for now."""
        return self.count >= options.limit and now - self.at < options.pause_seconds

    def over(self, options: RevertOptions, now: float) -> bool:
        """Says whether they are long enough ago to be forgotten, if nothing was put back since."""
        return self.count > 0 and now - self.at >= options.pause_seconds

    def times(self) -> str:
        """Returns how often it was, in words."""
        return "once" if self.count == 1 else f"{self.count} times in a row"

    def stamp(self) -> str:
        """Returns when it last happened, as a status says it."""
        return format_instant(self.at) if self.count else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """Attributes: what a ScaledObject shall be, its version when that was asked for first, and when (Unix seconds)."""

    spec: ScaledObjectSpec
    version: str
    since: float


class Sightings:
    """Remembers which of our values were in place, so that a first write is not taken for a second.

    A write that succeeded was in place, though a pass may never see it: whoever puts it back can be quicker.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], int] = {}
        self._written_from: dict[str, str] = {}
        self._sent_from: dict[str, tuple[str, float]] = {}
        self._whole: dict[str, ScaledObjectSpec] = {}
        self._asked: dict[str, _Asked] = {}

    def sends(self, changed: KServeService | Brakeable, now: float) -> None:
        """Notes a write that is about to be sent. An API server takes it for exactly this version of the object."""
        self._sent_from[changed.metadata.uid] = (changed.metadata.resource_version, now)

    def wrote(self, changed: KServeService | Brakeable, fields: tuple[tuple[str, int | None], ...]) -> None:
        """Notes a write that succeeded."""
        meta = changed.metadata
        self._written_from[meta.uid] = meta.resource_version
        self._seen |= {(meta.uid, field): value for field, value in fields if value is not None}

    def forget(self, changed: KServeService | Brakeable) -> None:
        """Forgets what was in place: it is about to be taken away by ourselves."""
        self._seen = {key: value for key, value in self._seen.items() if key[0] != changed.metadata.uid}

    def may_change_yet(self, changed: KServeService | Brakeable, now: float) -> bool:
        """Says whether a write of ours may still come through, or has and is not shown yet."""
        version, at = self._sent_from.get(changed.metadata.uid, ("", 0.0))
        return version == changed.metadata.resource_version and now - at < _LATE_SECONDS

    def reverted(self, changed: KServeService | Brakeable, one: ActuatedField, now: int | None) -> bool:
        """Notes what a field is now. Returns whether our value was there and is not any more."""
        meta = changed.metadata
        if self._written_from.get(meta.uid) == meta.resource_version:
            return False  # The view does not show our write yet.
        key = (meta.uid, one.field)
        if now == one.written:
            self._seen[key] = one.written
            return False
        return self._seen.pop(key, None) == one.written

    def whole(self, one: ScaledObject, wanted: ScaledObject) -> None:
        """Notes that a ScaledObject of ours is as it shall be."""
        self._whole[one.metadata.uid] = wanted.spec
        self._asked.pop(one.metadata.uid, None)

    def undone(self, one: ScaledObject, wanted: ScaledObject, now: float) -> bool:
        """Notes that a ScaledObject of ours has to be written. Returns whether the same was written in vain.

        So it is where it was in place before, where the object has changed since it was asked for last, or where that
        changes nothing: an admission webhook may change what is written.
        """
        meta, spec = one.metadata, wanted.spec
        asked = self._asked.get(meta.uid)
        if asked is None or asked.spec != spec:
            self._asked[meta.uid] = _Asked(spec=spec, version=meta.resource_version, since=now)
            return self._whole.pop(meta.uid, None) == spec
        waits = _LATE_SECONDS if asked.version == meta.resource_version else _SHOWN_SECONDS
        vain = now - asked.since >= waits
        if vain:
            self._asked[meta.uid] = _Asked(spec=spec, version=meta.resource_version, since=now)
        return vain

    def leaves(self, one: ScaledObject) -> None:
        """Notes that a ScaledObject of ours is left as it is for now."""
        self._asked.pop(one.metadata.uid, None)


def revert_finding(what: str, reverts: Reverts, options: RevertOptions, now: float) -> Finding:
    """Says who puts something back, and what to do."""
    who = reverts.by or "somebody"
    stops = " The actuator has stopped writing for now." if reverts.paused(options, now) else ""
    message = f"{who} put back {what} {reverts.times()}: have it leave that alone (Argo CD: ignoreDifferences).{stops}"
    return Finding(type="Reverted", holds=True, reason="PutBack", message=message)
