"""What became of deletion costs that were written: in place, on their way, or put back by somebody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kserve_hooks.pod_actions import SetDeletionCost
from wattkeeper.cluster.objects import Pod

LATE_SECONDS: Final = 30.0
"""Longer than any request of ours lasts, and than a view is late while its watch is alive."""
_SHOWN_SECONDS: Final = 4.0
"""A cost of ours has shown by then, where something newer than what it was planned from does."""
_REMEMBERED_SECONDS: Final = 60.0
"""Of what every pass sees anew: longer than a view is late."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Written:
    """A cost that the API server has taken, from which version of the pod, and when (Unix seconds)."""

    cost: int | None
    version: str
    at: float


class Marks:
    """Remembers costs for one term of leadership, by the pod's UID: what was sent, taken, and seen in place."""

    def __init__(self) -> None:
        self._sent: dict[str, float] = {}
        self._written: dict[str, _Written] = {}
        self._shown: dict[str, float] = {}

    def begin(self, now: float) -> None:
        """Begins a pass: forgets what is long ago. What is in place is seen with every pass."""
        self._sent = {uid: at for uid, at in self._sent.items() if now - at < LATE_SECONDS}
        self._shown = {uid: at for uid, at in self._shown.items() if now - at < _REMEMBERED_SECONDS}
        self._written = {uid: one for uid, one in self._written.items() if now - one.at < _REMEMBERED_SECONDS}

    def sends(self, action: SetDeletionCost, now: float) -> None:
        """Notes a cost that is about to be sent."""
        self._sent[action.pod.metadata.uid] = now

    def wrote(self, action: SetDeletionCost, now: float) -> None:
        """Notes a cost that the API server has taken."""
        meta = action.pod.metadata
        self._written[meta.uid] = _Written(cost=action.cost, version=meta.resource_version, at=now)

    def sent(self, uid: str) -> float:
        """Returns when a cost was sent last, in Unix seconds, 0 for never."""
        return self._sent.get(uid, 0.0)

    def shows(self, uid: str, now: float) -> None:
        """Notes that our cost is in place."""
        self._shown[uid] = now
        self._written.pop(uid, None)

    def comes(self, pod: Pod, cost: int, now: float) -> bool:
        """Says whether a cost that is not in place was taken so lately that the view may be behind."""
        one = self._written.get(pod.metadata.uid)
        if one is None or one.cost != cost:
            return False
        late = LATE_SECONDS if one.version == pod.metadata.resource_version else _SHOWN_SECONDS
        return now - one.at < late

    def undone(self, pod: Pod, cost: int, now: float) -> bool:
        """Says, once, whether a cost that is not in place was there, or was taken: then somebody has put it back."""
        uid = pod.metadata.uid
        if self.comes(pod, cost, now):
            return False
        written = self._written.pop(uid, None)
        was_there = self._shown.pop(uid, None) is not None
        return was_there or (written is not None and written.cost == cost)

    def leaves(self, uid: str) -> None:
        """Notes that our cost is about to be taken away by ourselves."""
        self._shown.pop(uid, None)
        self._written.pop(uid, None)
