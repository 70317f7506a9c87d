"""What one replica of a service draws on a kind of node: from a prior towards what is measured.

Per (service, kind) and part (CPU, GPU), per pod of a replica:

    prior   GPU: requested GPUs * (enforced limit, else nameplate, - idle draw, which is the node's)
            CPU: requested cores * watts per core
            plus what the policy's own watts per replica exceed these by: it can raise the prior, never lower it
    target  c * margin * percentile(what its Ready pods drew) + (1 - c) * prior
    bound   rises to the target at once, and to what a pod has sustained above it; falls towards it slowly

c is the confidence: the least of samples, time watched and load seen, each over what settings ask for. The load counts
because a replica that was only seen at night says nothing about the day.

A sample above bound / margin counts only as far as the pod's previous one confirms it, so one spike moves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wattkeeper.api.readings import Floats, Ints, ServiceKey, ServiceRows
from wattkeeper.power import cleaning
from wattkeeper.power.checkpoint import TableState
from wattkeeper.power.histogram import BUCKETS, Decay, bucket_of, percentiles
from wattkeeper.power.loadfit import FIT_COLUMNS, LoadFit
from wattkeeper.power.memory import ColumnKind, Memory
from wattkeeper.power.meters import CPU_PART, GPU_PART
from wattkeeper.power.settings import ModelSettings

PairKey = tuple[ServiceKey, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaView:
    """S services on K kinds of node as one tick sees them.

    Attributes:
        pair: int64[S, K], slot of each pair that has been measured, -1 for others.
        pods: float64[S], pods of a replica.
        limit_watts: float64[2, S, K], per pod, what its requests allow; inf where they say nothing.
        request_watts: float64[2, S, K], per pod, what its requests alone let expect at most.
        prior_watts: float64[2, S, K], per pod: request_watts, raised by what the policy states.
        load: float64[S], NaN unknown.
        shape: float64[3, S], what a replica requests: GPUs, cores, pods.
    """

    pair: Ints
    pods: Floats
    limit_watts: Floats
    request_watts: Floats
    prior_watts: Floats
    load: Floats
    shape: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class PodSamples:
    """n new samples of Ready, managed pods.

    Attributes:
        service, kind: int64[n], rows.
        watts, sustained_watts: float64[2, n].
        seconds, stamps: float64[n].
    """

    service: Ints
    kind: Ints
    watts: Floats
    sustained_watts: Floats
    seconds: Floats
    stamps: Floats


class ReplicaModel:
    """What is remembered of services, and of pairs of a service and a kind of node, by name."""

    def __init__(self, settings: ModelSettings, reference_time: float = 0.0) -> None:
        self._settings = settings
        self.decay = Decay(settings.half_life_seconds, reference_time)
        self._services: Memory[ServiceKey] = Memory({"shape": ColumnKind(np.nan, (3,))})
        self._kinds: Memory[str] = Memory({})
        self._pairs: Memory[PairKey] = Memory(
            {
                "bound": ColumnKind(0.0, (2,)),
                "high": ColumnKind(np.nan, (2,)),
                "samples": ColumnKind(0.0, (2,)),
                "first": ColumnKind(np.inf),
                "latest": ColumnKind(-np.inf),
                "load_seen": ColumnKind(0.0),
                "weights": ColumnKind(0.0, (2, BUCKETS)),
                **{name: ColumnKind(0.0, (2,)) for name in FIT_COLUMNS},
            }
        )
        self._pair_of: Ints = np.full((0, 0), -1, dtype=np.int64)
        # By part, the buckets that hold anything in any histogram: a few of all there are.
        self._filled = [range(0), range(0)]

    def view(self, services: ServiceRows, kind_names: tuple[str, ...], gpu_watts: Floats, now: float) -> ReplicaView:
        """Joins services with the memory, which it leaves as it is (but for slots of new names).

        Args:
            services: S rows.
            kind_names: K names.
            gpu_watts: float64[K], what one GPU of each kind may draw on top of its idle draw.
            now: Unix seconds.
        """
        rows, kinds = self._services.slots(services.keys, now), self._kinds.slots(kind_names, now)
        self._widen()
        pods = np.maximum(services.pods_per_replica, 1).astype(np.float64)
        gpus, cores = cleaning.amounts(services.gpus), cleaning.amounts(services.cpu_cores)
        shape = (len(rows), len(kinds))
        request = np.empty((2, *shape))
        cpu = np.maximum(cores, self._settings.least_cpu_cores * pods) * self._settings.cpu_watts_per_core
        request[0] = cpu[:, None]
        request[1] = gpus[:, None] * gpu_watts
        stated = np.minimum(cleaning.amounts(services.prior_watts), 1e6)
        excess = np.maximum(stated[:, None] - (request[0] + request[1]), 0.0)
        prior = request.copy()
        on_gpus = (gpus > 0.0)[:, None]
        prior[1] += np.where(on_gpus, excess, 0.0)
        prior[0] += np.where(on_gpus, 0.0, excess)
        # A pod may burst beyond the cores it requests, and GPUs can be shared without a request.
        limit = np.empty((2, *shape))
        limit[0] = self._settings.node_cpu_limit_watts * pods[:, None]
        limit[1] = np.where(on_gpus, request[1], np.inf)
        return ReplicaView(
            pair=self._pair_of[rows[:, None], kinds[None, :]],
            pods=pods,
            limit_watts=limit / pods[:, None],
            request_watts=request / pods[:, None],
            prior_watts=prior / pods[:, None],
            load=cleaning.loads(services.load),
            shape=np.stack([gpus, cores, pods]),
        )

    def _widen(self) -> None:
        needed = (self._services.capacity, self._kinds.capacity)
        have = self._pair_of.shape
        if have != needed:
            wider = np.full(needed, -1, dtype=np.int64)
            wider[: have[0], : have[1]] = self._pair_of
            self._pair_of = wider

    def bounds(self, view: ReplicaView) -> Floats:
        """Returns upper bounds per pod: float64[2, S, K], finite."""
        return np.where(view.pair >= 0, self._bound_or_target(view), view.prior_watts)

    def _bound_or_target(self, view: ReplicaView) -> Floats:
        if not len(self._pairs):
            return view.prior_watts
        pair = np.maximum(view.pair, 0)
        bound = np.minimum(self._pairs.get("bound", pair), np.maximum(view.limit_watts, view.prior_watts))
        return np.maximum(bound, self._target(pair, view.limit_watts, view.prior_watts))

    def _target(self, pair: Ints, limit_watts: Floats, prior_watts: Floats) -> Floats:
        high, confidence = self._pairs.get("high", pair), self._confidence(pair)
        measured = np.minimum(np.where(np.isfinite(high), high, 0.0) * self._settings.margin, limit_watts)
        return confidence * measured + (1.0 - confidence) * prior_watts

    def doubt(self, view: ReplicaView) -> Floats:
        """Returns how much the prior still counts: float64[2, S, K], 1 where nothing was measured."""
        if not len(self._pairs):
            return np.ones_like(view.prior_watts)
        return np.where(view.pair >= 0, 1.0 - self._confidence(np.maximum(view.pair, 0)), 1.0)

    def _confidence(self, pair: Ints) -> Floats:
        settings, memory = self._settings, self._pairs
        samples = memory.get("samples", pair) / settings.confident_samples
        load = memory.get("load_seen", pair)
        watched = np.maximum(memory.get("latest", pair) - np.minimum(memory.get("first", pair), 1e18), 0.0)
        blind = load <= 0.0
        patience = np.where(blind, settings.confident_blind_seconds, settings.confident_seconds)
        seen = np.where(blind, 1.0, load / settings.confident_load)
        confidence = np.minimum(samples, np.minimum(watched / patience, seen))
        return np.where(np.isfinite(memory.get("high", pair)), np.clip(confidence, 0.0, 1.0), 0.0)

    def expected(self, view: ReplicaView, upper_watts: Floats) -> Floats:
        """Returns expected watts per pod at the load now measured: float64[2, S, K], at most upper_watts."""
        settings = self._settings
        busy = np.where(np.isfinite(view.load), np.clip(view.load, 0.0, 1.0), 1.0)
        share = settings.idle_share + (1.0 - settings.idle_share) * busy
        prior = upper_watts * share[:, None]
        if not len(self._pairs):
            return prior
        fit = self._fit(np.maximum(view.pair, 0))
        measured = (view.pair >= 0) & (fit.count > 0.0)
        return np.minimum(np.where(measured, fit.watts(view.load[:, None]), prior), upper_watts)

    def _fit(self, pair: Ints) -> LoadFit:
        columns = [self._pairs.get(name, pair) for name in FIT_COLUMNS]
        return LoadFit(
            count=columns[0],
            mean_load=columns[1],
            mean_watts=columns[2],
            load_variance=columns[3],
            covariance=columns[4],
            residual=columns[5],
        )

    def learn(self, view: ReplicaView, services: ServiceRows, kind_names: tuple[str, ...], new: PodSamples) -> None:
        """Takes new samples in."""
        self._reshape(view)
        if not len(new.service):
            return
        view = self._with_pairs(view, services, kind_names, new)
        pairs, settings = self._pairs, self._settings
        kinds = view.pair.shape[1]
        cell = new.service * kinds + new.kind
        pair = view.pair.ravel()[cell]
        bound = pairs.get("bound", pair)
        above = new.sustained_watts > bound
        counted = np.where(new.watts <= bound / settings.margin, new.watts, new.sustained_watts)

        # Pairs that have samples, numbered without gaps, so that the sums below are as short as can be.
        has_samples = np.bincount(cell, minlength=view.pair.size) > 0
        cells = np.flatnonzero(has_samples)
        touched = view.pair.ravel()[cells]
        number = (np.cumsum(has_samples) - 1)[cell]
        count = len(cells)
        latest = pairs.get("latest", touched)

        scale = self.decay.shift(float(new.stamps.max()))
        if scale != 1.0:
            pairs["weights"][...] *= scale
        weight = new.seconds * self.decay.factor(new.stamps)
        samples, mean = pairs.get("samples", touched), np.full((2, count), np.nan)
        for part in (CPU_PART, GPU_PART):
            known = np.flatnonzero(np.isfinite(counted[part]))
            of, watts = number[known], counted[part, known]
            pairs["high"][part, touched] = self._weigh(part, touched, of, watts, weight[known])
            new_samples = np.bincount(of, minlength=count).astype(np.float64)
            samples[part] += new_samples
            total = np.bincount(of, weights=watts, minlength=count)
            mean[part] = np.where(new_samples > 0.0, total / np.maximum(new_samples, 1.0), np.nan)
        pairs.put("samples", touched, samples)
        newest, oldest = np.full(count, -np.inf), np.full(count, np.inf)
        np.maximum.at(newest, number, new.stamps)
        np.minimum.at(oldest, number, new.stamps)
        pairs.put("latest", touched, np.maximum(latest, newest))
        pairs.put("first", touched, np.minimum(pairs.get("first", touched), oldest))
        load = view.load[cells // kinds]
        pairs.put("load_seen", touched, np.fmax(pairs.get("load_seen", touched), load))
        fit = self._fit(touched).taught(load, mean, settings.fit_samples)
        for name, values in zip(
            FIT_COLUMNS,
            (fit.count, fit.mean_load, fit.mean_watts, fit.load_variance, fit.covariance, fit.residual),
            strict=True,
        ):
            pairs.put(name, touched, values)

        self._move(view, cells, touched, np.where(np.isfinite(latest), newest - latest, 0.0))
        part, at = np.nonzero(above)
        limit = _cells(view.limit_watts)[part, cell[at]]
        np.maximum.at(pairs["bound"], (part, pair[at]), np.minimum(new.sustained_watts[part, at], limit))

    def _weigh(self, part: int, touched: Ints, number: Ints, watts: Floats, weight: Floats) -> Floats:
        """Adds samples to histograms, and returns the percentile of each.

        Args:
            part: CPU_PART or GPU_PART.
            touched: int64[T], slots of pairs.
            number: int64[n], place in `touched` of each sample's pair.
            watts: float64[n].
            weight: float64[n].
        """
        bucket = bucket_of(watts)
        filled = self._filled[part] = _widened(self._filled[part], bucket)
        if not filled:
            return np.full(len(touched), np.nan)
        count = len(touched)
        flat = (bucket - filled.start) * count + number
        added = np.bincount(flat, weights=weight, minlength=len(filled) * count)
        kept = self._pairs["weights"][part, filled.start : filled.stop]
        weights = kept.take(touched, axis=1) + added.reshape(len(filled), count)
        for row, new in zip(kept, weights, strict=True):
            row[touched] = new
        return percentiles(weights, self._settings.percentile, filled.start)

    def _move(self, view: ReplicaView, cells: Ints, touched: Ints, seconds: Floats) -> None:
        limit, prior = _cells(view.limit_watts).take(cells, axis=1), _cells(view.prior_watts).take(cells, axis=1)
        target = self._target(touched, limit, prior)
        bound = self._pairs.get("bound", touched)
        kept = np.exp2(-np.maximum(seconds, 0.0) / self._settings.lowering_half_life_seconds)
        self._pairs.put("bound", touched, np.maximum(target, target + (bound - target) * kept))

    def _with_pairs(
        self, view: ReplicaView, services: ServiceRows, kind_names: tuple[str, ...], new: PodSamples
    ) -> ReplicaView:
        missing = view.pair[new.service, new.kind] < 0
        if not missing.any():
            return view
        pair = view.pair.copy()
        codes: Ints = np.unique(new.service[missing] * len(kind_names) + new.kind[missing])
        for code in codes:
            service, kind = divmod(int(code), len(kind_names))
            slot = self._pairs.add((services.keys[service], kind_names[kind]))
            pair[service, kind] = slot
            self._pairs["bound"][:, slot] = view.prior_watts[:, service, kind]
            at = (self._services.slot(services.keys[service]), self._kinds.slot(kind_names[kind]))
            self._pair_of[at] = slot
        return replace(view, pair=pair)

    def _reshape(self, view: ReplicaView) -> None:
        # A service whose pods request something else now is another service as far as its watts go; what it was
        # charged stays until it has been measured again.
        slots = self._services.last_slots
        old = self._services.get("shape", slots)
        changed = np.isfinite(old[0]) & np.logical_or.reduce(old != view.shape, axis=0)
        pair = view.pair[changed]
        known = pair[pair >= 0]
        if len(known):
            bound = self._pairs.get("bound", known)
            self._pairs.reset(known)
            self._pairs.put("bound", known, bound)
        self._services.put("shape", slots, view.shape)

    def forget(self, now: float) -> None:
        """Forgets services that have been gone for long, and what was measured of them."""
        gone = set(self._services.forget(now - self._settings.service_memory_seconds))
        if gone:
            dropped = [(key, slot) for key, slot in self._pairs.items() if key[0] in gone]
            slots = np.array([slot for _, slot in dropped], dtype=np.int64)
            self._pair_of[np.isin(self._pair_of, slots)] = -1
            for key, _ in dropped:
                self._pairs.drop(key)

    def dump(self) -> dict[str, TableState]:
        """Packs the memory."""
        return {
            "services": self._services.dump(tuple),
            "pairs": self._pairs.dump(lambda key: (*key[0], key[1])),
        }

    def restore(self, tables: dict[str, TableState]) -> None:
        """Takes in what `dump` packed; raises ModelStateError."""
        self._services.restore(tables["services"], lambda parts: ServiceKey(parts[0], parts[1], parts[2]))
        self._pairs.restore(tables["pairs"], lambda parts: (ServiceKey(parts[0], parts[1], parts[2]), parts[3]))
        placed = [
            (self._services.find_or_add(key[0]), self._kinds.find_or_add(key[1]), slot)
            for key, slot in self._pairs.items()
        ]
        self._widen()
        for service, kind, slot in placed:
            self._pair_of[service, kind] = slot
        for part, weights in enumerate(self._pairs["weights"]):
            self._filled[part] = _widened(range(0), np.flatnonzero(weights.any(axis=1)))


def _widened(filled: range, buckets: Ints) -> range:
    """Returns the range that holds all of `buckets` (int64[n]) as well."""
    if not len(buckets):
        return filled
    found = range(int(buckets.min()), int(buckets.max()) + 1)
    return range(min(filled.start, found.start), max(filled.stop, found.stop)) if filled else found


def _cells(values: Floats) -> Floats:
    """Returns float64[2, S * K] of float64[2, S, K]: by service * K + kind."""
    return values.reshape(2, -1)
