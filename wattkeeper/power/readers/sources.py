"""Which series are fetched, by source: metrics, and the matchers that Prometheus applies itself."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from wattkeeper.power.readers import dcgm, kepler, legacy_kepler, meters, vllm
from wattkeeper.power.readers.settings import ReaderSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Series that are fetched together, and grow old together.

    Attributes:
        name: for people.
        metrics: every name that is used.
        marker: the metrics whose series show that the source is there and how often it is sampled: the first one
            found counts.
        matchers: what a series must have, in PromQL.
        paced_by: the source of the same exporter that shows how often this one is sampled; "" itself.
    """

    name: str
    metrics: tuple[str, ...]
    marker: tuple[str, ...]
    matchers: str = ""
    paced_by: str = ""

    def selector(self, present: AbstractSet[str]) -> str:
        """Returns the PromQL that selects those metrics that are there; "" where none is."""
        names = "|".join(name for name in self.metrics if name in present)
        if not names:
            return ""
        inside = ",".join(part for part in (f'__name__=~"{names}"', self.matchers) if part)
        return f"{{{inside}}}"


KEPLER_NODES, KEPLER_PODS, KEPLER_GPUS = "Kepler (nodes)", "Kepler (pods)", "Kepler (GPUs)"
LEGACY_KEPLER, DCGM, VLLM, METERS = "legacy Kepler", "dcgm-exporter", "vLLM", "meters"

# What says how old watts are, and demand: a slow source of the one must not let the other pass for fresh.
OF_WATTS = frozenset({KEPLER_NODES, KEPLER_PODS, KEPLER_GPUS, LEGACY_KEPLER, DCGM})
OF_DEMAND = frozenset({VLLM})


def sources(settings: ReaderSettings) -> tuple[Source, ...]:
    """Returns every source, for the zones that are set."""
    zones = f'zone=~"{"|".join(settings.zone_names)}"'
    running = f'state="{kepler.RUNNING}"'
    cpu_of_nodes = (kepler.NODE_ACTIVE, kepler.NODE_IDLE)
    return (
        Source(name=KEPLER_NODES, metrics=cpu_of_nodes, marker=cpu_of_nodes, matchers=zones),
        Source(
            name=KEPLER_PODS,
            metrics=(kepler.POD_CPU,),
            marker=(kepler.POD_CPU,),
            matchers=f"{running},{zones}",
        ),
        Source(
            name=KEPLER_GPUS,
            metrics=(kepler.NODE_GPU_JOULES, kepler.NODE_GPU_WATTS, kepler.NODE_GPU_IDLE_WATTS),
            marker=(kepler.NODE_GPU_WATTS, kepler.NODE_GPU_IDLE_WATTS),
        ),
        Source(
            name="Kepler (pods' GPUs)",
            metrics=(kepler.POD_GPU_JOULES, kepler.POD_GPU_WATTS),
            marker=(),  # These series come and go with load.
            matchers=running,
            paced_by=KEPLER_PODS,
        ),
        Source(
            name=LEGACY_KEPLER,
            metrics=(
                *(name for name in legacy_kepler.NODE_METRICS if name != legacy_kepler.NODE_GPU),
                *legacy_kepler.CONTAINER_METRICS,
            ),
            marker=legacy_kepler.NODE_METRICS[:1],
            matchers='mode=~"dynamic|idle"',
        ),
        Source(name=DCGM, metrics=dcgm.METRICS, marker=(dcgm.ENERGY, dcgm.POWER)),
        Source(name=VLLM, metrics=vllm.METRICS, marker=vllm.METRICS),
        Source(name=METERS, metrics=meters.METRICS, marker=meters.METRICS),
    )


# Seen and named by `wattkeeper probe`, not read: their demand takes a query in the policy.
OTHER_SERVERS = {"TGI": "tgi_queue_size", "Triton": "nv_inference_pending_request_count"}


def all_metrics(settings: ReaderSettings) -> frozenset[str]:
    """Returns every metric that is worth asking for, those that only tell what is there included."""
    return frozenset(name for source in sources(settings) for name in source.metrics) | {
        kepler.BUILD,
        legacy_kepler.EXPORTER,
        "kepler_node_cpu_watts",
        "kepler_node_cpu_joules_total",
        "kepler_container_joules_total",
        *OTHER_SERVERS.values(),
    }
