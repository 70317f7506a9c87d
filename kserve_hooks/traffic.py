"""Which pods get traffic: read for the few namespaces where a migration waits for it, because nothing watches it."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from wattkeeper.cluster.errors import ClusterError
from wattkeeper.cluster.interface import Cluster

LOG = logging.getLogger(__name__)


async def pods_that_serve(cluster: Cluster, namespaces: Iterable[str]) -> dict[str, frozenset[str]]:
    """Returns the UIDs of pods that a Service sends traffic to, by namespace. What cannot be read is left out."""
    found: dict[str, frozenset[str]] = {}
    for namespace in namespaces:
        try:
            found[namespace] = await cluster.serving_pods(namespace)
        except ClusterError as error:
            LOG.warning("cannot read which pods of namespace %s get traffic: %s", namespace, error)
    return found
