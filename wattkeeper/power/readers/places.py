"""Which node or pod a series is about, by the labels that scrape configurations leave it with."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from wattkeeper.api.readings import PodKey
from wattkeeper.power.readers.samples import Labels


def host_of(instance: str) -> str:
    """Returns an instance label without its port.

    >>> host_of("10.0.0.7:9400"), host_of("[fd00::7]:9400"), host_of("gpu-3")
    ('10.0.0.7', 'fd00::7', 'gpu-3')
    """
    if instance.startswith("["):
        return instance[1:].partition("]")[0]
    host, colon, port = instance.rpartition(":")
    return host if colon and port.isdigit() and ":" not in host else instance


def node_of(labels: Labels, known: AbstractSet[str]) -> str:
    """Returns the name of the node that a series is about.

    Args:
        labels: of the series.
        known: names of nodes that are certain; a label that holds one of them wins over those before it.

    Returns:
        A node's name, or the best guess; "" where no label says anything.
    """
    candidates = (
        labels.node,
        labels.kubernetes_node,
        labels.exported_node,
        labels.exported_instance,
        labels.hostname,
        host_of(labels.instance),
    )
    best = ""
    for name in candidates:
        if name in known:
            return name
        best = best or name
    return best


def serving_pod_of(labels: Labels) -> PodKey | None:
    """Returns the pod that a model server's series is about; None where no labels name one."""
    for namespace, name in (
        (labels.exported_namespace, labels.exported_pod),
        (labels.namespace, labels.pod),
        (labels.kubernetes_namespace, labels.kubernetes_pod_name),
    ):
        if namespace and name:
            return PodKey(namespace, name)
    return None
