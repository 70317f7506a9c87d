"""Draws README's picture: the demo's screen at some moment of the day, and its closing table.

Run by `make picture`. The same seed gives the same picture.
"""

from __future__ import annotations

import asyncio
import io
import logging
from pathlib import Path

from rich.console import Console, RenderableType
from rich.terminal_theme import MONOKAI

from wattkeeper.cli.demo_run import Outcome, run_guarded, run_unguarded
from wattkeeper.cli.demo_table import outcome_table
from wattkeeper.cli.demo_view import DayLog, moves, screen
from wattkeeper.simulation.story import plan_story
from wattkeeper.simulation.world import World

TARGET = Path(__file__).resolve().parents[1] / "docs" / "images" / "demo.svg"
# A rack is hot from then on: the picture is of the first moment at which a pod moves.
SINCE_HOUR = 15.0
COLUMNS, LINES = 112, 30
# Rich's own frame, without the web font that it would load from elsewhere.
FRAME = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px;
  line-height: {line_height}px; font-variant-east-asian: full-width; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


async def _pictures() -> tuple[RenderableType, Outcome]:
    story = plan_story(seconds=7200, seed=1, traces=[])
    log = DayLog()
    taken: list[RenderableType] = []

    async def watch(world: World) -> None:
        if not world.told:
            world.told.append(lambda happening: log.tell(world, happening))
        log.look(world)
        if not taken and story.hour_at(world.seconds()) >= SINCE_HOUR and moves(world):
            taken.append(screen(world, log, width=COLUMNS, height=LINES))

    async def nothing(world: World) -> None:
        del world

    guarded, actions = await run_guarded(story, watch)
    unguarded = await run_unguarded(story, nothing)
    if not taken:
        raise SystemExit(f"no pod moves after {SINCE_HOUR:g}:00: the story has changed, choose another moment")
    return taken[0], Outcome(story=story, guarded=guarded, actions=actions, unguarded=unguarded)


def main() -> None:
    """Writes the picture."""
    for room in ("scaler", "kserve_hooks"):
        logging.getLogger(room).setLevel(logging.ERROR)
    moment, outcome = asyncio.run(_pictures())
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print("$ wattkeeper demo", style="bold")
    console.print(moment)
    console.print(outcome_table(outcome))
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(console.export_svg(title="wattkeeper demo", theme=MONOKAI, code_format=FRAME, unique_id="demo"))
    print(TARGET)


if __name__ == "__main__":
    main()
