"""What replicas draw in each domain, in two segments: those that run, and further ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattkeeper.api.readings import Floats, Ints
from wattkeeper.api.snapshot import Snapshot, running_grants, total_watts

ROUNDING_WATTS = 1e-6
"""Sums of the same watts in another order differ by less than this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """S services in D domains.

    Attributes:
        active: float64[S], replicas up to which `each` counts: those active, less a surge.
        each: float64[S, D], watts of one replica among the active ones.
        further: float64[S, D], watts of one replica above them.
    """

    active: Floats
    each: Floats
    further: Floats

    def only(self, rows: Ints) -> Draw:
        """Returns the draw of some of the services."""
        return Draw(
            active=self.active[rows], each=self.each.take(rows, axis=0), further=self.further.take(rows, axis=0)
        )

    def within(self, domains: Ints) -> Draw:
        """Returns the draw in some of the domains."""
        each, further = self.each.take(domains, axis=1), self.further.take(domains, axis=1)
        return Draw(active=self.active, each=each, further=further)

    def gains(self, before: Ints, after: Ints) -> Floats:
        """Returns float64[S, D], what each service draws more with `after` than with `before` replicas (int64[S])."""
        kept, added = self._more(before, after)
        return kept[:, None] * self.each + added[:, None] * self.further

    def total_gains(self, before: Ints, after: Ints | Floats) -> Floats:
        """Returns float64[D], the sum of `gains` over the services, without a matrix of them."""
        return self._total(*self._more(before, after))

    def total_slope(self, level: float, lower: Ints, upper: Ints) -> Floats:
        """Returns float64[D], what all draw more per level while each has that share of `upper`, or `lower` if more."""
        share = level * upper
        steps = np.where(share > lower, upper, 0.0)
        beyond = share > self.active
        return self._total(np.where(beyond, 0.0, steps), np.where(beyond, steps, 0.0))

    def next_replica(self, rows: Ints, replicas: Ints) -> Floats:
        """Returns float64[len(rows), D], what the replica after `replicas` draws."""
        watts = self.further.take(rows, axis=0)
        runs = np.flatnonzero(replicas < self.active[rows])
        watts[runs] = self.each[rows[runs]]
        return watts

    def _more(self, before: Ints, after: Ints | Floats) -> tuple[Floats, Floats]:
        """Returns how many replicas more run among the active ones, and above them: float64[S] each."""
        kept = np.minimum(after, self.active) - np.minimum(before, self.active)
        return kept, np.maximum(after - self.active, 0.0) - np.maximum(before - self.active, 0.0)

    def _total(self, kept: Floats, added: Floats) -> Floats:
        watts = np.zeros(self.each.shape[1])
        for replicas, each in ((kept, self.each), (added, self.further)):
            if replicas.any():
                watts += total_watts(replicas, each)
        return watts


def worst_case(snapshot: Snapshot) -> Draw:
    """Returns the draw by Snapshot's formula: a further replica counts in full wherever it may land."""
    inverse = np.divide(1.0, snapshot.active, out=np.zeros(len(snapshot.active)), where=snapshot.active > 0)
    return Draw(
        active=running_grants(snapshot).astype(np.float64),
        each=snapshot.active_watts * inverse[:, None],
        further=snapshot.unit_watts,
    )


def expected(snapshot: Snapshot, worst: Draw) -> Draw:
    """Returns the draw if further replicas land as those that run have landed.

    A further replica counts in a domain with the service's own share there or with the whole fleet's, whichever is
    more: 1 in a domain that holds everything, and about 1/40 in one of 40 racks.
    """
    fleet = float((snapshot.active * snapshot.unit_watts.max(axis=1, initial=0.0)).sum())
    share = snapshot.active_watts.sum(axis=0) / fleet if fleet > 0.0 else np.ones(len(snapshot.domains))
    further = snapshot.unit_watts * np.minimum(share, 1.0)
    # Where one cannot land, it draws nothing, wherever others run: new replicas may be steered away from there.
    np.maximum(further, worst.each, out=further, where=snapshot.unit_watts > 0.0)
    return Draw(active=worst.active, each=worst.each, further=further)
