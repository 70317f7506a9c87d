"""The story that `wattkeeper demo` tells: a working day of three services in two racks.

At noon a rack's budget is cut, then the other rack's Kepler is lost, then that rack gets hot while the first one
has headroom, and towards the evening the scaler cannot be reached while a budget is cut. All of it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from wattkeeper.api.admission import ADMISSION_ENABLED, ADMISSION_LABEL, CAPPED_LABEL
from wattkeeper.api.meta import LabelSelector, ObjectMeta
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetSpec
from wattkeeper.api.power_capping_policy import Demand, PowerCappingPolicy, PowerCappingPolicySpec
from wattkeeper.cluster.interface import Watched
from wattkeeper.cluster.objects import (
    Container,
    Deployment,
    DeploymentSpec,
    Namespace,
    Node,
    NodeStatus,
    PodSpec,
    PodTemplate,
    Resources,
    ScaledObject,
    ScaledObjectSpec,
    ScaledObjectTarget,
    Trigger,
)
from wattkeeper.simulation.models import LLAMA_8B, LLAMA_70B, PROMPT_TOKENS_PER_GENERATED, QWEN_32B, ModelProfile
from wattkeeper.simulation.scheduler import ZONE
from wattkeeper.simulation.serving import ServiceLevel
from wattkeeper.simulation.traffic import DayShape, Traffic, fitted, working_day
from wattkeeper.simulation.twin import TwinService

NAMESPACE: Final = "llm"
RACKS: Final = ("rack-a", "rack-b")
NODES_PER_RACK: Final = 4
GPUS_PER_NODE: Final = 8
LIMIT_WATTS: Final = 36_000.0
CUT_WATTS: Final = 21_000.0
HOT_WATTS: Final = 32_000.0
# 2026-03-02 07:00 UTC, a Monday.
DAY_BEGINS: Final = 1_772_434_800.0
DAY_HOURS: Final = 12.0
FIRST_HOUR: Final = 7.0
POLLING_SECONDS: Final = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class StoryService:
    """One service of the story.

    Attributes:
        target_per_replica: requests in flight that one replica should carry.
        rack: the only one whose nodes it may run on; "" for any.
        first_replicas: at the day's beginning.
    """

    name: str
    model: ModelProfile
    priority: int
    floor: int
    ceiling: int
    first_replicas: int
    target_per_replica: float
    rack: str
    shape: DayShape
    level: ServiceLevel


SERVICES: Final = (
    StoryService(
        name="chat",
        model=LLAMA_70B,
        priority=100,
        floor=2,
        ceiling=7,
        first_replicas=3,
        target_per_replica=96,
        rack="",
        shape=DayShape(
            night_share=0.35,
            peak_requests_per_second=64,
            bursts=5,
            burst_share=0.35,
            generated_tokens=220,
            prompt_tokens=900,
        ),
        level=ServiceLevel(wait_seconds=2.0, patience_seconds=20.0),
    ),
    StoryService(
        name="code",
        model=QWEN_32B,
        priority=50,
        floor=1,
        ceiling=9,
        first_replicas=3,
        target_per_replica=64,
        rack="rack-b",
        shape=DayShape(
            night_share=0.25,
            peak_requests_per_second=86,
            bursts=6,
            burst_share=0.4,
            generated_tokens=160,
            prompt_tokens=1500,
        ),
        level=ServiceLevel(wait_seconds=5.0, patience_seconds=30.0),
    ),
    StoryService(
        name="summaries",
        model=LLAMA_8B,
        priority=10,
        floor=1,
        ceiling=16,
        first_replicas=6,
        target_per_replica=96,
        rack="rack-a",
        shape=DayShape(
            night_share=0.5,
            peak_requests_per_second=204,
            bursts=4,
            burst_share=0.3,
            generated_tokens=300,
            prompt_tokens=2000,
        ),
        level=ServiceLevel(wait_seconds=30.0, patience_seconds=60.0),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Happening:
    """Something that the story does to the world.

    Attributes:
        hour: of the day.
        what: limit sets a budget's watts; lose-kepler and find-kepler act on a rack's nodes; lose-scaler and
            find-scaler on the way to Wattkeeper's scaler.
        rack: whose, "" for none's.
        watts: of the limit.
        text: for people.
    """

    hour: float
    what: Literal["limit", "lose-kepler", "find-kepler", "lose-scaler", "find-scaler"]
    text: str
    rack: str = ""
    watts: float = 0.0


HAPPENINGS: Final = (
    Happening(
        hour=12.0,
        what="limit",
        rack="rack-a",
        watts=CUT_WATTS,
        text=f"The grid operator asks: rack-a's budget falls to {CUT_WATTS / 1000:g} kW",
    ),
    Happening(
        hour=13.0, what="lose-kepler", rack="rack-b", text="Kepler on rack-b is lost: it answers, but without watts"
    ),
    Happening(hour=14.0, what="find-kepler", rack="rack-b", text="Kepler on rack-b is back"),
    Happening(
        hour=14.25,
        what="limit",
        rack="rack-a",
        watts=LIMIT_WATTS,
        text=f"The grid has recovered: rack-a's budget is {LIMIT_WATTS / 1000:g} kW again",
    ),
    Happening(
        hour=15.0,
        what="limit",
        rack="rack-b",
        watts=HOT_WATTS,
        text=f"rack-b gets hot, its cooling carries less: its budget falls to {HOT_WATTS / 1000:g} kW",
    ),
    Happening(
        hour=16.5,
        what="limit",
        rack="rack-b",
        watts=LIMIT_WATTS,
        text=f"rack-b is cooled again: its budget is {LIMIT_WATTS / 1000:g} kW again",
    ),
    Happening(
        hour=17.0,
        what="lose-scaler",
        text="The network between KEDA and Wattkeeper's scaler fails",
    ),
    Happening(
        hour=17.1,
        what="limit",
        rack="rack-a",
        watts=CUT_WATTS,
        text=f"The grid operator asks again: rack-a's budget falls to {CUT_WATTS / 1000:g} kW",
    ),
    Happening(hour=17.6, what="find-scaler", text="KEDA reaches the scaler again"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """A day that takes `seconds`.

    Attributes:
        traffic: by service, in the order of SERVICES.
        factors: by which recorded traces were multiplied; None where the day is synthetic.
    """

    seconds: int
    seed: int
    traffic: tuple[Traffic, ...]
    factors: tuple[float | None, ...]

    @property
    def time_scale(self) -> float:
        """How many times faster the day's traffic passes than a real day's."""
        return DAY_HOURS * 3600.0 / self.seconds

    def seconds_at(self, hour: float) -> float:
        """Returns when an hour of the day comes, in seconds from the beginning."""
        return (hour - FIRST_HOUR) / DAY_HOURS * self.seconds

    def hour_at(self, seconds: float) -> float:
        """Returns the hour of the day after so many seconds."""
        return FIRST_HOUR + DAY_HOURS * seconds / self.seconds


def plan_story(*, seconds: int, seed: int, traces: Sequence[Traffic] = ()) -> Story:
    """Draws the day's traffic; the first services take the recorded traces, if any."""
    traffic: list[Traffic] = []
    factors: list[float | None] = []
    for row, service in enumerate(SERVICES):
        if row < len(traces):
            weight = 1.0 / PROMPT_TOKENS_PER_GENERATED
            shape = service.shape
            work = shape.generated_tokens + weight * shape.prompt_tokens
            peak = work * shape.peak_requests_per_second
            own, factor = fitted(traces[row], seconds=seconds, peak_work_per_second=peak, prompt_weight=weight)
            traffic.append(own)
            factors.append(factor)
        else:
            traffic.append(working_day(service.shape, seconds=seconds, seed=seed, stream=row))
            factors.append(None)
    return Story(seconds=seconds, seed=seed, traffic=tuple(traffic), factors=tuple(factors))


def twin_services(story: Story) -> tuple[TwinService, ...]:
    """Returns what the twin has to know of the services."""
    return tuple(
        TwinService(namespace=NAMESPACE, name=service.name, model=service.model, traffic=traffic, level=service.level)
        for service, traffic in zip(SERVICES, story.traffic, strict=True)
    )


def cluster_objects() -> list[Watched]:
    """Returns nodes, budgets, a namespace, policies and Deployments, in the order in which they can be created."""
    objects: list[Watched] = [
        Namespace(metadata=ObjectMeta(name=NAMESPACE, labels={ADMISSION_LABEL: ADMISSION_ENABLED}))
    ]
    for rack in RACKS:
        objects.extend(_node(rack, number) for number in range(1, NODES_PER_RACK + 1))
        objects.append(
            PowerBudget(
                metadata=ObjectMeta(name=rack),
                spec=PowerBudgetSpec(
                    limit_watts=LIMIT_WATTS,
                    node_selector=LabelSelector(match_labels={"rack": rack}),
                    meter="wall",
                    shed_seconds=300,
                ),
            )
        )
    for service in SERVICES:
        objects.append(_policy(service))
        objects.append(_deployment(service))
    return objects


def scaled_objects(scaler_address: str | None) -> list[ScaledObject]:
    """Returns a ScaledObject for each service: with Wattkeeper at an address, or on demand alone.

    With Wattkeeper the policy stabilises demand, so that the HPA need not wait when a cap falls; without, the HPA does.
    """
    found: list[ScaledObject] = []
    for service in SERVICES:
        if scaler_address is None:
            trigger = Trigger(type="prometheus", name="demand", metric_type="AverageValue")
            behavior: dict[str, object] = {}
        else:
            trigger = Trigger(
                type="external",
                name="wattkeeper",
                metadata={"scalerAddress": scaler_address},
                metric_type="AverageValue",
            )
            behavior = {
                direction: {"stabilizationWindowSeconds": 0, "tolerance": "0", "policies": _AT_ONCE}
                for direction in ("scaleUp", "scaleDown")
            }
        found.append(
            ScaledObject(
                metadata=ObjectMeta(name=service.name, namespace=NAMESPACE),
                spec=ScaledObjectSpec(
                    scale_target_ref=ScaledObjectTarget(name=service.name),
                    polling_interval=POLLING_SECONDS,
                    min_replica_count=service.floor,
                    max_replica_count=service.ceiling,
                    triggers=(trigger,),
                    advanced={"horizontalPodAutoscalerConfig": {"behavior": behavior}},
                ),
            )
        )
    return found


_AT_ONCE: Final = [{"type": "Pods", "value": 100, "periodSeconds": 15}]


def _node(rack: str, number: int) -> Node:
    resources = {"nvidia.com/gpu": str(GPUS_PER_NODE), "cpu": "192"}
    labels = {"rack": rack, ZONE: rack, "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    name = f"{rack}-{number}"
    return Node(
        metadata=ObjectMeta(name=name, labels={**labels, "kubernetes.io/hostname": name}),
        status=NodeStatus(capacity=resources, allocatable=resources),
    )


def _policy(service: StoryService) -> PowerCappingPolicy:
    return PowerCappingPolicy(
        metadata=ObjectMeta(name=service.name, namespace=NAMESPACE),
        spec=PowerCappingPolicySpec(
            selector=LabelSelector(match_labels={"app": service.name}),
            # A service that may run anywhere can move.
            mode="Scale" if service.rack else "Migrate",
            priority=service.priority,
            min_replicas=service.floor,
            max_replicas=service.ceiling,
            demand=Demand(metric="Requests", target_per_replica=service.target_per_replica, stabilization_seconds=300),
            watts_per_replica=round(service.model.saturated_watts() - 75.0 * service.model.gpus),
        ),
    )


def _deployment(service: StoryService) -> Deployment:
    labels = {"app": service.name}
    gpus: dict[str, str | int] = {"nvidia.com/gpu": service.model.gpus}
    # As people write them who have not measured: a core for each GPU, and no word of memory.
    requests = {**gpus, "cpu": service.model.gpus}
    return Deployment(
        metadata=ObjectMeta(name=service.name, namespace=NAMESPACE, labels=labels),
        spec=DeploymentSpec(
            replicas=service.first_replicas,
            selector=LabelSelector(match_labels=labels),
            template=PodTemplate(
                metadata=ObjectMeta(labels={**labels, CAPPED_LABEL: "true"}),
                spec=PodSpec(
                    node_selector={"rack": service.rack} if service.rack else {},
                    containers=(Container(name="server", resources=Resources(requests=requests, limits=gpus)),),
                ),
            ),
        ),
    )
