"""How a ScaledObject of KServe's asks: the external trigger that it makes of a metric of type PodMetric.

KServe passes a query, a target and an address on, and nothing else of a trigger can be set. It writes the query as
`sum(QUERY{namespace="...", deployment="..."})`, for KEDA's add-on for OpenTelemetry (KServe 0.20
pkg/controller/v1beta1/inferenceservice/reconcilers/keda/keda_reconciler.go).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from wattkeeper.cluster.objects import ScaledObject

QUERY: Final = "wattkeeper_replicas"
"""What to ask Wattkeeper for."""
OUR_QUERIES: Final = "wattkeeper"
"""How a query begins that is meant for Wattkeeper, whatever follows."""
QUERY_KEY: Final = "metricQuery"
TARGET_KEY: Final = "targetValue"
OVER_TIME_KEY: Final = "operationOverTime"
_WRAPPED: Final = re.compile(r'sum\((?P<query>[^{}]*)\{namespace="[^"]*", deployment="[^"]*"\}\)')


def asked_query(metadata: Mapping[str, str]) -> str | None:
    """Returns the query of a PodMetric as its user wrote it, None where a trigger is made of none.

    >>> asked_query({"metricQuery": 'sum(wattkeeper_replicas{namespace="llm", deployment="chat-predictor"})'})
    'wattkeeper_replicas'
    """
    said = metadata.get(QUERY_KEY)
    if said is None:
        return None
    wrapped = _WRAPPED.fullmatch(said)
    return said if wrapped is None else wrapped["query"]


def asks_for_replicas(scaled_object: ScaledObject) -> bool:
    """Says whether KServe's ScaledObject asks Wattkeeper for the number of replicas, and nobody else for anything."""
    triggers = scaled_object.spec.triggers
    return bool(triggers) and all(one.type == "external" and asked_query(one.metadata) == QUERY for one in triggers)
