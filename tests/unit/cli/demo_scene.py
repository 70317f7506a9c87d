"""What tests of the demo share: how long a day is, what a moment looks like, and pods of their own."""

from __future__ import annotations

from rich.console import Console

from wattkeeper.api.admission import POWER_GATE, PREDICTED_WATTS_ANNOTATION
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.cli.demo_view import DayLog, screen
from wattkeeper.cluster.objects import Container, Pod, PodSpec, Resources, SchedulingGate
from wattkeeper.simulation.story import NAMESPACE
from wattkeeper.simulation.world import World

SECONDS = 900


def drawn(world: World, log: DayLog, width: int, height: int) -> str:
    console = Console(width=width, height=height, force_terminal=False)
    with console.capture() as capture:
        console.print(screen(world, log, width=width, height=height))
    return capture.get()


def made(world: World, name: str, *, gated: bool) -> None:
    """Makes a pod of chat, a minute into the day."""
    pod = Pod(
        metadata=ObjectMeta(
            name=name,
            namespace=NAMESPACE,
            labels={"app": "chat"},
            annotations={PREDICTED_WATTS_ANNOTATION: "2660"},
            creation_timestamp="2026-03-02T07:01:00Z",
        ),
        spec=PodSpec(
            scheduling_gates=(SchedulingGate(name=POWER_GATE),) if gated else (),
            containers=(Container(name="server", resources=Resources(requests={"cpu": "9500m", "memory": "20Gi"})),),
        ),
    )
    world.cluster.create(pod)
