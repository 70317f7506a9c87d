"""Which alerts are active, which have ended, and who has been told what. Nothing here reads a clock or does IO.

A fact that has held for long enough becomes an alert, and an alert whose fact has been gone for long enough ends, so
that what flickers neither alerts nor resolves. Who is to be told follows from what the book says and from who was told
already: nothing else has to be queued, and a restart that reads the book back goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from admission.alert import Alert, Fact
from admission.errors import AlertsUnreadableError

Told = Literal["nothing", "firing", "resolved"]
MOST_ALERTS: Final = 1_000
"""Active and ended ones together: more than that helps nobody, and must not fill the memory. A tenth is kept for
critical ones: with the webhook away every service of a fleet may have something to say, and a budget must be heard."""

PATIENCE_SECONDS: Final = 3_600.0
"""An alert that has ended is worth telling for an hour more."""

_VERSION: Final = 1


class Entry(msgspec.Struct, kw_only=True):
    """An alert's life.

    Attributes:
        alert: with its latest figures.
        starts_at: Unix seconds.
        gone_since: Unix seconds, when its fact was first seen gone; None while it holds.
        ends_at: Unix seconds; None while the alert is active.
        told: what each sink that the alert is meant for has been told.
    """

    alert: Alert
    starts_at: float
    gone_since: float | None = None
    ends_at: float | None = None
    told: dict[str, Told] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """Something that a sink is to be told: firing or resolved."""

    entry: Entry
    state: Told


class _State(msgspec.Struct, kw_only=True):
    version: int
    active: list[Entry]
    ended: list[Entry]


class AlertBook:
    """Attributes: `changed`, whether there is something to keep; `refused`, alerts that found no room, for counting."""

    def __init__(self, *, keep_seconds: float, most: int = MOST_ALERTS) -> None:
        """Starts empty.

        Args:
            keep_seconds: an alert ends when its fact has been gone for so long.
            most: how many alerts it holds.
        """
        self._keep_seconds = keep_seconds
        self._most = most
        self._active: dict[str, Entry] = {}
        self._ended: list[Entry] = []
        self._without_room: set[str] = set()
        self.changed = False
        self.refused = 0

    def update(self, facts: Iterable[Fact], now: float) -> None:
        """Takes in all facts that hold now.

        Args:
            facts: each alert's at most once; of several the first counts.
            now: Unix seconds.
        """
        present: dict[str, Fact] = {}
        for fact in facts:
            present.setdefault(fact.alert.fingerprint, fact)
        self._without_room &= present.keys()
        for key, fact in present.items():
            # An alert that is active goes on while its fact holds at all, and need not hold for so long once more.
            if key in self._active:
                self._goes_on(self._active[key], fact)
            elif fact.fires_at <= now:
                self._starts(key, fact)
        for key, entry in list(self._active.items()):
            if key not in present:
                self._gone(key, entry, now)

    def _goes_on(self, entry: Entry, fact: Fact) -> None:
        entry.alert = fact.alert
        if entry.gone_since is not None:
            entry.gone_since = None
            self.changed = True

    def _starts(self, key: str, fact: Fact) -> None:
        most = self._most if fact.alert.severity == "critical" else self._most - self._most // 10
        if len(self._active) + len(self._ended) < most:
            self._active[key] = Entry(alert=fact.alert, starts_at=fact.fires_at)
            self._without_room.discard(key)
            self.changed = True
        elif key not in self._without_room:
            self._without_room.add(key)
            self.refused += 1

    def _gone(self, key: str, entry: Entry, now: float) -> None:
        # A clock that was set back begins anew; it must not keep an alert for ever.
        if entry.gone_since is None or entry.gone_since > now:
            entry.gone_since = now
            self.changed = True
        if now - entry.gone_since >= self._keep_seconds:
            entry.ends_at = max(entry.gone_since, entry.starts_at)
            del self._active[key]
            self._ended.append(entry)
            self.changed = True

    @property
    def active(self) -> Collection[Entry]:
        """Alerts that are active, the oldest first."""
        return self._active.values()

    def address(self, recipients: Callable[[Alert], Collection[str]]) -> None:
        """Says whom active alerts are meant for. Who was told that one fires is also told that it is over."""
        for entry in self._active.values():
            meant = recipients(entry.alert)
            for name in meant:
                if name not in entry.told:
                    entry.told[name] = "nothing"
                    self.changed = True
            for name in [name for name, told in entry.told.items() if told == "nothing" and name not in meant]:
                del entry.told[name]
                self.changed = True

    def notices(self, sink: str) -> Iterator[Notice]:
        """Yields what a sink is to be told next about each alert, in the order in which it happened."""
        for entry in [*self._ended, *self._active.values()]:
            told = entry.told.get(sink)
            if told == "nothing":
                yield Notice(entry=entry, state="firing")
            elif told == "firing" and entry.ends_at is not None:
                yield Notice(entry=entry, state="resolved")

    def tell(self, sink: str, notice: Notice) -> None:
        """Notes that a sink was told, or never will be."""
        notice.entry.told[sink] = notice.state
        self.changed = True

    def forget(self, sinks: Collection[str], now: float) -> list[str]:
        """Drops ended alerts about which nobody has to be told any more.

        Args:
            sinks: all that there are.
            now: Unix seconds.

        Returns:
            The sinks that could not be told of an alert within an hour of its end, one for each such alert.
        """
        left: list[Entry] = []
        missed: list[str] = []
        for entry in self._ended:
            untold = [name for name, told in entry.told.items() if told != "resolved" and name in sinks]
            if untold and now - (entry.ends_at or now) < PATIENCE_SECONDS:
                left.append(entry)
            else:
                missed += untold
        self.changed = self.changed or len(left) != len(self._ended)
        self._ended = left
        return missed

    def encode(self) -> bytes:
        """Returns what a restart needs."""
        return msgspec.json.encode(_State(version=_VERSION, active=list(self._active.values()), ended=self._ended))

    @classmethod
    def decoded(cls, data: bytes, *, keep_seconds: float) -> AlertBook:
        """Returns the book that was encoded.

        Raises:
            AlertsUnreadableError: it is none, or a later version's.
        """
        try:
            state = msgspec.json.decode(data, type=_State)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise AlertsUnreadableError(f"what was kept of alerts cannot be read: {error}") from error
        if state.version != _VERSION:
            raise AlertsUnreadableError(f"what was kept of alerts has version {state.version}, not {_VERSION}")
        book = cls(keep_seconds=keep_seconds)
        book._active = {entry.alert.fingerprint: entry for entry in state.active}
        book._ended = state.ended
        return book
