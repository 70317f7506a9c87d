"""The cluster that faults befall: three racks of three servers, and a service of each kind and mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np

from wattkeeper.api.power_capping_policy import (
    ENFORCING,
    Mode,
)
from wattkeeper.api.readings import ServiceKey
from wattkeeper.simulation.models import LLAMA_8B, LLAMA_70B, QWEN_32B, ModelProfile
from wattkeeper.simulation.scheduler import ZONE
from wattkeeper.simulation.serving import ServiceLevel
from wattkeeper.simulation.traffic import Traffic
from wattkeeper.simulation.twin import TwinService

NAMESPACE: Final = "llm"
SYSTEM: Final = "wattkeeper-system"
BEGINS: Final = 1_772_434_800.0
RACKS: Final = ("rack-a", "rack-b", "rack-c")
_HALLS: Final = {"rack-a": "north", "rack-b": "north", "rack-c": "south"}
BY_KSERVE: Final = ("hpa", "keda")
MINIMUM: Final = "spec.predictor.minReplicas"
MAXIMUM: Final = "spec.predictor.maxReplicas"
NODES_PER_RACK: Final = 3
RACK_WATTS: Final = 23_000.0
ROW: Final = "row"
ROW_WATTS: Final = 72_000.0
SHED_SECONDS: Final = 150
DISRUPTIONS_PER_HOUR: Final = 120
SCALER_ADDRESS: Final = "wattkeeper.wattkeeper-system.svc:9090"


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneService:
    """One service.

    Attributes:
        scaled: by whom: a ScaledObject of its user's, the actuator's own (an InferenceService of class external),
            KServe's HPA or ScaledObject (an InferenceService of class hpa or keda), or nobody.
        bounds: minReplicas and maxReplicas of its InferenceService, as its user wrote them.
        nodes: which it may run on, by their labels; any without.
        size: pods of a replica: more than one are a group of a LeaderWorkerSet.
        consents: its policy lets minReplicas be lowered and raised.
        requests_per_second: of an ordinary second.
        protection: the PodDisruptionBudget that is about its pods; "" for none.
        patience_seconds: how long its user's ScaledObject looks back before it takes a replica away.
        replaces: its rollouts go one pod down before one up where watts are short.
    """

    name: str
    model: ModelProfile
    mode: Mode
    priority: int
    floor: int
    ceiling: int
    first_replicas: int
    target_per_replica: float
    requests_per_second: float
    scaled: Literal["user", "actuator", "hpa", "keda", "nobody"] = "user"
    bounds: tuple[int, int] = (1, 1)
    nodes: Mapping[str, str] = field(default_factory=dict[str, str])
    size: int = 1
    consents: bool = False
    protection: str = ""
    patience_seconds: int = 0
    replaces: bool = False
    grace_seconds: float = 20.0

    @property
    def enforced(self) -> bool:
        """Says whether its mode is one that caps."""
        return self.mode in ENFORCING

    @property
    def kind(self) -> str:
        """The kind of its workload."""
        return "Deployment" if self.size == 1 else "LeaderWorkerSet"

    @property
    def key(self) -> ServiceKey:
        """Its name for the product."""
        return ServiceKey(NAMESPACE, self.kind, self.name)

    @property
    def inference_service(self) -> str:
        """The name of its InferenceService, "" where it is none."""
        return self.name.removesuffix("-predictor") if self.scaled in ("actuator", *BY_KSERVE) else ""

    @property
    def told(self) -> bool:
        """Says whether its autoscaler is told a number, and does not decide by itself up to one."""
        return self.scaled in ("user", "actuator")

    def lands_in(self, budget: str) -> bool:
        """Says whether its pods may run on nodes of a budget."""
        return budget == ROW or self.nodes.items() <= rack_labels(budget).items()


# Loads take seconds here, so that a run of minutes sees many of them.
SERVICES: Final = (
    SceneService(
        name="chat",
        model=replace(LLAMA_70B, load_seconds=30.0),
        mode="Scale",
        priority=100,
        floor=1,
        ceiling=6,
        first_replicas=2,
        target_per_replica=96,
        requests_per_second=30,
        replaces=True,
    ),
    SceneService(
        name="code",
        model=replace(QWEN_32B, load_seconds=20.0),
        mode="Kill",
        priority=50,
        floor=1,
        ceiling=6,
        first_replicas=2,
        target_per_replica=64,
        requests_per_second=40,
        nodes={"rack": "rack-b"},
        protection="answers",
        patience_seconds=90,
    ),
    SceneService(
        name="summaries",
        model=replace(LLAMA_8B, load_seconds=12.0),
        mode="Migrate",
        priority=10,
        floor=1,
        ceiling=10,
        first_replicas=3,
        target_per_replica=96,
        requests_per_second=70,
        protection="summaries",
    ),
    SceneService(
        name="search-predictor",
        model=replace(LLAMA_8B, load_seconds=12.0),
        mode="Kill",
        priority=30,
        floor=1,
        ceiling=8,
        first_replicas=2,
        target_per_replica=96,
        requests_per_second=50,
        scaled="actuator",
        nodes={"rack": "rack-c"},
        protection="answers",
    ),
    SceneService(
        name="images-predictor",
        model=replace(LLAMA_8B, load_seconds=12.0),
        mode="Scale",
        priority=20,
        floor=1,
        ceiling=6,
        first_replicas=2,
        target_per_replica=96,
        requests_per_second=40,
        scaled="hpa",
        bounds=(1, 4),
        nodes={"rack": "rack-a"},
    ),
    SceneService(
        name="speech-predictor",
        model=replace(LLAMA_8B, load_seconds=12.0),
        mode="Kill",
        priority=40,
        floor=1,
        ceiling=6,
        first_replicas=3,
        target_per_replica=96,
        requests_per_second=60,
        scaled="keda",
        bounds=(2, 4),
        nodes={"hall": "north"},
        consents=True,
        protection="speech",
    ),
    SceneService(
        name="large",
        model=replace(LLAMA_8B, load_seconds=15.0),
        mode="Kill",
        priority=25,
        floor=1,
        ceiling=4,
        first_replicas=2,
        target_per_replica=192,
        requests_per_second=70,
        nodes={"hall": "south"},
        size=2,
    ),
    SceneService(
        name="notes",
        model=replace(LLAMA_8B, load_seconds=12.0),
        mode="Off",
        priority=0,
        floor=0,
        ceiling=8,
        first_replicas=2,
        target_per_replica=96,
        requests_per_second=20,
        scaled="nobody",
        nodes={"rack": "rack-a"},
    ),
)
BY_NAME: Final = {one.name: one for one in SERVICES}
# By PodDisruptionBudget, its minAvailable. The first is about pods of two services.
PROTECTIONS: Final = {"answers": 2, "summaries": 2, "speech": 1}


def wishes() -> dict[str, dict[str, int]]:
    """Returns what users want bounds to be in the beginning, by service that KServe scales."""
    return {one.name: {MINIMUM: one.bounds[0], MAXIMUM: one.bounds[1]} for one in SERVICES if one.scaled in BY_KSERVE}


def steady_traffic(service: SceneService, seconds: int, spikes: list[tuple[int, int, float]]) -> Traffic:
    """Returns requests at one rate, but for spikes: (first second, last second, times as many)."""
    requests = np.full(seconds, service.requests_per_second, dtype=np.float64)
    for first, last, times in spikes:
        requests[first:last] *= times
    return Traffic(requests=requests, generated_tokens=requests * 200.0, prompt_tokens=requests * 900.0)


def twin_services(traffic: dict[str, Traffic]) -> tuple[TwinService, ...]:
    """Returns what the twin has to know of the services."""
    return tuple(
        TwinService(
            namespace=NAMESPACE,
            name=one.name,
            model=one.model,
            traffic=traffic[one.name],
            level=ServiceLevel(wait_seconds=5.0, patience_seconds=20.0),
            grace_seconds=one.grace_seconds,
            kind=one.kind,
        )
        for one in SERVICES
    )


def rack_labels(rack: str) -> dict[str, str]:
    """Returns the labels that nodes of a rack share."""
    return {"rack": rack, "row": "1", "hall": _HALLS[rack], ZONE: rack}
