"""The metadata of a trigger that points at Wattkeeper, written by a user or by KServe.

KEDA sends the trigger's whole map, its own keys included (KEDA 2.21 pkg/scalers/external_scaler.go).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final, Literal

from scaler.errors import MetadataError
from wattkeeper.api.quantity import parse_quantity
from wattkeeper.recommender.pod_metric import OVER_TIME_KEY, QUERY, QUERY_KEY, TARGET_KEY, asked_query

MetricKind = Literal["replicas", "cap"]

DEFAULT_METRIC: Final[MetricKind] = "replicas"
METRIC_NAMES: Final[Mapping[MetricKind, str]] = {"replicas": "wattkeeper-replicas", "cap": "wattkeeper-cap"}
_KINDS: Final[Mapping[str, MetricKind]] = {"replicas": "replicas", "cap": "cap"}

_OUR_KEYS: Final = ("metric",)
_KEDA_KEYS: Final = ("scalerAddress", "enableTLS", "unsafeSsl", "caCert", "tlsClientCert", "tlsClientKey")
_KNOWN_KEYS: Final = frozenset((*_OUR_KEYS, *_KEDA_KEYS, *(f"{key}FromEnv" for key in _KEDA_KEYS)))
_POD_METRIC_KEYS: Final = frozenset((*_KEDA_KEYS, QUERY_KEY, TARGET_KEY))
_SHOWN_CHARACTERS: Final = 60


def parse_metadata(metadata: Mapping[str, str]) -> MetricKind:
    """Returns which number a trigger asks for.

    Args:
        metadata: the trigger's map. Ours is `metric`: `replicas` (default; the trigger alone decides) or `cap` (the
            ceiling alone, for a formula such as min(demand, cap)). KServe's triggers have other keys instead.

    Raises:
        MetadataError: a key or a value that means nothing to us; the message has the nearest right one.

    >>> parse_metadata({"scalerAddress": "wattkeeper:9443", "metric": "cap"})
    'cap'
    """
    query = asked_query(metadata)
    if query is not None:
        _check_pod_metric(query, metadata)
        return "replicas"
    for key in metadata:
        if key not in _KNOWN_KEYS:
            raise MetadataError(
                f"trigger metadata has an unknown key {_shown(key)}.{_offer(key, _OUR_KEYS + _KEDA_KEYS)} "
                f"Wattkeeper's keys: {', '.join(_OUR_KEYS)}."
            )
    value = metadata.get("metric", DEFAULT_METRIC)
    kind = _KINDS.get(value)
    if kind is None:
        raise MetadataError(
            f"trigger metadata has metric {_shown(value)}.{_offer(value, tuple(_KINDS))} "
            "Use replicas (the default: this trigger decides alone) or cap (the ceiling alone, for a formula)."
        )
    return kind


def _check_pod_metric(query: str, metadata: Mapping[str, str]) -> None:
    """Checks what KServe has made of a PodMetric; its users cannot write the trigger itself."""
    if query != QUERY:
        raise MetadataError(
            f"a PodMetric of KServe's asks for {_shown(query)}. Wattkeeper answers {QUERY} alone: set "
            "podmetric.metric.query to that, or podmetric.metric.serverAddress to the scaler that knows this query."
        )
    target = metadata.get(TARGET_KEY, "")
    if not _is_one(target):
        raise MetadataError(
            f"a PodMetric of KServe's has the target {_shown(target)}. Wattkeeper tells replicas: set "
            'podmetric.target.value to "1".'
        )
    if OVER_TIME_KEY in metadata:
        raise MetadataError(
            "a PodMetric of KServe's has operationOverTime. What Wattkeeper grants is a number of this moment: remove "
            "podmetric.metric.operationOverTime."
        )
    for key in sorted(metadata.keys() - _POD_METRIC_KEYS):
        raise MetadataError(f"a PodMetric of KServe's has an unknown key {_shown(key)}: remove it.")


def _is_one(target: str) -> bool:
    try:
        return parse_quantity(target) == 1
    except ValueError:
        return False


def check_metric_name(name: str, kind: MetricKind) -> None:
    """Checks that a metric asked for by name is the one that the metadata asks for.

    Raises:
        MetadataError: it is another one.
    """
    if name != METRIC_NAMES[kind]:
        raise MetadataError(f"no metric is called {_shown(name)}; with metric {kind} ask for {METRIC_NAMES[kind]}.")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}...")


def _offer(word: str, known: tuple[str, ...]) -> str:
    lower = {one.lower(): one for one in known}
    nearest = difflib.get_close_matches(word[:_SHOWN_CHARACTERS].lower(), lower, n=1)
    return f" Did you mean {lower[nearest[0]]}?" if nearest else ""
