"""Everything that one migration looks at, joined from a view once a pass."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

from kserve_hooks.capped import Capped
from kserve_hooks.pods import ends, is_ready
from wattkeeper.api.instants import parse_instant
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_migration import FINISHED, PowerMigration
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.objects import Pod
from wattkeeper.recommender.templates import template_of

MOVING: Final = ("Migrate", "Kill")
"""Modes in which pods are moved."""


def service_of_migration(one: PowerMigration) -> ServiceKey:
    """Returns whose pod a migration moves."""
    reference = one.spec.scale_target_ref
    return ServiceKey(one.metadata.namespace, reference.kind, reference.name)


def is_over(one: PowerMigration) -> bool:
    """Says whether a migration has ended, well or not."""
    return one.status.phase in FINISHED


def began(one: PowerMigration) -> float:
    """Returns when a migration was made, in Unix seconds."""
    return parse_instant(one.metadata.creation_timestamp) or 0.0


def may_move(capped: Capped | None) -> bool:
    """Says whether a service's policy lets its pods be moved."""
    return capped is not None and capped.may(*MOVING)


@dataclass(frozen=True, kw_only=True, slots=True)
class Moving:
    """One migration and what is around it.

    Attributes:
        capped: its service, None where nothing is recommended for it.
        pods: of the service, those that are about to end included, but for those that do not come to their end.
        old: the very pod that moves, None where it is gone.
        serving: UIDs of pods that get traffic, None where nobody has asked.
        budget: whose nodes the pod leaves, None where it is gone.
        marked: when the old pod was sent the cost with which it goes first, in this term and not taken back; Unix
            seconds, 0 for never.
        told: a leader has decided lately: on old decisions nobody is evicted.
    """

    migration: PowerMigration
    capped: Capped | None
    pods: tuple[Pod, ...]
    old: Pod | None
    serving: frozenset[str] | None
    budget: PowerBudget | None
    marked: float = 0.0
    told: bool = True

    @property
    def since(self) -> float:
        """Returns since when it is in its phase, in Unix seconds."""
        return parse_instant(self.migration.status.since) or began(self.migration)

    @property
    def enough(self) -> float:
        """Returns how many pods there were before: with no more than that none may go. inf where nothing says."""
        return inf if self.migration.status.replicas is None else self.migration.status.replicas

    @property
    def new(self) -> Pod | None:
        """Returns the pod that takes over, None where none does or it is gone."""
        wanted = self.migration.status.new_pod
        return next((pod for pod in self.pods if wanted is not None and pod.metadata.uid == wanted.uid), None)

    @property
    def staying(self) -> tuple[Pod, ...]:
        """Returns the pods that are not about to end."""
        return tuple(pod for pod in self.pods if not ends(pod))

    @property
    def ready(self) -> int:
        """Returns how many pods serve and are not about to end."""
        return sum(is_ready(pod) for pod in self.pods)

    @property
    def rolls(self) -> bool:
        """Says whether the service's pods are being replaced by such of another template.

        What the Deployment's controller has not seen yet says nothing here: it may be the surge.
        """
        return len({template_of(pod) for pod in self.pods}) > 1

    def arrived(self) -> Pod | None:
        """Returns the oldest pod that came after the migration was made, of the same template while nothing rolls.

        Kubernetes writes seconds: a pod of the same second is taken for an older one, and another is waited for.
        """
        made = began(self.migration)
        later = [
            (pod.metadata.creation_timestamp, pod.metadata.name, pod)
            for pod in self.staying
            if (parse_instant(pod.metadata.creation_timestamp) or 0.0) > made
        ]
        return min(later, default=("", "", None), key=lambda one: one[:2])[2]
