"""What the demo shows of new pods: the requests that the webhook gave them, the watts of each, where they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from wattkeeper.api.admission import POWER_GATE, PREDICTED_WATTS_ANNOTATION
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.api.quantity import parse_quantity
from wattkeeper.cluster.objects import Deployment, Pod, PodTemplate
from wattkeeper.simulation.controllers import is_ready
from wattkeeper.simulation.store import kubernetes_time
from wattkeeper.simulation.story import DAY_BEGINS, NAMESPACE
from wattkeeper.simulation.world import World

_FIRST = kubernetes_time(DAY_BEGINS)
# Figures drift with everything that is learned: what moved by less is no news.
_NEWS_SHARE = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class PodRow:
    """A pod that was made during the day.

    Attributes:
        template_cores, cores: what its Deployment asks for, and what it asks for now.
        memory_bytes: what it asks for; 0 for nothing. No Deployment of the story asks for any.
        watts: what it may draw; 0 while nobody knows.
        state: where it stands, for people.
        gated: it waits for watts.
    """

    name: str
    service: str
    node: str
    template_cores: float
    cores: float
    memory_bytes: float
    watts: float
    state: str
    gated: bool


def pod_rows(world: World, most: int) -> list[PodRow]:
    """Returns the newest pods, those that wait at the gate before all others."""
    pods = [one for one in world.cluster.view.all(Pod).values() if one.metadata.creation_timestamp != _FIRST]
    # Newest first, and among pods of one second the last one made.
    pods.sort(key=lambda pod: (_gated(pod), pod.metadata.creation_timestamp, pod.metadata.uid), reverse=True)
    return [pod_row(world, pod) for pod in pods[:most]]


def pod_row(world: World, pod: Pod) -> PodRow:
    """Returns what there is to show of one pod."""
    service = pod.metadata.labels["app"]
    deployment = world.cluster.view.get(Deployment, NAMESPACE, service)
    return PodRow(
        name=pod.metadata.name,
        service=service,
        node=pod.spec.node_name,
        template_cores=_requested(deployment.spec.template, "cpu") if deployment else 0.0,
        cores=_requested(pod, "cpu"),
        memory_bytes=_requested(pod, "memory"),
        watts=float(pod.metadata.annotations.get(PREDICTED_WATTS_ANNOTATION, "0")),
        state=_state(world, service, pod),
        gated=_gated(pod),
    )


class PodNews:
    """Says what new pods get, once for each service and again when it has changed."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._said: dict[str, tuple[float, float, float]] = {}

    def look(self, world: World) -> list[str]:
        """Returns sentences about pods that came out of the gate since the last look."""
        pods = world.cluster.view.all(Pod)
        self._seen &= pods.keys()
        said: list[str] = []
        for uid, pod in pods.items():
            if uid in self._seen or _gated(pod):
                continue
            self._seen.add(uid)
            row = pod_row(world, pod)
            figures = (row.cores, row.memory_bytes, row.watts)
            if not row.watts or not _differ(self._said.get(row.service), figures):
                continue
            self._said[row.service] = figures
            said.append(f"{row.service}: a new pod, {row.watts:,.0f} W granted, requests {_requests(row)}")
        return said


def pods_table(rows: Sequence[PodRow], *, wide: bool) -> Table:
    """Draws pods."""
    table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
    table.add_column("new pod", no_wrap=True)
    if wide:
        table.add_column("node", no_wrap=True)
    for name in ("cpu", "memory", "watts"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, ratio=1)
    for row in rows:
        cells = [Text(row.name)]
        if wide:
            cells.append(Text(row.node or "-", style="dim"))
        cells += [Text(_cpu(row)), Text(_memory(row)), Text(f"{row.watts:,.0f}" if row.watts else "-")]
        table.add_row(*cells, Text(f"  {row.state}", style="yellow" if row.gated else "green"))
    return table


def _requests(row: PodRow) -> str:
    memory = f", memory {_memory(row)}" if row.memory_bytes else ""
    return f"cpu {_cpu(row)}{memory}"


def _cpu(row: PodRow) -> str:
    if row.cores == row.template_cores:
        return f"{row.cores:g}"
    return f"{row.template_cores:g} -> {row.cores:.3g}"


def _memory(row: PodRow) -> str:
    return f"{row.memory_bytes / 2**30:.0f} GiB" if row.memory_bytes else "-"


def _differ(old: tuple[float, ...] | None, new: tuple[float, ...]) -> bool:
    return old is None or any(
        abs(one - other) > _NEWS_SHARE * max(one, other) for one, other in zip(old, new, strict=True)
    )


def _requested(pod: Pod | PodTemplate, resource: str) -> float:
    requests = pod.spec.containers[0].resources.requests
    return parse_quantity(requests.get(resource, 0))


def _gated(pod: Pod) -> bool:
    return any(gate.name == POWER_GATE for gate in pod.spec.scheduling_gates)


def _state(world: World, service: str, pod: Pod) -> str:
    if _gated(pod):
        advice = world.cluster.view.get(PowerRecommendation, NAMESPACE, f"deployment-{service}")
        waiting = advice.status.waiting_pods if advice else ()
        found = next((one for one in waiting if one.name == pod.metadata.name), None)
        if found is not None and found.budget:
            return f"at the gate: {found.budget} lacks {found.missing_watts:,.0f} W"
        return "at the gate"
    if pod.metadata.deletion_timestamp:
        return "granted, drains"
    if not pod.spec.node_name:
        return "granted, waits for a node"
    return "granted, serves" if is_ready(pod) else "granted, loads"
