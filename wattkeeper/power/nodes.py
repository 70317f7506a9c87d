"""Nodes: where they stand on the ladder, what their GPUs may draw, and what they draw before any pod does.

One policy for idle watts: the idle draw of CPUs and GPUs is the node's, pods are charged what they draw on top (as
Kepler counts). So, per part (CPU, GPU), node = fixed draw + active watts of its pods, and a fixed draw is measured as

    node's watts - active watts of all its pods      where all of them are known and the node draws as much
    the source's own idle watts                      elsewhere

At the wall it is platform watts - loss factor * active watts. Two quantiles of these samples are tracked: the low one
is expected, the high one guarded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints, NodeRows, Rung
from wattkeeper.power import cleaning
from wattkeeper.power.catalogue import KindPriors, kind_priors
from wattkeeper.power.checkpoint import TableState
from wattkeeper.power.ladder import FROZEN_INTERVALS, advance, rung_of_age
from wattkeeper.power.memory import ColumnKind, Memory
from wattkeeper.power.meters import GPU, NODE, WALL
from wattkeeper.power.settings import ModelSettings
from wattkeeper.power.tracking import track

_LOW, _HIGH = 0.25, 0.95
_LEAST_ACTIVE_SHARE = 0.2
# An enforced limit above this many nameplates is a reading gone wrong.
_MOST_NAMEPLATES = 2.0
# Samples of a node and of its pods are not of the same instant, so pods may claim a little more than there is.
_MOST_CLAIMED = 1.1
# A machine's fans and board draw no more than this many times what they draw when it idles.
_MOST_BOARDS = 4.0
_PLATFORM = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeView:
    """N nodes as one tick sees them: cleaned readings, joined with what is remembered.

    Attributes:
        slots: int64[N], in the memory.
        kind, gpus: int64[N].
        watts: float64[3, N], CPU, GPU and platform; NaN unless fresh.
        idle_watts: float64[2, N], the source's own idle watts; NaN unless fresh.
        stamps: float64[3, N], time of the youngest sample of each, -inf where there never was one.
        sampled: bool[3, N], the memory did not have that sample yet.
        interval_seconds: float64[N].
        rung, streak: int64[N], on the ladder.
        enforced_watts: float64[N], the limit of one GPU as shown now or last; NaN where it never was.
        limit_watts: float64[N], what one GPU may draw: enforced where known, else nameplate.
        nameplate_watts: float64[N], of one GPU; at least the enforced limit.
        idle_gpu_watts: float64[N], of one GPU, expected.
        priors: of the node's kind.
    """

    slots: Ints
    kind: Ints
    gpus: Floats
    watts: Floats
    idle_watts: Floats
    stamps: Floats
    sampled: Bools
    interval_seconds: Floats
    rung: Ints
    streak: Ints
    enforced_watts: Floats
    limit_watts: Floats
    nameplate_watts: Floats
    idle_gpu_watts: Floats
    priors: KindPriors

    def active_limit_watts(self, limit_watts: Floats) -> Floats:
        """Returns what is left of a GPU's limit once its idle draw is charged to the node: float64[N]."""
        return np.maximum(limit_watts - self.idle_gpu_watts, _LEAST_ACTIVE_SHARE * limit_watts)


class NodeModel:
    """What is remembered of nodes, by name."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._memory: Memory[str] = Memory(
            {
                "rung": ColumnKind(float(Rung.ABSENT)),
                "streak": ColumnKind(0.0),
                "limit": ColumnKind(np.nan),
                "stamp": ColumnKind(-np.inf, (3,)),
                "low": ColumnKind(np.nan, (3,)),
                "high": ColumnKind(np.nan, (3,)),
                "spread": ColumnKind(np.nan, (3,)),
                "count": ColumnKind(0.0, (3,)),
                "peak": ColumnKind(0.0, (3,)),
            }
        )
        self._kind_names: tuple[str, ...] | None = None
        self._kind_priors = kind_priors(())

    def view(self, nodes: NodeRows, now: float) -> NodeView:
        """Cleans readings and joins them with the memory, which it leaves as it is (but for slots of new names)."""
        memory = self._memory
        slots = memory.slots(nodes.names, now)
        if nodes.kind_names is not self._kind_names:
            self._kind_names, self._kind_priors = nodes.kind_names, kind_priors(nodes.kind_names)
        priors = KindPriors(
            limit_watts=self._kind_priors.limit_watts[nodes.kind],
            idle_watts=self._kind_priors.idle_watts[nodes.kind],
            board_watts=self._kind_priors.board_watts[nodes.kind],
        )
        gpus = np.maximum(nodes.gpus, 0).astype(np.float64)
        interval = cleaning.intervals(nodes.interval_seconds)
        raw = cleaning.drawn(np.stack([nodes.cpu_watts, nodes.gpu_watts, nodes.platform_watts]))
        age = cleaning.ages(np.stack([nodes.cpu_age_seconds, nodes.gpu_age_seconds, nodes.platform_age_seconds]))
        old_stamps = cleaning.remembered(memory.get("stamp", slots), now)
        stamps = np.maximum(old_stamps, np.where(np.isfinite(raw), now - age, -np.inf))
        # Every node should show its CPUs, nodes with GPUs those too, and no node has to show its supplies.
        has_gpus = gpus > 0.0
        oldest = np.minimum(stamps[0], np.where(has_gpus, stamps[1], np.inf))
        previous = np.minimum(old_stamps[0], np.where(has_gpus, old_stamps[1], np.inf))
        rung, streak = advance(
            memory.get("rung", slots).astype(np.int64),
            memory.get("streak", slots).astype(np.int64),
            rung_of_age(now - oldest, interval),
            oldest > previous + cleaning.SAME_SAMPLE_SECONDS,
        )
        # A meter of the whole machine has a pace of its own, and only trims the model.
        patience = FROZEN_INTERVALS * interval
        oldest_age = np.stack([patience, patience, np.maximum(patience, self._settings.meter_stale_seconds)])
        is_fresh = np.isfinite(raw) & (age <= oldest_age)
        fresh = np.where(is_fresh, raw, np.nan)
        known = memory.get("limit", slots)
        shown = cleaning.drawn(nodes.gpu_limit_watts) / np.where(has_gpus, gpus, np.nan)
        believable = is_fresh[1] & (shown <= _MOST_NAMEPLATES * priors.limit_watts)
        enforced = np.where(believable, shown, known)
        nameplate = np.fmax(priors.limit_watts, enforced)
        limit = np.where(np.isfinite(enforced) & (rung < Rung.ABSENT), enforced, nameplate)
        most = self._most(gpus, nameplate, priors.board_watts)
        low = memory["low"][1, slots] / np.where(has_gpus, gpus, np.nan)
        idle = cleaning.watts(np.stack([nodes.cpu_idle_watts, nodes.gpu_idle_watts]))
        return NodeView(
            slots=slots,
            kind=nodes.kind,
            gpus=gpus,
            watts=np.minimum(fresh, most),
            idle_watts=np.where(is_fresh[:2], np.minimum(idle, most[:2]), np.nan),
            stamps=stamps,
            sampled=stamps > old_stamps + cleaning.SAME_SAMPLE_SECONDS,
            interval_seconds=interval,
            rung=rung,
            streak=streak,
            enforced_watts=enforced,
            limit_watts=limit,
            nameplate_watts=nameplate,
            idle_gpu_watts=np.where(np.isfinite(low), low, priors.idle_watts),
            priors=priors,
        )

    def _most(self, gpus: Floats, nameplate: Floats, board: Floats) -> Floats:
        cpu = np.full(len(gpus), self._settings.node_cpu_limit_watts)
        inside = cpu + gpus * (nameplate + _MOST_BOARDS * board) + _MOST_BOARDS * self._settings.board_base_watts
        return np.stack([cpu, gpus * nameplate, inside * self._settings.wall_loss_factor_upper])

    def learn(self, view: NodeView, pod_watts: Floats, pods_unknown: Bools) -> None:
        """Takes a tick in.

        Args:
            view: of this tick.
            pod_watts: float64[2, N], active CPU and GPU watts of all pods on each node.
            pods_unknown: bool[2, N], some pod on the node has no fresh reading of that part.
        """
        memory, slots = self._memory, view.slots
        gap = cleaning.gaps(view.stamps, memory.get("stamp", slots))
        memory.put("rung", slots, view.rung.astype(np.float64))
        memory.put("streak", slots, view.streak.astype(np.float64))
        memory.put("stamp", slots, view.stamps)
        memory.put("limit", slots, view.enforced_watts)

        # Pods that claim clearly more than their node draws: one of the two is wrong, and nobody knows which.
        at_odds = pod_watts > view.watts[:2] * _MOST_CLAIMED
        doubtful = pods_unknown | at_odds
        left = np.where(doubtful, np.nan, view.watts[:2] - pod_watts)
        inside = np.where(np.isfinite(left), np.maximum(left, 0.0), view.idle_watts)
        active = np.where(doubtful[0] | doubtful[1], np.nan, pod_watts[0] + pod_watts[1])
        wall = np.maximum(view.watts[_PLATFORM] - self._settings.wall_loss_factor * active, 0.0)
        sample = np.stack([*inside, wall])
        taught = view.sampled & np.isfinite(sample) & (view.rung == Rung.FRESH)
        part, at = np.nonzero(taught)
        if not len(at):
            return
        where, watts = (part, slots[at]), sample[part, at]
        count, low, high = memory["count"][where], memory["low"][where], memory["high"][where]
        spread = memory["spread"][where]
        memory["low"][where], memory["spread"][where] = track(low, spread, count, watts, _LOW)
        memory["high"][where], _ = track(high, spread, count, watts, _HIGH)
        memory["count"][where] = count + 1.0
        fade = np.exp2(-gap[part, at] / self._settings.peak_half_life_seconds)
        # The tracked quantile, not the sample: one spike is no history.
        memory["peak"][where] = np.maximum(memory["peak"][where] * fade, memory["high"][where])

    def fixed(self, view: NodeView) -> tuple[Floats, Floats]:
        """Returns fixed draws by meter, expected and upper: float64[3, N] each, all finite, expected <= upper."""
        settings, slots = self._settings, view.slots
        cpu_prior = np.full(len(slots), settings.cpu_idle_watts)
        prior = np.stack([cpu_prior, view.gpus * view.priors.idle_watts])
        expected, upper = self._blend(view, slice(0, 2), prior, prior * settings.fixed_margin)
        board = settings.board_base_watts + view.gpus * view.priors.board_watts
        wall_prior = (expected[0] + expected[1] + board) * settings.wall_loss_factor
        wall_upper_prior = (upper[0] + upper[1] + board * settings.fixed_margin) * settings.wall_loss_factor_upper
        wall, wall_upper = self._blend(view, slice(2, 3), wall_prior[np.newaxis], wall_upper_prior[np.newaxis])
        result, result_upper = np.empty((3, len(slots))), np.empty((3, len(slots)))
        for out, parts, outside in ((result, expected, wall[0]), (result_upper, upper, wall_upper[0])):
            out[NODE] = parts[0] + parts[1]
            out[GPU] = parts[1]
            # A platform reading below what its parts draw was taken from something else.
            out[WALL] = np.maximum(outside, out[NODE])
        return result, np.maximum(result, result_upper)

    def _blend(self, view: NodeView, parts: slice, prior: Floats, prior_upper: Floats) -> tuple[Floats, Floats]:
        memory, slots = self._memory, view.slots
        count, low, high, peak = (memory.get(name, slots)[parts] for name in ("count", "low", "high", "peak"))
        share = np.minimum(count / self._settings.fixed_samples, 1.0)
        expected = np.where(count > 0.0, low, prior)
        measured = np.where(count > 0.0, high, prior_upper)
        upper = np.maximum(measured, share * measured + (1.0 - share) * prior_upper)
        np.maximum(upper, peak, out=upper, where=view.rung >= Rung.TIGHTENED)
        np.maximum(upper, prior_upper, out=upper, where=view.rung >= Rung.ABSENT)
        return expected, np.maximum(expected, upper)

    def forget(self, now: float) -> None:
        """Forgets nodes that have been gone for long."""
        self._memory.forget(now - self._settings.node_memory_seconds)

    def dump(self) -> TableState:
        """Packs the memory."""
        return self._memory.dump(lambda name: (name,))

    def restore(self, state: TableState) -> None:
        """Takes in what `dump` packed; raises ModelStateError."""
        self._memory.restore(state, lambda parts: parts[0])
