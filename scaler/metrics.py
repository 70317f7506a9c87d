"""What Prometheus sees of this room. Watts and grants are taken from the last decision when they are asked for."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from wattkeeper.recommender.result import StepResult
from wattkeeper.recommender.violation_log import TYPES

# A call is answered in well under a millisecond; KEDA's own patience is seconds.
_CALL_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 1.0)
_GATE_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_TICK_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class PlanCollector(Collector):
    """Yields the numbers of the last decision; nothing where this replica has made none."""

    def __init__(self) -> None:
        self.result: StepResult | None = None

    def collect(self) -> Iterator[Metric]:
        """Yields one family per number."""
        if self.result is not None:
            yield from _budget_families(self.result)
            yield from _service_families(self.result)
            yield _violating_pods(self.result)
            yield GaugeMetricFamily(
                "wattkeeper_movable_pods",
                "Pods that could move away from a budget that is nearly used up.",
                value=sum(map(len, self.result.movable_pods.values())),
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Family:
    name: str
    help: str
    values: list[float]

    def filled(self, labels: list[str], rows: list[list[str]]) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"wattkeeper_{self.name}", self.help, labels=labels)
        for row, value in zip(rows, self.values, strict=True):
            family.add_metric(row, value)
        return family


def _budget_families(result: StepResult) -> Iterator[Metric]:
    budgets = result.budgets
    rows = [[name] for name in result.plan.domains]
    families = (
        _Family(name="budget_limit_watts", help="The budget's limit.", values=budgets.limit_watts.tolist()),
        _Family(
            name="budget_guarded_watts",
            help="What everything in the domain may draw at its upper bound.",
            values=budgets.guarded_watts.tolist(),
        ),
        _Family(
            name="budget_expected_watts",
            help="What the domain is expected to draw.",
            values=budgets.expected_watts.tolist(),
        ),
        _Family(
            name="budget_meter_watts",
            help="What the domain was measured to draw; NaN while unknown.",
            values=budgets.meter_watts.tolist(),
        ),
        _Family(
            name="budget_residual_watts",
            help="Draw that the model cannot explain.",
            values=budgets.residual_watts.tolist(),
        ),
        _Family(
            name="budget_over_watts",
            help="By how much the guarded sum is above the limit.",
            values=budgets.over_watts.tolist(),
        ),
        _Family(
            name="budget_rung",
            help="The domain's fail-safe rung: 0 fresh, 1 frozen, 2 tightened, 3 absent.",
            values=budgets.rung.tolist(),
        ),
        _Family(name="budget_nodes", help="Nodes in the domain.", values=budgets.nodes.tolist()),
    )
    for family in families:
        yield family.filled(["budget"], rows)


def _service_families(result: StepResult) -> Iterator[Metric]:
    services = result.services
    rows = [list(key) for key in services.keys]
    demand = [float("nan") if value < 0 else float(value) for value in services.demand.tolist()]
    families = (
        _Family(
            name="service_grant_replicas",
            help="Replicas that the service may run (advice in modes Off and Initial).",
            values=result.plan.grants.tolist(),
        ),
        _Family(
            name="service_demand_replicas",
            help="Replicas that the traffic asks for; NaN while unknown.",
            values=demand,
        ),
        _Family(
            name="service_active_replicas",
            help="Replicas that exist and are not terminating.",
            values=services.active.tolist(),
        ),
        _Family(
            name="service_replica_watts",
            help="What one replica may draw at most.",
            values=services.replica_watts.tolist(),
        ),
        _Family(
            name="service_waiting_replicas",
            help="Replicas that stood at the power gate when the decision was made.",
            values=result.gate.waiting.tolist(),
        ),
        _Family(
            name="service_slipped_pods",
            help="Pods of a gated service that started without passing the admission plugin.",
            values=result.gate.slipped.tolist(),
        ),
    )
    for family in families:
        # `namespace` alone would clash with the scraped pod's own label.
        yield family.filled(["service_namespace", "service_kind", "service"], rows)


def _violating_pods(result: StepResult) -> Metric:
    """A pod counts once for each type that it violates, at most ten of a service and type, or of a budget."""
    pods = {(one.type, pod.uid) for of in result.service_violations.values() for one in of for pod in one.pods}
    counts = Counts(type_ for type_, _ in pods)
    family = GaugeMetricFamily(
        "wattkeeper_violating_pods", "Pods that are named in violations of a type.", labels=["type"]
    )
    for type_ in TYPES:
        family.add_metric([type_], counts[type_])
    return family


class ScalerMetrics:
    """One set of metrics per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.plan = PlanCollector()
        registry.register(self.plan)
        self.calls = Counter(
            "wattkeeper_rpc_calls", "Calls of KEDA, by method and gRPC status.", ["method", "code"], registry=registry
        )
        self.call_seconds = Histogram(
            "wattkeeper_rpc_seconds",
            "How long an answer took to compute.",
            ["method"],
            buckets=_CALL_SECONDS,
            registry=registry,
        )
        self.streams = Gauge("wattkeeper_rpc_streams", "Open streams.", ["method"], registry=registry)
        self.ticks = Counter("wattkeeper_ticks", "Ticks, by outcome.", ["outcome"], registry=registry)
        self.tick_seconds = Histogram(
            "wattkeeper_tick_seconds",
            "How long the parts of a tick took.",
            ["part"],
            buckets=_TICK_SECONDS,
            registry=registry,
        )
        self.leader = Gauge("wattkeeper_leader", "1 while this replica decides.", registry=registry)
        self.decided_timestamp_seconds = Gauge(
            "wattkeeper_decided_timestamp_seconds", "When this replica last decided.", registry=registry
        )
        self.decision_age_seconds = Gauge(
            "wattkeeper_decision_age_seconds",
            "How old the last decision of any leader is, as the budgets say.",
            registry=registry,
        )
        self.view_staleness_seconds = Gauge(
            "wattkeeper_view_staleness_seconds",
            "Seconds since the least recently heard watch said anything.",
            registry=registry,
        )
        self.warm = Gauge("wattkeeper_warm", "1 once caches and history are warm.", registry=registry)
        self.writes = Counter(
            "wattkeeper_writes", "Writes to the cluster, by what and outcome.", ["what", "outcome"], registry=registry
        )
        self.gate_waiting = Gauge("wattkeeper_gate_waiting_pods", "Pods at the power gate.", registry=registry)
        self.gates_opened = Counter(
            "wattkeeper_gates_opened",
            "Pods let out of the power gate: granted an opening, following their group's leader, or kept by nothing.",
            ["why"],
            registry=registry,
        )
        self.gate_seconds = Histogram(
            "wattkeeper_gate_seconds",
            "From the moment a pod was seen at the power gate to the moment it was let out.",
            ["why"],
            buckets=_GATE_SECONDS,
            registry=registry,
        )
        self.gate_failures = Counter(
            "wattkeeper_gate_failures",
            "Gates that could not be opened, by what is known: refused or unsteerable (it is closed), unknown, gone.",
            ["reason"],
            registry=registry,
        )
        self.problems = Gauge(
            "wattkeeper_problems", "Sources and algorithms that failed in the last tick.", registry=registry
        )
