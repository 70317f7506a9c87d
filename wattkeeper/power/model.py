"""The power model: readings in, charges out. It learns what nodes and replicas draw, and never trusts a gap."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints, NodeRows, PodPhase, Readings, Rung
from wattkeeper.power.catalogue import UNKNOWN_GPU, kind_priors
from wattkeeper.power.charges import Charges
from wattkeeper.power.checkpoint import VERSION, ModelState, decode, encode
from wattkeeper.power.errors import ModelStateError
from wattkeeper.power.ladder import domain_rung
from wattkeeper.power.meters import GPU, NODE, WALL, by_meter
from wattkeeper.power.nodes import NodeModel, NodeView
from wattkeeper.power.pods import PodModel, PodView, Samples
from wattkeeper.power.replicas import PodSamples, ReplicaModel, ReplicaView
from wattkeeper.power.residual import Domains, ResidualModel, meter_watts
from wattkeeper.power.settings import ModelSettings

_TABLES = {"nodes", "pods", "budgets", "services", "pairs"}
_FORGET_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _View:
    nodes: NodeView
    pods: PodView
    replicas: ReplicaView
    gpu_watts: Floats


class PowerModel:
    """Learns from readings and charges them.

    Idle watts are the node's, pods are charged what they draw on top, so that pods + fixed draw + unmanaged = node.
    `observe` learns from a tick; `charges` answers for any readings and changes nothing that it answers from, at no
    cost for those just observed. Values that mean nothing (NaN, infinite, negative, from the future) are unknown.
    """

    def __init__(self, settings: ModelSettings = ModelSettings()) -> None:  # noqa: B008 - frozen, so it may be shared
        self._settings = settings
        self._nodes = NodeModel(settings)
        self._pods = PodModel(settings)
        self._replicas = ReplicaModel(settings)
        self._residuals = ResidualModel(settings)
        self._time = 0.0
        self._forgotten = 0.0
        self._observed: tuple[Readings, float, Charges] | None = None

    def observe(self, readings: Readings, now: float) -> None:
        """Learns from a tick's readings.

        Args:
            readings: of this tick.
            now: Unix seconds.
        """
        view = self._view(readings, now)
        samples = self._pods.learn(view.pods)
        count = len(readings.nodes.names)
        unknown = np.isnan(view.pods.watts)
        drawn = _by_node(view.pods.node, np.where(unknown, 0.0, view.pods.watts), count)
        lacking = _by_node(view.pods.node, unknown & view.pods.placed, count) > 0.0
        self._nodes.learn(view.nodes, drawn, lacking)
        self._teach_replicas(readings, view, samples)
        # What was learned in this tick counts in this tick.
        view = self._view(readings, now, view.pods)
        charges, upper, expected_nodes = self._charge(readings, view, now)
        self._pods.hold(view.pods, upper)
        domains = Domains.of(readings.nodes.domains, len(readings.budgets.names))
        expected = domains.sums(expected_nodes, readings.budgets.meter)
        # A domain's own meter may go on while its nodes fall silent: what is expected then is no measure of it.
        watts, gpus = view.nodes.watts, view.nodes.gpus > 0.0
        silent = np.isnan(watts[0]) | (gpus & np.isnan(watts[1]))
        blind = np.where(silent, np.maximum(view.nodes.rung, Rung.FROZEN), view.nodes.rung)
        rung = domain_rung(blind, readings.nodes.domains, domains.count)
        self._residuals.learn(readings.budgets, charges.meter_watts, expected, rung, now)
        charges = replace(charges, residual_watts=self._residuals.watts(readings.budgets, now))
        self._observed = (readings, now, charges)
        self._time = now
        if now - self._forgotten > _FORGET_SECONDS:
            self._forgotten = now
            for part in (self._nodes, self._pods, self._replicas, self._residuals):
                part.forget(now)

    def charges(self, readings: Readings, now: float) -> Charges:
        """Returns what the cluster may draw, and is expected to, as these readings show it.

        Args:
            readings: usually the ones just observed.
            now: Unix seconds.
        """
        if self._observed is not None and self._observed[0] is readings and self._observed[1] == now:
            return self._observed[2]
        charges, _, _ = self._charge(readings, self._view(readings, now), now)
        return charges

    def _view(self, readings: Readings, now: float, seen: PodView | None = None) -> _View:
        """Joins readings with what was learned; `seen` is what these readings' pods looked like before."""
        nodes = self._nodes.view(readings.nodes, now)
        gpu_watts = _kind_gpu_watts(readings.nodes, nodes)
        return _View(
            nodes=nodes,
            pods=self._pods.limited(seen, nodes) if seen else self._pods.view(readings.pods, nodes, now),
            replicas=self._replicas.view(readings.services, readings.nodes.kind_names, gpu_watts, now),
            gpu_watts=gpu_watts,
        )

    def _teach_replicas(self, readings: Readings, view: _View, samples: Samples) -> None:
        pods = view.pods
        teaches = (
            pods.sampled
            & (pods.fresh[0] | pods.fresh[1])
            & (pods.service >= 0)
            & (readings.pods.phase == PodPhase.RUNNING)
            # A sample taken while the pod was still loading says nothing about a loaded one.
            & ~(pods.stamps < readings.pods.since)
        )
        rows = np.flatnonzero(teaches)
        self._replicas.learn(
            view.replicas,
            readings.services,
            readings.nodes.kind_names,
            PodSamples(
                service=pods.service[rows],
                kind=view.nodes.kind[pods.node[rows]],
                watts=pods.watts.take(rows, axis=1),
                sustained_watts=samples.sustained.take(rows, axis=1),
                seconds=samples.seconds[rows],
                stamps=pods.stamps[rows],
            ),
        )

    def _charge(self, readings: Readings, view: _View, now: float) -> tuple[Charges, Floats, Floats]:
        settings, pods, nodes = self._settings, view.pods, view.nodes
        count = len(readings.nodes.names)
        loss, loss_upper = settings.wall_loss_factor, settings.wall_loss_factor_upper
        node_expected, node_upper = self._nodes.fixed(nodes)
        bound = self._replicas.bounds(view.replicas)
        replica_expected = self._replicas.expected(view.replicas, bound)

        managed = pods.placed & (pods.service >= 0)
        kinds = len(readings.nodes.kind_names)
        none = len(readings.services.keys) * kinds
        cell = np.where(managed, pods.service * kinds + _kind_of_pods(nodes, pods), none)
        # Pods of a replica may request unequal shares of it: until they are measured, each counts at least its own.
        uneven = np.maximum(pods.request_watts - _per_pod(view.replicas.request_watts, cell), 0.0)
        upper = self._pods.upper(
            pods, _per_pod(bound, cell) + _per_pod(self._replicas.doubt(view.replicas), cell) * uneven
        )
        guess = np.where(managed, _per_pod(replica_expected, cell), upper)
        expected = np.minimum(np.where(pods.fresh, pods.watts, guess), upper)

        pod_upper, pod_expected = np.where(managed, upper, 0.0), np.where(managed, expected, 0.0)
        others = np.flatnonzero(pods.placed & (pods.service < 0))
        loose_upper = _by_node(pods.node[others], upper.take(others, axis=1), count)
        loose_expected = _by_node(pods.node[others], expected.take(others, axis=1), count)

        all_expected = _by_node(pods.node, pod_expected, count) + loose_expected
        expected_nodes = node_expected + by_meter(all_expected, loss)
        domains = Domains.of(readings.nodes.domains, len(readings.budgets.names))
        each = view.replicas.pods[:, np.newaxis]
        charges = Charges(
            node_upper_watts=node_upper,
            node_expected_watts=node_expected,
            unmanaged_upper_watts=by_meter(loose_upper, loss_upper),
            unmanaged_expected_watts=by_meter(loose_expected, loss),
            pending_unmanaged_watts=self._pending(readings, view),
            replica_upper_watts=by_meter(bound * each, loss_upper),
            replica_expected_watts=by_meter(replica_expected * each, loss),
            pod_upper_watts=by_meter(pod_upper, loss_upper),
            pod_expected_watts=by_meter(pod_expected, loss),
            residual_watts=self._residuals.watts(readings.budgets, now),
            meter_watts=meter_watts(
                readings.budgets, domains, _node_watts(nodes), expected_nodes, settings.meter_stale_seconds
            ),
            node_rung=nodes.rung,
        )
        return charges, upper, expected_nodes

    def _pending(self, readings: Readings, view: _View) -> Floats:
        waits = np.flatnonzero((readings.pods.service < 0) & (readings.pods.node < 0))
        # The kind of node it will land on is not known, so it is the hungriest.
        per_gpu = float(np.max(view.gpu_watts)) if len(view.gpu_watts) else UNKNOWN_GPU.limit_watts
        parts = np.stack([view.pods.request_watts[0, waits], view.pods.gpus[waits] * per_gpu])
        return by_meter(parts.sum(axis=1), self._settings.wall_loss_factor_upper)

    def dump(self) -> bytes:
        """Returns a checkpoint."""
        tables = {
            "nodes": self._nodes.dump(),
            "pods": self._pods.dump(),
            "budgets": self._residuals.dump(),
            **self._replicas.dump(),
        }
        reference = self._replicas.decay.reference_time
        return encode(ModelState(version=VERSION, time=self._time, reference_time=reference, tables=tables))

    @classmethod
    def load(cls, state: bytes, settings: ModelSettings = ModelSettings()) -> PowerModel:  # noqa: B008 - frozen
        """Reads a checkpoint.

        Raises:
            ModelStateError: it is damaged or of another version; a fresh model charges priors instead.
        """
        plain = decode(state)
        if set(plain.tables) != _TABLES:
            raise ModelStateError(f"the checkpoint has tables {sorted(plain.tables)}: start with a fresh model")
        model = cls(settings)
        model._replicas = ReplicaModel(settings, plain.reference_time)
        try:
            model._nodes.restore(plain.tables["nodes"])
            model._pods.restore(plain.tables["pods"])
            model._residuals.restore(plain.tables["budgets"])
            model._replicas.restore(plain.tables)
        except IndexError as error:
            raise ModelStateError("a name in the checkpoint lacks a part: start with a fresh model") from error
        model._time = model._forgotten = plain.time
        return model


def _by_node(node: Ints, values: Floats | Bools, count: int) -> Floats:
    """Returns float64[2, count]: float64[2, n] summed by each one's node (int64[n])."""
    # Pods that are on none count 0 W for the first one, which is there or not.
    sums = [np.bincount(node, weights=part, minlength=count)[:count] for part in values]
    return np.stack(sums).astype(np.float64, copy=False)


def _kind_of_pods(nodes: NodeView, pods: PodView) -> Ints:
    """Returns int64[P], the kind of each pod's node; anything for pods that are on none."""
    return nodes.kind[pods.node] if len(nodes.kind) else pods.node


def _per_pod(values: Floats, cell: Ints) -> Floats:
    """Returns float64[2, P] of float64[2, S, K] by service * K + kind; S * K yields 0."""
    return np.concatenate([values.reshape(2, -1), np.zeros((2, 1))], axis=1).take(cell, axis=1)


def _kind_gpu_watts(nodes: NodeRows, view: NodeView) -> Floats:
    # One GPU of a kind, on top of its idle draw: the most that any node of the kind allows.
    priors = kind_priors(nodes.kind_names)
    result = np.full(len(nodes.kind_names), -np.inf)
    has = view.gpus > 0.0
    np.maximum.at(result, view.kind[has], view.active_limit_watts(view.limit_watts)[has])
    return np.where(np.isfinite(result), result, priors.limit_watts - priors.idle_watts)


def _node_watts(view: NodeView) -> Floats:
    gpu = np.where(view.gpus > 0.0, view.watts[1], 0.0)
    result = np.empty((3, len(view.gpus)))
    result[WALL] = view.watts[2]
    result[NODE] = view.watts[0] + gpu
    result[GPU] = gpu
    return result
