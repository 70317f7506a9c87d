"""What Prometheus sees of this room."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class ActuatorMetrics:
    """One set of metrics per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.leader = Gauge("wattkeeper_actuator_leader", "1 while this replica leads.", registry=registry)
        self.passes = Counter(
            "wattkeeper_actuator_passes",
            "Passes over all services, by what became of them.",
            ["result"],
            registry=registry,
        )
        self.pass_seconds = Histogram(
            "wattkeeper_actuator_pass_seconds", "How long a pass took, writes included.", registry=registry
        )
        self.writes = Counter(
            "wattkeeper_actuator_writes",
            "Writes, by what was written and the outcome.",
            ["what", "outcome"],
            registry=registry,
        )
        self.services = Gauge(
            "wattkeeper_actuator_services",
            "Services whose ceiling is kept, by who scales them.",
            ["autoscaler"],
            registry=registry,
        )
        self.hindered = Gauge(
            "wattkeeper_actuator_hindered_services",
            "Services whose ceiling something keeps from being kept.",
            registry=registry,
        )
        self.braked = Gauge(
            "wattkeeper_actuator_braked_services",
            "Services that the brake holds at their cap, by why: KEDA cannot ask the scaler, or a budget is over.",
            ["reason"],
            registry=registry,
        )
        self.blocked = Gauge(
            "wattkeeper_actuator_kill_blocked_services",
            "Services of which a pod has to go, and stays.",
            registry=registry,
        )
        self.migrations = Gauge(
            "wattkeeper_actuator_migrations",
            "Migrations of pods that there are, by how far they are.",
            ["phase"],
            registry=registry,
        )
        self.migrations_ended = Counter(
            "wattkeeper_actuator_migrations_ended",
            "Migrations that have ended, well or not, and why.",
            ["phase", "reason"],
            registry=registry,
        )
        self.migrations_refused = Gauge(
            "wattkeeper_actuator_migrations_refused",
            "Services of which a pod could move and does not, by why.",
            ["reason"],
            registry=registry,
        )
        self.scaler_answers = Gauge(
            "wattkeeper_actuator_scaler_answers",
            "1 while the scaler answers the actuator's own question, 0 in an outage.",
            registry=registry,
        )
        self.view_staleness_seconds = Gauge(
            "wattkeeper_view_staleness_seconds",
            "Seconds since the least recently heard watch said anything.",
            registry=registry,
        )
