"""vLLM's demand by pod: requests in flight and generated tokens.

Requests are those running and waiting, and on vLLM's first engine those swapped out as well. Metrics are named
`vllm:...`; collectors that allow no colon write `vllm_...`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wattkeeper.api.readings import PodKey
from wattkeeper.power.readers import rates
from wattkeeper.power.readers.places import serving_pod_of
from wattkeeper.power.readers.samples import Found, Part, Reading, total

_PREFIXES = ("vllm:", "vllm_")
_RUNNING, _WAITING, _SWAPPED = "num_requests_running", "num_requests_waiting", "num_requests_swapped"
_TOKENS = "generation_tokens_total"
METRICS = tuple(prefix + name for prefix in _PREFIXES for name in (_RUNNING, _WAITING, _SWAPPED, _TOKENS))


@dataclass(frozen=True, kw_only=True, slots=True)
class ServingReadings:
    """Demand by pod.

    Attributes:
        requests: running and waiting.
        tokens_per_second: generated.
        nameless: series that name no pod.
    """

    requests: Mapping[PodKey, Reading]
    tokens_per_second: Mapping[PodKey, Reading]
    nameless: int


def read_vllm(found: Found, gone_seconds: float) -> ServingReadings:
    """Interprets one round.

    Args:
        found: raw series.
        gone_seconds: a series last seen that much before its pod's youngest is gone.
    """
    running = {row[0] for row in _rows(found, _RUNNING, rates.gauge)}
    waiting = {row[0] for row in _rows(found, _WAITING, rates.gauge)}
    in_flight = (row for name in (_RUNNING, _WAITING, _SWAPPED) for row in _rows(found, name, rates.gauge))
    requests = total(in_flight, gone_seconds)
    return ServingReadings(
        requests={pod: one for pod, one in requests.items() if pod in running and pod in waiting},
        tokens_per_second=total(_rows(found, _TOKENS, rates.per_second), gone_seconds),
        nameless=sum(
            serving_pod_of(one.labels) is None for prefix in _PREFIXES for one in found.get(prefix + _RUNNING, ())
        ),
    )


def _rows(found: Found, name: str, measure: rates.Measure) -> Iterator[tuple[PodKey, tuple[str, ...], Part]]:
    for prefix in _PREFIXES:
        for labels, points in found.get(prefix + name, ()):
            pod = serving_pod_of(labels)
            if pod is not None:
                yield pod, (name, labels.engine, labels.model_name), measure(points)
