"""`wattkeeper demo`: a power budget being kept, without a cluster."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn

from wattkeeper.cli.demo_actuator import Actions
from wattkeeper.cli.demo_run import Outcome, Watcher, run_guarded, run_unguarded
from wattkeeper.cli.demo_table import outcome_json, outcome_table
from wattkeeper.cli.demo_view import DayLog, clock_text, plain_line, screen
from wattkeeper.simulation.errors import SimulationError
from wattkeeper.simulation.ledger import Score
from wattkeeper.simulation.story import DAY_HOURS, NODES_PER_RACK, RACKS, SERVICES, Story, plan_story
from wattkeeper.simulation.traffic import read_azure_trace
from wattkeeper.simulation.world import World

# A day in two hours, shown in a minute.
_HOURS = 2.0
_SPEED = 140.0
_FRAME_SECONDS = 0.08


class _NobodyReadsError(Exception):
    """Whoever read the output, such as `head`, has gone."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # Rich exits here. In the middle of a run that would leave connections open, and complaints about them behind.
        try:
            super().on_broken_pipe()
        except SystemExit as error:
            raise _NobodyReadsError from error


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seed", type=click.IntRange(0, 2**31), default=1, show_default=True, help="Another seed, another day.")
@click.option(
    "--trace",
    "traces",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Recorded requests (TIMESTAMP,ContextTokens,GeneratedTokens) for the next service. May be repeated.",
)
@click.option("--plain", is_flag=True, help="Lines instead of a live view, as where there is no terminal.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0.0),
    help=f"Simulated seconds per second of the live view; 0 is as fast as can be computed.  [default: {_SPEED:g}]",
)
@click.option(
    "--hours",
    type=click.FloatRange(0.25, 24.0),
    default=_HOURS,
    show_default=True,
    help=f"Simulated hours into which the day's {DAY_HOURS:g} hours of traffic are pressed.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How the figures are told; with json the day itself goes to stderr.",
)
def demo(seed: int, traces: tuple[Path, ...], plain: bool, speed: float | None, hours: float, output: str) -> None:
    """Shows a working day under power budgets, on a simulated cluster.

    The recommender, its gRPC server, KEDA's calls, the power gate, the webhook for new pods, the actuator and alerts
    are the real ones; the cluster, its watts and its requests are simulated. Three services of different priority share
    two racks of H100 servers. At noon the budget of one rack is cut, at one Kepler is lost on the other, and an alert
    says so. At three the other rack gets hot, and a pod moves to the first. At five KEDA cannot reach the scaler, a
    budget is cut, and the actuator brakes. The same day then runs without Wattkeeper, and a table compares.

    \b
    Examples:
      wattkeeper demo                              a day in a minute
      wattkeeper demo --speed 0 -o json            figures only, as fast as possible
      wattkeeper demo --seed 7 --hours 4           another day, pressed less
      wattkeeper demo --trace AzureLLMInferenceTrace_conv.csv --trace AzureLLMInferenceTrace_code.csv
    """  # noqa: D301 - click wants the backspace character itself.
    if len(traces) > len(SERVICES):
        raise click.UsageError(f"there are {len(SERVICES)} services, so at most {len(SERVICES)} traces")
    # Warnings of the service are part of the story and shown as events.
    for room in ("scaler", "kserve_hooks"):
        logging.getLogger(room).setLevel(logging.ERROR)
    console = _Console(highlight=False, stderr=output == "json")
    live = console.is_terminal and not plain
    try:
        story = plan_story(seconds=round(hours * 3600), seed=seed, traces=[read_azure_trace(path) for path in traces])
        outcome = asyncio.run(_run(story, console, live=live, speed=speed))
    except SimulationError as error:
        raise click.ClickException(str(error)) from error
    except _NobodyReadsError:
        raise click.exceptions.Exit(1) from None
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None
    if output == "json":
        click.echo(outcome_json(outcome))
    else:
        console.print(outcome_table(outcome))


async def _run(story: Story, console: Console, *, live: bool, speed: float | None) -> Outcome:
    _introduce(story, console)
    if live:
        guarded, actions = await _live(story, console, _SPEED if speed is None else speed)
    else:
        guarded, actions = await run_guarded(story, _plain(console, speed or 0.0))
    columns = TextColumn("The same day without Wattkeeper"), BarColumn(), TextColumn("{task.percentage:.0f} %")
    with Progress(*columns, console=console, transient=True, disable=not live) as progress:
        task = progress.add_task("", total=story.seconds)

        async def advance(world: World) -> None:
            progress.update(task, completed=world.seconds())

        unguarded = await run_unguarded(story, advance)
    return Outcome(story=story, guarded=guarded, actions=actions, unguarded=unguarded)


def _introduce(story: Story, console: Console) -> None:
    gpus = len(RACKS) * NODES_PER_RACK
    console.print(
        f"{len(SERVICES)} services on {len(RACKS)} racks, {gpus} servers of 8 H100. {DAY_HOURS:g} hours of traffic are "
        f"pressed into {story.seconds / 3600:g} simulated hours (x{story.time_scale:g}); loads, drains and control run "
        f"at their own pace.",
        soft_wrap=True,
    )
    for service, factor in zip(SERVICES, story.factors, strict=True):
        if factor is not None:
            console.print(f"{service.name}: the recorded trace, repeated, not pressed, its requests x{factor:.2f}.")


async def _live(story: Story, console: Console, speed: float) -> tuple[Score, Actions]:
    log = DayLog()
    pace = _Pace(speed)
    with Live(console=console, auto_refresh=False, screen=True, vertical_overflow="crop") as view:

        async def show(world: World) -> None:
            log.look(world)
            if not world.told:
                world.told.append(lambda happening: log.tell(world, happening))
            if pace.due():
                size = console.size
                ascii_only = not console.encoding.lower().startswith("utf")
                now = screen(world, log, width=size.width, height=size.height, ascii_only=ascii_only)
                view.update(now, refresh=True)
            await pace.keep(world)

        outcome = await run_guarded(story, show)
    for clock, style, text in log.lines:
        console.print(plain_line(clock, text), style=style)
    return outcome


def _plain(console: Console, speed: float) -> Watcher:
    log = DayLog()
    pace = _Pace(speed)

    async def show(world: World) -> None:
        if not world.told:
            world.told.append(lambda happening: log.tell(world, happening))
            console.print(f"{clock_text(world.story.hour_at(0.0))}  The day begins")
        log.look(world)
        while log.lines:
            clock, style, text = log.lines.popleft()
            console.print(plain_line(clock, text), style=style, soft_wrap=True)
        await pace.keep(world)

    return show


class _Pace:
    """Keeps a run from being faster than people can follow, and from drawing more often than a screen shows."""

    def __init__(self, speed: float) -> None:
        self._speed = speed if speed > 0 else math.inf
        self._began: float | None = None
        self._drawn = 0.0

    def due(self) -> bool:
        """Says whether it is time to draw."""
        now = time.monotonic()
        if now - self._drawn < _FRAME_SECONDS:
            return False
        self._drawn = now
        return True

    async def keep(self, world: World) -> None:
        """Waits until real time has caught up."""
        now = time.monotonic()
        if self._began is None:
            self._began = now - world.seconds() / self._speed
        ahead = self._began + world.seconds() / self._speed - now
        if ahead > 0:
            await asyncio.sleep(ahead)
        elif -ahead > 1.0:
            self._began -= ahead  # A slow machine tells the story slower, it does not race afterwards.
