"""What the actuator has left behind, because somebody has removed a recommendation together with its finalizer.

A ScaledObject of ours carries our label. A pause on a user's ScaledObject carries no mark of ours, and needs none: the
API server remembers who wrote an annotation last (managedFields), and the write that takes the pause off asks for that.
A user's own pause looks the same in the view, so it is asked about, and left.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kserve_hooks.actions import DeleteScaledObject, ServicePlan, SetBrake
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.cluster.actuation import is_ours
from wattkeeper.cluster.braking import PAUSE, PAUSED_REPLICAS
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.objects import ScaledObject

UNNOTED_SECONDS: Final = 30.0
"""A note that the view does not show for so long is not there."""
_ASK_AGAIN_SECONDS: Final = 600.0


class Orphans:
    """Finds them, for one term of leadership."""

    def __init__(self, view: View) -> None:
        """Takes the caches."""
        self._view = view
        self._unnoted: dict[tuple[str, str], float] = {}
        self._asked: dict[tuple[str, str], float] = {}

    def scaled_objects(self) -> Iterator[ServicePlan]:
        """Yields what removes ScaledObjects of ours that no recommendation stands behind any more."""
        known = {
            (one.metadata.namespace, one.spec.scale_target_ref.kind, one.spec.scale_target_ref.name)
            for one in self._view.all(PowerRecommendation).values()
        }
        for one in self._view.all(ScaledObject).values():
            target = one.spec.scale_target_ref
            if is_ours(one) and (one.metadata.namespace, target.kind, target.name) not in known:
                yield ServicePlan(key=one.metadata.uid, actions=(DeleteScaledObject(gone=one),))

    def pauses(self, now: float, *, unnoted_seconds: float = UNNOTED_SECONDS) -> Iterator[ServicePlan]:
        """Yields what takes off pauses that no recommendation notes, if they are ours.

        Args:
            now: Unix seconds.
            unnoted_seconds: for how long no note may have been seen.
        """
        noted = {
            one.status.actuation.brake.uid
            for one in self._view.all(PowerRecommendation).values()
            if one.status.actuation is not None and one.status.actuation.brake is not None
        }
        paused = {
            (one.metadata.uid, one.metadata.resource_version): one
            for one in self._view.all(ScaledObject).values()
            if PAUSED_REPLICAS in one.metadata.annotations and one.metadata.uid not in noted
        }
        self._unnoted = {key: self._unnoted.get(key, now) for key in paused}
        self._asked = {key: at for key, at in self._asked.items() if key in paused and now - at < _ASK_AGAIN_SECONDS}
        for key, one in paused.items():
            if key not in self._asked and now - self._unnoted[key] >= unnoted_seconds:
                self._asked[key] = now
                off = SetBrake(target=one, fields=((PAUSE, None),), released=True, if_ours=True)
                yield ServicePlan(key=one.metadata.uid, actions=(off,))
