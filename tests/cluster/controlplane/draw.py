"""What pods and nodes draw, following their containers, and the energy that makes.

Pure: objects of the API server and moments go in, watts and joules come out. A pod draws from the start of its first
container until the last has exited, whatever the API object says in between. Its own figures come from annotations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from tests.cluster.controlplane.api import Object, holds

IDLE_WATTS = "tests.wattkeeper.dev/idle-watts"
"""Pod: W drawn once ready, without load (default 100), on its GPUs, or on the CPU where it has none."""

LOAD_WATTS = "tests.wattkeeper.dev/load-watts"
"""Pod: W that full load adds (default 200)."""

LOADING_WATTS = "tests.wattkeeper.dev/loading-watts"
"""Pod: W drawn between its containers' start and readiness (default 150)."""

CPU_WATTS = "tests.wattkeeper.dev/cpu-watts"
"""Pod: W that it always draws on the CPU while its containers run (default 20)."""

CAPACITY = "tests.wattkeeper.dev/capacity"
"""Pod: how many requests make full load (default 10); more of them wait."""

NODE_CPU_IDLE_WATTS = "tests.wattkeeper.dev/cpu-idle-watts"
"""Node: W of its idle CPUs and memory (default 60)."""

NODE_GPU_IDLE_WATTS = "tests.wattkeeper.dev/gpu-idle-watts"
"""Node: W of each of its GPUs when nothing runs there (default 25)."""

NODE_OTHER_WATTS = "tests.wattkeeper.dev/other-watts"
"""Node: W that only a meter at the wall sees, such as fans (default 40)."""

SUPPLY_EFFICIENCY = 0.92
TOKENS_PER_SECOND = 20.0  # Per running request.
TOKENS_PER_REQUEST = 200.0
GAUGE_SECONDS = 1.0  # Kepler's watts gauges cover its own last interval, not the time between two scrapes.


@dataclass(kw_only=True)
class Energy:
    """One meter: joules so far, and the mean watts of its last whole interval as Kepler's gauges give them."""

    joules: float = 0.0
    gauge_watts: float = 0.0  # Kepler's first reading is 0 W too.
    _mark_joules: float | None = None

    def add(self, watts: float, seconds: float) -> None:
        """Integrates a draw that was constant for some time."""
        self.joules += watts * seconds

    def close_interval(self, seconds: float) -> None:
        """Ends an interval of the gauge."""
        if self._mark_joules is not None:
            self.gauge_watts = (self.joules - self._mark_joules) / seconds
        self._mark_joules = self.joules


@dataclass(kw_only=True)
class Pod:
    """A pod whose containers run."""

    uid: str
    name: str
    namespace: str
    node: str
    service: str
    figures: dict[str, float]
    gpus: tuple[int, ...] = ()
    phase: str = "loading"  # Then "ready"; "terminating" keeps what it drew last.
    running_requests: float = 0.0
    waiting_requests: float = 0.0
    generated_tokens: float = 0.0
    cpu: Energy = field(default_factory=Energy)
    gpu: Energy = field(default_factory=Energy)
    _kept_watts: float | None = None

    @property
    def model_watts(self) -> float:
        """What its model draws now, beyond the constant share on the CPU."""
        if self._kept_watts is not None:
            return self._kept_watts
        if self.phase == "loading":
            return self.figures[LOADING_WATTS]
        utilisation = self.running_requests / self.figures[CAPACITY]
        return self.figures[IDLE_WATTS] + utilisation * self.figures[LOAD_WATTS]

    @property
    def cpu_watts(self) -> float:
        """Draw on the CPU."""
        return self.figures[CPU_WATTS] + (0.0 if self.gpus else self.model_watts)

    @property
    def gpu_watts(self) -> float:
        """Draw on its GPUs together, beyond their idle draw, which is the node's."""
        return self.model_watts if self.gpus else 0.0

    def enter(self, phase: str) -> None:
        """Moves on to a phase; once terminating, always terminating."""
        if self.phase == "terminating":
            return
        if phase == "terminating":
            self._kept_watts = self.model_watts
            self.running_requests = self.waiting_requests = 0.0
        self.phase = phase

    def take(self, requests: float) -> None:
        """Takes its share of the demand."""
        capacity = self.figures[CAPACITY]
        self.running_requests = min(requests, capacity)
        self.waiting_requests = max(0.0, requests - capacity)


@dataclass(kw_only=True)
class Node:
    """A node and its meters; `gpu` has one for each GPU."""

    name: str
    gpu_count: int
    figures: dict[str, float]
    unmanaged_watts: float = 0.0
    spike_watts: float = 0.0  # Only in the readings: a fault of the sensor.
    spike_until: float = 0.0
    active: Energy = field(default_factory=Energy)
    idle: Energy = field(default_factory=Energy)
    gpu: list[Energy] = field(default_factory=list[Energy])
    watts: float = 0.0
    wall_watts: float = 0.0


def _figures(annotations: Mapping[str, str], defaults: Mapping[str, float]) -> dict[str, float]:
    return {key: float(annotations.get(key, default)) for key, default in defaults.items()}


POD_DEFAULTS = {IDLE_WATTS: 100.0, LOAD_WATTS: 200.0, LOADING_WATTS: 150.0, CPU_WATTS: 20.0, CAPACITY: 10.0}
NODE_DEFAULTS = {NODE_CPU_IDLE_WATTS: 60.0, NODE_GPU_IDLE_WATTS: 25.0, NODE_OTHER_WATTS: 40.0}
GPU_RESOURCE = "nvidia.com/gpu"


class Fleet:
    """All nodes and drawing pods of a cluster.

    Attributes:
        pods: pods whose containers run, by uid.
        nodes: nodes by name.
        terminated: pods whose containers have exited lately, with the moment, which Kepler still exports.
    """

    TERMINATED_SECONDS = 5.0

    def __init__(self, now: float) -> None:
        self.pods: dict[str, Pod] = {}
        self.nodes: dict[str, Node] = {}
        self.terminated: list[tuple[float, Pod]] = []
        self._demand: dict[tuple[str, str], float] = {}
        self._now = now
        self._interval_began = now

    def see_node(self, event: str, item: Object, now: float) -> None:
        """Takes in a watch event of a Node."""
        self.advance(now)
        meta = item["metadata"]
        if event == "DELETED":
            self.nodes.pop(meta["name"], None)
            return
        figures = _figures(meta.get("annotations") or {}, NODE_DEFAULTS)
        count = int(item.get("status", {}).get("capacity", {}).get(GPU_RESOURCE, 0))
        node = self.nodes.setdefault(meta["name"], Node(name=meta["name"], gpu_count=count, figures=figures))
        node.gpu_count, node.figures = count, figures
        node.gpu += [Energy() for _ in range(count - len(node.gpu))]

    def see_pod(self, event: str, item: Object, now: float) -> None:
        """Takes in a watch event of a Pod."""
        self.advance(now)
        meta, status = item["metadata"], item.get("status", {})
        uid = meta["uid"]
        if event == "DELETED" or not _runs(status):
            gone = self.pods.pop(uid, None)
            if gone is not None:
                self.terminated.append((now, gone))
        else:
            if uid not in self.pods:
                self.pods[uid] = self._admit(item)
            pod = self.pods[uid]
            if meta.get("deletionTimestamp"):
                pod.enter("terminating")
            elif holds(item, "Ready"):
                pod.enter("ready")
            else:
                pod.enter("loading")
        self._share_demand()

    def _admit(self, item: Object) -> Pod:
        meta, spec = item["metadata"], item["spec"]
        labels = cast("dict[str, str]", meta.get("labels") or {})
        wanted = sum(
            int(container.get("resources", {}).get("limits", {}).get(GPU_RESOURCE, 0))
            for container in spec["containers"]
        )
        taken = {index for pod in self.pods.values() if pod.node == spec["nodeName"] for index in pod.gpus}
        free = (index for index in range(1024) if index not in taken)
        return Pod(
            uid=meta["uid"],
            name=meta["name"],
            namespace=meta["namespace"],
            node=spec["nodeName"],
            service=labels.get("app") or labels.get("app.kubernetes.io/name") or meta["name"],
            figures=_figures(meta.get("annotations") or {}, POD_DEFAULTS),
            gpus=tuple(next(free) for _ in range(wanted)),
        )

    def set_demand(self, namespace: str, service: str, requests: float, now: float) -> None:
        """Sets how many requests a service has at once, shared equally by its ready pods."""
        self.advance(now)
        self._demand[namespace, service] = requests
        self._share_demand()

    def _share_demand(self) -> None:
        ready: dict[tuple[str, str], list[Pod]] = {}
        for pod in self.pods.values():
            if pod.phase == "ready":
                ready.setdefault((pod.namespace, pod.service), []).append(pod)
        for key, pods in ready.items():
            for pod in pods:
                pod.take(self._demand.get(key, 0.0) / len(pods))

    def advance(self, now: float) -> None:
        """Integrates up to a moment; nothing changed since the last one."""
        seconds = max(0.0, now - self._now)
        self._now = max(self._now, now)
        pods_by_node: dict[str, list[Pod]] = {}
        for pod in self.pods.values():
            pods_by_node.setdefault(pod.node, []).append(pod)
        for node in self.nodes.values():
            self._integrate(node, pods_by_node.get(node.name, []), seconds, now)
        self.terminated = [(when, pod) for when, pod in self.terminated if now - when < self.TERMINATED_SECONDS]
        interval_seconds = self._now - self._interval_began
        if interval_seconds >= GAUGE_SECONDS:
            for energy in self._meters():
                energy.close_interval(interval_seconds)
            self._interval_began = self._now

    def _integrate(self, node: Node, pods: Iterable[Pod], seconds: float, now: float) -> None:
        gpu_idle_watts = node.figures[NODE_GPU_IDLE_WATTS]
        gpu_watts = [gpu_idle_watts] * len(node.gpu)
        active_watts = node.unmanaged_watts
        for pod in pods:
            pod.cpu.add(pod.cpu_watts, seconds)
            pod.gpu.add(pod.gpu_watts, seconds)
            pod.generated_tokens += pod.running_requests * TOKENS_PER_SECOND * seconds
            active_watts += pod.cpu_watts
            for index in pod.gpus:
                if index < len(gpu_watts):
                    gpu_watts[index] += pod.gpu_watts / len(pod.gpus)
        idle_watts = node.figures[NODE_CPU_IDLE_WATTS]
        for energy, watts in zip(node.gpu, gpu_watts, strict=True):
            energy.add(watts, seconds)
        node.idle.add(idle_watts, seconds)
        node.active.add(active_watts + (node.spike_watts if now < node.spike_until else 0.0), seconds)
        node.watts = idle_watts + active_watts + sum(gpu_watts)
        node.wall_watts = (node.watts + node.figures[NODE_OTHER_WATTS]) / SUPPLY_EFFICIENCY

    def _meters(self) -> Iterable[Energy]:
        for pod in self.pods.values():
            yield from (pod.cpu, pod.gpu)
        for node in self.nodes.values():
            yield from (node.active, node.idle, *node.gpu)

    def reset_counters(self, namespace: str) -> None:
        """Sets the pods' joules of a namespace back to zero, as Kepler may without a restart."""
        for pod in self.pods.values():
            if pod.namespace == namespace:
                pod.cpu, pod.gpu = Energy(), Energy()


def _runs(status: Object) -> bool:
    containers = cast("list[Object]", status.get("containerStatuses") or [])
    return any("running" in one.get("state", {}) for one in containers)
