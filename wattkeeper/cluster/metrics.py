"""What Prometheus can see of the watches."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge


class ClusterMetrics:
    """One set of metrics per registry; label `kind` is the watched kind."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.objects = Gauge("wattkeeper_cluster_objects", "Watched objects in memory.", ["kind"], registry=registry)
        self.undecodable_objects = Gauge(
            "wattkeeper_cluster_undecodable_objects",
            "Objects that exist but do not fit what is expected of their kind: missing in memory, or an old version.",
            ["kind"],
            registry=registry,
        )
        self.synced = Gauge(
            "wattkeeper_cluster_synced",
            "1 while the kind is listed completely and its watch is alive.",
            ["kind"],
            registry=registry,
        )
        self.staleness_seconds = Gauge(
            "wattkeeper_cluster_staleness_seconds",
            "Seconds since the watch said anything (bookmarks come about once a minute).",
            ["kind"],
            registry=registry,
        )
        self.watch_events = Counter(
            "wattkeeper_cluster_watch_events", "Changes that watches have brought.", ["kind"], registry=registry
        )
        self.relists = Counter(
            "wattkeeper_cluster_relists",
            "Complete lists after the first one: the watch could not go on from where it was.",
            ["kind"],
            registry=registry,
        )
        self.watch_failures = Counter(
            "wattkeeper_cluster_watch_failures",
            "Lists and watches that failed and were tried again.",
            ["kind"],
            registry=registry,
        )
        self.handler_failures = Gauge(
            "wattkeeper_cluster_handler_failures", "Exceptions of subscribers so far.", ["kind"], registry=registry
        )
        self.unreadable_usage = Counter(
            "wattkeeper_cluster_unreadable_usage",
            "Entries of metrics.k8s.io that could not be read and were left out.",
            registry=registry,
        )
        self.events_dropped = Counter(
            "wattkeeper_cluster_events_dropped",
            "Kubernetes Events that were not written because there were too many.",
            registry=registry,
        )
