"""The admission plugin beside the demo's service: asked by the twin's API server as it is asked in a cluster."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry

from admission.alert_keeper import AlertKeeper, AlertOptions
from admission.alert_metrics import AlertMetrics
from admission.alert_sinks import SinksFile
from admission.metrics import AdmissionMetrics
from admission.mutate import PodMutator
from admission.review import answered
from admission.usage_collector import UsageCollector, UsageOptions
from admission.view import AdmissionView
from wattkeeper.cluster.leadership import Leadership
from wattkeeper.simulation.usage import Usage
from wattkeeper.simulation.webhook import PodWebhook
from wattkeeper.simulation.world import World

_LEASE = "wattkeeper-admission"
_LEASE_SECONDS = 15
_LEASE_RANK, _USAGE_RANK, _ALERTS_RANK = 11, 12, 13


class DemoAdmission:
    """The webhook for new pods, what learns from usage, and alerts as Events: there is nobody else to tell."""

    def __init__(self, world: World, *, namespace: str, holder: str) -> None:
        """Has new pods of the world reviewed from now on.

        Args:
            world: not begun yet.
            namespace: of Wattkeeper itself.
            holder: who holds the Lease.
        """
        cluster, registry = world.cluster, CollectorRegistry()
        clock = self._clock = world.clock
        self._leadership = Leadership(
            cluster, clock, namespace=namespace, name=_LEASE, holder=holder, duration_seconds=_LEASE_SECONDS
        )
        self._usage = UsageCollector(
            cluster=cluster,
            clock=clock,
            registry=registry,
            leads=lambda: self._leadership.holds(clock.now()),
            options=UsageOptions(namespace=namespace),
        )
        self._alerts = AlertKeeper(
            cluster=cluster,
            clock=clock,
            leadership=self._leadership,
            file=SinksFile(None),
            metrics=AlertMetrics(registry),
            options=AlertOptions(namespace=namespace),
        )
        mutate = PodMutator(AdmissionView(cluster.view), self._usage, clock, AdmissionMetrics(registry))
        cluster.measure_usage(Usage(world.twin).read)
        cluster.admit_pods(PodWebhook(cluster.view, lambda body: answered(body, mutate).body).admit)

    def start(self) -> list[asyncio.Task[None]]:
        """Starts what runs beside the webhook; whoever starts it ends it."""
        parts = (
            (self._leadership.run(), "admission lease", _LEASE_RANK),
            (self._usage.run(), "usage", _USAGE_RANK),
            (self._alerts.run(), "alerts", _ALERTS_RANK),
        )
        return [self._clock.start(work, name=name, rank=rank) for work, name, rank in parts]
