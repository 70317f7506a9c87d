"""Pods: what each was last measured to draw, what it sustained, and what it was charged when that was last known.

Charges per part (CPU, GPU), upper bounds:

    managed     max(its service's bound on that kind of node, last measured)
    unmanaged   margin * max(last measured, highest sustained); what it requests where never measured
    not fresh   at least what it was charged when it was last fresh
    TIGHTENED   at least max(last, highest sustained, what its GPUs' enforced limits allow, its requested cores)
    ABSENT      at least what its GPUs' nameplates allow
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints, PodKey, PodRows, Rung
from wattkeeper.power import cleaning
from wattkeeper.power.checkpoint import TableState
from wattkeeper.power.ladder import FROZEN_INTERVALS, rung_of_age
from wattkeeper.power.memory import ColumnKind, Memory
from wattkeeper.power.nodes import NodeView
from wattkeeper.power.settings import ModelSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class PodView:
    """P pods as one tick sees them.

    Attributes:
        slots: int64[P], in the memory.
        node: int64[P], row of the node, 0 for pods that are on none.
        placed: bool[P], on a node, with or without containers that run.
        service: int64[P], -1 for unmanaged ones.
        shown_watts: float64[2, P], active CPU and GPU watts as a young reading shows them; NaN unknown.
        watts: float64[2, P], the same, clamped to what is possible.
        fresh: bool[2, P], the reading is there and young, and its node stands on FRESH.
        stamps: float64[P], time of the youngest sample, -inf where there never was one.
        sampled: bool[P], the memory did not have that sample yet.
        rung: int64[P], the worse of its node's and what its own age gives once it has been measured.
        interval_seconds: float64[P].
        gpus: float64[P], requested.
        request_watts: float64[2, P], what its requests allow under enforced limits.
        nameplate_watts: float64[2, P], the same under nameplates.
    """

    slots: Ints
    node: Ints
    placed: Bools
    service: Ints
    shown_watts: Floats
    watts: Floats
    fresh: Bools
    stamps: Floats
    sampled: Bools
    rung: Ints
    interval_seconds: Floats
    gpus: Floats
    request_watts: Floats
    nameplate_watts: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """What new samples say of P pods.

    Attributes:
        sustained: float64[2, P], the lower of the last two in a row; NaN without two.
        seconds: float64[P], how long each sample stands for.
    """

    sustained: Floats
    seconds: Floats


class PodModel:
    """What is remembered of pods, by key."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._memory: Memory[PodKey] = Memory(
            {
                "stamp": ColumnKind(-np.inf),
                "last": ColumnKind(np.nan, (2,)),
                "peak": ColumnKind(0.0, (2,)),
                "held": ColumnKind(0.0, (2,)),
            }
        )

    def view(self, pods: PodRows, nodes: NodeView, now: float) -> PodView:
        """Cleans readings and joins them with the memory, which it leaves as it is (but for slots of new keys)."""
        settings, count = self._settings, len(pods.keys)
        slots = self._memory.slots(pods.keys, now)
        node = np.maximum(pods.node, 0)
        placed = pods.node >= 0
        if len(nodes.slots):
            interval, rung = nodes.interval_seconds[node], nodes.rung[node]
        else:
            interval, rung = np.ones(count), np.full(count, int(Rung.ABSENT))
        gpus, cores = cleaning.amounts(pods.gpus), cleaning.amounts(pods.cpu_cores)
        cpu_request = np.maximum(cores, settings.least_cpu_cores) * settings.cpu_watts_per_core
        shown = cleaning.watts(np.stack([pods.cpu_watts, pods.gpu_watts]))
        # Series of GPU watts exist where there are GPUs: their absence from a pod without any is a 0.
        shown[1, np.isnan(shown[1]) & np.isfinite(shown[0]) & (gpus == 0.0)] = 0.0
        age = cleaning.ages(pods.age_seconds)
        old_stamps = cleaning.remembered(self._memory.get("stamp", slots), now)
        known = placed & (np.isfinite(shown[0]) | np.isfinite(shown[1]))
        stamps = np.maximum(old_stamps, np.where(known, now - age, -np.inf))
        own_rung = np.where(np.isfinite(stamps), rung_of_age(now - stamps, interval), np.int64(Rung.FRESH))
        young = placed & (age <= FROZEN_INTERVALS * interval)
        shown[:, ~young] = np.nan
        view = PodView(
            slots=slots,
            node=node,
            placed=placed,
            service=pods.service,
            shown_watts=shown,
            watts=shown,
            fresh=np.isfinite(shown) & (rung == Rung.FRESH),
            stamps=stamps,
            sampled=young & (stamps > old_stamps + cleaning.SAME_SAMPLE_SECONDS),
            rung=np.maximum(rung, own_rung),
            interval_seconds=interval,
            gpus=gpus,
            request_watts=np.stack([cpu_request, np.zeros(count)]),
            nameplate_watts=np.stack([cpu_request, np.zeros(count)]),
        )
        return self.limited(view, nodes)

    def limited(self, view: PodView, nodes: NodeView) -> PodView:
        """Returns a view under the limits that nodes have now, after more was learned of what they draw idle."""
        cpu_request, gpus, node = view.request_watts[0], view.gpus, view.node
        if len(nodes.slots):
            per_gpu = nodes.active_limit_watts(nodes.limit_watts)
            request = gpus * per_gpu[node]
            nameplate = gpus * nodes.active_limit_watts(nodes.nameplate_watts)[node]
            # A pod that draws on GPUs without a request for them shares them: any of the node's may be its.
            most_gpu = np.where(gpus > 0.0, request, (nodes.gpus * per_gpu)[node])
        else:
            request = nameplate = most_gpu = np.zeros(len(gpus))
        most_cpu = np.full(len(gpus), self._settings.node_cpu_limit_watts)
        return replace(
            view,
            watts=np.minimum(view.shown_watts, np.stack([most_cpu, most_gpu])),
            request_watts=np.stack([cpu_request, request]),
            nameplate_watts=np.stack([cpu_request, nameplate]),
        )

    def learn(self, view: PodView) -> Samples:
        """Takes new samples in and says what they tell."""
        memory, slots = self._memory, view.slots
        old, last, peak = memory.get("stamp", slots), memory.get("last", slots), memory.get("peak", slots)
        gap = cleaning.gaps(view.stamps, old)
        in_a_row = view.sampled & (gap <= FROZEN_INTERVALS * view.interval_seconds)
        sustained = np.where(in_a_row, np.minimum(view.watts, last), np.nan)
        fade = np.exp2(-gap / self._settings.peak_half_life_seconds)
        kept = np.where(view.sampled, peak * fade, peak)
        memory.put("peak", slots, np.fmax(kept, sustained))
        memory.put("last", slots, np.where(view.sampled & np.isfinite(view.watts), view.watts, last))
        memory.put("stamp", slots, view.stamps)
        return Samples(sustained=sustained, seconds=np.minimum(gap, view.interval_seconds))

    def upper(self, view: PodView, bound_watts: Floats) -> Floats:
        """Returns what each pod on a node may draw: float64[2, P], finite, 0 for pods on none.

        Args:
            view: of this tick.
            bound_watts: float64[2, P], bounds of the pods' services; 0 for unmanaged ones.
        """
        memory, slots = self._memory, view.slots
        remembered, peak, held = (memory.get(name, slots) for name in ("last", "peak", "held"))
        last = np.fmax(np.where(np.isfinite(view.watts), view.watts, remembered), 0.0)
        never = np.isnan(remembered) & np.isnan(view.watts)
        loose = np.where(never, view.request_watts, np.maximum(last, peak) * self._settings.unmanaged_margin)
        upper = np.maximum(np.where(view.service >= 0, bound_watts, loose), last)
        np.maximum(upper, held, out=upper, where=~view.fresh)
        late, lost = view.rung >= Rung.TIGHTENED, view.rung >= Rung.ABSENT
        np.maximum(upper, np.maximum(peak, view.request_watts), out=upper, where=late)
        np.maximum(upper, view.nameplate_watts, out=upper, where=lost)
        return np.where(view.placed, upper, 0.0)

    def hold(self, view: PodView, upper_watts: Floats) -> None:
        """Remembers what pods are charged: while their readings are not fresh, they are charged no less."""
        self._memory.put("held", view.slots, upper_watts)

    def forget(self, now: float) -> None:
        """Forgets pods that are gone."""
        self._memory.forget(now - self._settings.pod_memory_seconds)

    def dump(self) -> TableState:
        """Packs the memory."""
        return self._memory.dump(lambda key: (key.namespace, key.name))

    def restore(self, state: TableState) -> None:
        """Takes in what `dump` packed; raises ModelStateError."""
        self._memory.restore(state, lambda parts: PodKey(parts[0], parts[1]))
