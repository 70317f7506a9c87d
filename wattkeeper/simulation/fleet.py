"""The pods that run, as columns, so that a second of all of them is a few array operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints, PodKey, ServiceKey
from wattkeeper.recommender.pods import service_of
from wattkeeper.simulation.kubelet import RunningPod, Stage
from wattkeeper.simulation.models import ModelProfile


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetRows:
    """P pods whose containers run.

    Attributes:
        uids, keys: names.
        node, service: int64[P], rows.
        loading, serving: bool[P]; those that are neither drain.
        gpus: float64[P].
        peak, half, fixed, span, knee, max_batch: float64[P], the models' coefficients.
    """

    uids: tuple[str, ...]
    keys: tuple[PodKey, ...]
    node: Ints
    service: Ints
    loading: Bools
    serving: Bools
    gpus: Floats
    peak: Floats
    half: Floats
    fixed: Floats
    span: Floats
    knee: Floats
    max_batch: Floats


class GpuSlots:
    """Which GPUs of its node a pod holds, from its start to its end."""

    def __init__(self, gpus_by_node: Mapping[str, int]) -> None:
        self._free = {name: set(range(count)) for name, count in gpus_by_node.items()}
        self._held: dict[str, tuple[str, tuple[int, ...]]] = {}

    def take(self, uid: str, node: str, count: int) -> tuple[int, ...]:
        """Returns a pod's GPUs, the lowest free ones when it is new."""
        if uid not in self._held:
            slots = tuple(sorted(self._free[node])[:count])
            self._free[node].difference_update(slots)
            self._held[uid] = (node, slots)
        return self._held[uid][1]

    def keep_only(self, uids: set[str]) -> None:
        """Frees what pods held that are gone."""
        for uid in [uid for uid in self._held if uid not in uids]:
            node, slots = self._held.pop(uid)
            self._free[node].update(slots)


def fleet_rows(
    running: Sequence[RunningPod],
    node_row: Mapping[str, int],
    service_row: Mapping[ServiceKey, int],
    models: Sequence[ModelProfile],
) -> FleetRows:
    """Builds the columns. Pods of no known service are left out: they draw what the nodes' fixed draw says."""
    known: list[tuple[RunningPod, int]] = []
    for one in running:
        key = service_of(one.pod)
        if key is not None and key in service_row:
            known.append((one, service_row[key]))
    profiles = [models[row] for _, row in known]
    stages = [one.stage for one, _ in known]

    def real(values: list[float]) -> Floats:
        return np.array(values, dtype=np.float64)

    return FleetRows(
        uids=tuple(one.pod.metadata.uid for one, _ in known),
        keys=tuple(PodKey(one.pod.metadata.namespace, one.pod.metadata.name) for one, _ in known),
        node=np.array([node_row[one.pod.spec.node_name] for one, _ in known], dtype=np.int64),
        service=np.array([row for _, row in known], dtype=np.int64),
        loading=np.array([stage is Stage.LOADING for stage in stages], dtype=np.bool_),
        serving=np.array([stage is Stage.SERVING for stage in stages], dtype=np.bool_),
        gpus=real([float(model.gpus) for model in profiles]),
        peak=real([model.peak_tokens_per_second for model in profiles]),
        half=real([model.half_batch for model in profiles]),
        fixed=real([model.fixed_watts for model in profiles]),
        span=real([model.span_watts for model in profiles]),
        knee=real([model.knee_batch for model in profiles]),
        max_batch=real([model.max_batch for model in profiles]),
    )
