"""Which migrations are under way, as rows: what of PowerMigrations a decision needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from wattkeeper.api.power_migration import FINISHED, RESERVING, PowerMigration
from wattkeeper.api.readings import Bools, Ints, MigrationKey, MigrationRows, ServiceKey, no_migrations
from wattkeeper.cluster.interface import View

_LATER_FIRST: Final[Mapping[str, int]] = {phase: -place for place, phase in enumerate(RESERVING)}
_PAST: Final = -len(RESERVING)


def migration_rows(view: View, row_of: Mapping[ServiceKey, int], budgets: Mapping[str, int]) -> MigrationRows:
    """Returns what has begun and is not over: of one service's the furthest first, then what has its watts, by age.

    Args:
        view: the cluster.
        row_of: the services' rows.
        budgets: the budgets' rows.
    """
    # One without a phase is not begun: nobody would finish it or take it back.
    begun = [one for one in view.all(PowerMigration).values() if one.status.phase and one.status.phase not in FINISHED]
    if not begun:
        return no_migrations()
    begun.sort(key=_order)
    said = [one.status.reservation for one in begun]

    def whole(values: list[int]) -> Ints:
        return np.array(values, dtype=np.int64)

    def flags(values: list[bool]) -> Bools:
        return np.array(values, dtype=np.bool_)

    return MigrationRows(
        keys=tuple(MigrationKey(one.metadata.namespace, one.metadata.name, one.metadata.uid) for one in begun),
        service=whole([row_of.get(_service(one), -1) for one in begun]),
        budget=whole([budgets.get(one.spec.budget, -1) for one in begun]),
        asks=flags([one.status.phase in RESERVING for one in begun]),
        reserved=flags([one is not None and one.state == "Reserved" for one in said]),
        replicas=whole([0 if one is None else one.replicas for one in said]),
    )


def _service(one: PowerMigration) -> ServiceKey:
    """Returns whose pod a migration moves."""
    target = one.spec.scale_target_ref
    return ServiceKey(one.metadata.namespace, target.kind, target.name)


def _order(one: PowerMigration) -> tuple[int, bool, str, str, str]:
    meta, said = one.metadata, one.status.reservation
    reserved = said is not None and said.state == "Reserved"
    further = _LATER_FIRST.get(one.status.phase, _PAST)
    return further, not reserved, meta.creation_timestamp, meta.namespace, meta.name
