"""Pods of gated services: where those that have left the gate may land, which slipped past it, and which roll."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from wattkeeper.api.readings import Bools, Ints, PodPhase
from wattkeeper.cluster.objects import PodSpec
from wattkeeper.recommender.nodes import NodeTable
from wattkeeper.recommender.pods import PodTable, requested
from wattkeeper.recommender.services import ServiceTable

# Steered pods differ in their affinity: this many sorts are remembered before all are worked out anew.
_MOST_SORTS = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class GatedPods:
    """P pods, S services. Attributes are those of wattkeeper.api.readings.PodRows, and of ServiceRows for `rolls`."""

    phase: Ints
    landing: Ints
    landings: Bools
    slipped: Bools
    rolls: Bools


def look_at_gates(
    pods: PodTable,
    services: ServiceTable,
    nodes: NodeTable,
    opened: Mapping[str, PodSpec],
    *,
    service: Ints,
    node: Ints,
) -> GatedPods:
    """Looks at the pods that stand at the gate or have left it.

    Args:
        pods: the table of P pods.
        services: the table of S services.
        nodes: the table of nodes.
        opened: by UID, pods whose gate is open by now, whatever the cache shows, and how they look since.
        service: int64[P], row of the service, -1 for unmanaged pods.
        node: int64[P], row of the node, -1 for none.
    """
    phase = pods.phase.copy()
    managed = service >= 0
    gated = np.zeros(len(pods), dtype=np.bool_)
    gated[managed] = services.gated[service[managed]]
    phase[(phase == PodPhase.GATED) & ~gated] = PodPhase.PENDING  # Nothing keeps it there: it is let out.
    out = pods.rows(opened)
    phase[out[phase[out] == PodPhase.GATED]] = PodPhase.PENDING
    # A pod on a node that the cache does not know (yet) still draws somewhere: charge it as one without a place.
    phase[(node < 0) & (phase != PodPhase.TERMINATING) & (phase != PodPhase.GATED)] = PodPhase.PENDING
    landing, sorts = _landings(pods, nodes, opened, gated & (phase == PodPhase.PENDING))
    living = np.flatnonzero(gated & (phase != PodPhase.TERMINATING))
    slipped = gated & (phase != PodPhase.TERMINATING) & (phase != PodPhase.GATED) & ~pods.admitted
    return GatedPods(
        phase=phase,
        landing=landing,
        landings=sorts,
        slipped=slipped,
        rolls=services.surges & _differ(service[living], pods.template_id[living], len(services.keys)),
    )


def _landings(pods: PodTable, nodes: NodeTable, opened: Mapping[str, PodSpec], waiting: Bools) -> tuple[Ints, Bools]:
    landing = np.full(len(pods), -1, dtype=np.int64)
    number: dict[bytes, int] = {}
    sorts: list[Bools] = []
    if waiting.any():
        for uid, spec in {**pods.without_node, **opened}.items():
            row = pods.row_by_uid.get(uid, -1)
            if row >= 0 and waiting[row]:
                allowed = _domains(nodes, spec)
                landing[row] = number.setdefault(allowed.tobytes(), len(number))
                if len(number) > len(sorts):
                    sorts.append(allowed)
    return landing, np.array(sorts, dtype=np.bool_).reshape(len(sorts), len(nodes.members))


def _domains(nodes: NodeTable, spec: PodSpec) -> Bools:
    """Returns bool[D]: domains with a node on which such a pod may land. Most pods ask the same of their node."""
    gpus, known = requested(spec)[0], nodes.landings
    sort = msgspec.json.encode((gpus, spec.node_selector, spec.affinity))
    if sort not in known:
        if len(known) >= _MOST_SORTS:
            known.clear()
        allowed = nodes.index.allows(spec) & (nodes.gpus >= gpus)
        known[sort] = np.asarray((nodes.members & allowed).any(axis=1), dtype=np.bool_)
    return known[sort]


def _differ(service: Ints, template: Ints, count: int) -> Bools:
    """Returns bool[count], services with pods of more than one template."""
    lowest, highest = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
    np.minimum.at(lowest, service, template)
    np.maximum.at(highest, service, template)
    return lowest < highest
