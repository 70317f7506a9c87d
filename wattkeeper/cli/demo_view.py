"""What the demo shows while a day runs: a clock, alerts, budgets as bars, services, new pods, reasons, and a log."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_migration import FINISHED, PowerMigration
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.cli.demo_pods import PodNews, pod_rows, pods_table
from wattkeeper.cluster.interface import EventRecord
from wattkeeper.cluster.objects import Deployment, Pod
from wattkeeper.simulation.story import LIMIT_WATTS, NAMESPACE, SERVICES, Happening
from wattkeeper.simulation.world import World

_MOST_LINES = 200
_NARROW_COLUMNS = 100
_MOST_PODS = 5
# Measured, reserved beyond that, free, and the limit.
_BAR = ("█", "▒", "─", "┃")
_ASCII_BAR = ("#", "=", "-", "|")
# What the actuator's Events say that it did.
_ACTUATOR = ("Brake", "Kill")
_REASONS = {
    "DemandMet": ("green", "demand met"),
    "BudgetBinds": ("yellow", "budget binds"),
    "FloorHeld": ("red", "floor held"),
    "ReadingsStale": ("magenta", "readings stale"),
    "DemandUnknown": ("magenta", "demand unknown"),
    "WarmingUp": ("cyan", "warming up"),
    "Uncapped": ("green", "uncapped"),
}


def clock_text(hour: float) -> str:
    """Returns an hour of the day as people write it.

    >>> clock_text(12.5)
    '12:30'
    """
    minutes = int(hour * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetRow:
    """One budget now, in watts."""

    name: str
    limit: float
    guarded: float
    wall: float
    readings: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceRow:
    """One service now; -1 where nothing is known yet."""

    name: str
    model: str
    demand: int
    granted: int
    ready: int
    loading: int
    draining: int
    waiting: int
    reason: str
    braked: bool = False


class DayLog:
    """Collects what happens in a world, as lines with the day's clock."""

    def __init__(self) -> None:
        self.lines: deque[tuple[str, str, str]] = deque(maxlen=_MOST_LINES)
        self._grants: dict[str, tuple[int, str]] = {}
        self._events: dict[tuple[str, str], int] = {}
        self._pods = PodNews()
        # What active alerts say, by fingerprint, the oldest first.
        self.alerts: dict[str, str] = {}

    def tell(self, world: World, happening: Happening) -> None:
        """Takes in what the story does."""
        self._add(world, "bold cyan", happening.text)

    def look(self, world: World) -> list[tuple[str, str, str]]:
        """Takes in what has changed, and returns the new lines: (clock, style, text)."""
        before = list(self.lines)
        for service in service_rows(world):
            old = self._grants.get(service.name)
            self._grants[service.name] = (service.granted, service.reason)
            if old is None or old == self._grants[service.name] or old[0] < 0:
                continue
            self._say_grant(world, service, old)
        for text in self._pods.look(world):
            self._add(world, "blue", text)
        for seen in world.cluster.events:
            key = (seen.record.regarding.metadata.uid, seen.record.dedupe_key)
            if seen.record.action == "Alert":
                if seen.count > self._events.get(key, 0):
                    self._say_alert(world, seen.record)
            elif key not in self._events:
                self._say_event(world, seen.record)
            self._events[key] = seen.count
        return [line for line in self.lines if line not in before]

    def _say_grant(self, world: World, service: ServiceRow, old: tuple[int, str]) -> None:
        style, reason = _REASONS.get(service.reason, ("", service.reason))
        if service.granted != old[0] and service.reason != "DemandMet":
            text = f"{service.name}: {old[0]} -> {service.granted} replicas, {reason}, demand {service.demand}"
            self._add(world, style, text)
        elif service.reason != old[1]:
            text = f"{service.name}: {reason}, {service.granted} of {service.demand} replicas"
            self._add(world, style, text)

    def _say_event(self, world: World, record: EventRecord) -> None:
        """Takes in an Event. What the scaler says of services is told by their rows, what the actuator does is not."""
        name, note = record.regarding.metadata.name, record.note
        if isinstance(record.regarding, PowerMigration):
            spec = record.regarding.spec
            name, note = spec.scale_target_ref.name, f"{spec.pod.name} moves away from {spec.budget}: {note}"
        elif isinstance(record.regarding, PowerRecommendation):
            if record.action not in _ACTUATOR:
                return
            name = record.regarding.spec.scale_target_ref.name
        style = "red" if record.type == "Warning" else "green"
        self._add(world, style, f"{name}: {note}")

    def _say_alert(self, world: World, record: EventRecord) -> None:
        """Takes in an Event about an alert: the admission plugin writes one at its beginning, and one at its end."""
        _, fingerprint, state = record.dedupe_key.split("/")
        if state == "firing":
            self.alerts[fingerprint] = record.note
            self._add(world, "bold red", f"alert: {record.note}")
        else:
            self.alerts.pop(fingerprint, None)
            self._add(world, "bold green", f"alert over: {record.note.removeprefix('Over: ')}")

    def _add(self, world: World, style: str, text: str) -> None:
        self.lines.append((clock_text(world.story.hour_at(world.seconds())), style, text))


def budget_rows(world: World) -> Iterator[BudgetRow]:
    """Yields budgets as they stand."""
    watts, limits = world.ledger.domain_watts(), world.ledger.limit_watts()
    for row, name in enumerate(world.ledger.budgets):
        budget = world.cluster.view.get(PowerBudget, "", name)
        status = budget.status if budget else None
        yield BudgetRow(
            name=name,
            limit=float(limits[row]),
            guarded=status.guarded_watts if status and status.last_evaluated else math.nan,
            wall=float(watts[row]),
            readings=status.readings if status else "",
        )


def service_rows(world: World) -> Iterator[ServiceRow]:
    """Yields services as they stand."""
    rows = world.twin.rows
    for row, service in enumerate(SERVICES):
        deployment = world.cluster.view.get(Deployment, NAMESPACE, service.name)
        advice = world.cluster.view.get(PowerRecommendation, NAMESPACE, f"deployment-{service.name}")
        status = advice.status if advice else None
        mine = rows.service == row
        yield ServiceRow(
            name=service.name,
            model=f"{service.model.name} ({service.model.gpus} GPU)",
            demand=status.uncapped_target.replicas if status and status.uncapped_target else -1,
            granted=status.target.replicas if status and status.mode else -1,
            ready=deployment.status.ready_replicas if deployment else 0,
            loading=int((mine & rows.loading).sum()),
            draining=int((mine & ~rows.loading & ~rows.serving).sum()),
            waiting=round(world.twin.serving.waiting(row)),
            reason=status.reason if status else "WarmingUp",
            braked=bool(status and status.actuation and status.actuation.brake),
        )


def screen(world: World, log: DayLog, *, width: int, height: int, ascii_only: bool = False) -> RenderableType:
    """Draws one moment for a terminal of so many columns and lines."""
    story = world.story
    hour = story.hour_at(world.seconds())
    title = Text.assemble(
        ("Wattkeeper", "bold"),
        "  ",
        (clock_text(hour), "bold reverse"),
        f"  traffic x{story.time_scale:g}  ",
        _alerts(log),
    )
    title.truncate(width - 4, overflow="ellipsis")
    budgets, services = _budgets(world, width, ascii_only=ascii_only), _services(world, width)
    moving = moves(world)
    for line in moving:
        line.truncate(width - 4, overflow="ellipsis")
    parts: list[RenderableType] = [title, Rule(style="dim"), budgets, Rule(style="dim"), services, *moving]
    parts.append(Rule(style="dim"))
    # The title, three rules, two headings; then the border, and the line below that keeps a terminal from scrolling.
    left = height - (6 + len(world.ledger.budgets) + len(SERVICES) + len(moving)) - 3
    pods = pod_rows(world, min(left // 3, _MOST_PODS))
    if pods:
        parts += [pods_table(pods, wide=width >= _NARROW_COLUMNS), Rule(style="dim")]
        left -= len(pods) + 2
    parts.append(_log(log, lines=max(left, 1), width=width, ascii_only=ascii_only))
    return Panel(Group(*parts), border_style="blue", height=height - 1)


def _alerts(log: DayLog) -> Text:
    if not log.alerts:
        return Text("no alerts", style="dim")
    count, first = len(log.alerts), next(iter(log.alerts.values()))
    said = first.partition(". ")[0]
    return Text.assemble((f" {count} alert{'s' if count > 1 else ''} ", "bold white on red"), (f" {said}", "red"))


def _budgets(world: World, width: int, *, ascii_only: bool) -> Table:
    wide = width >= _NARROW_COLUMNS
    table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
    table.add_column("budget", no_wrap=True)
    table.add_column("wall, guarded, limit", no_wrap=True)
    for name in ("wall", "guarded", "limit kW"):
        table.add_column(name, justify="right", no_wrap=True)
    if wide:
        table.add_column("readings", no_wrap=True)
    # What the other columns and the borders leave.
    cells = width - (57 if wide else 42)
    for row in budget_rows(world):
        over = row.wall > row.limit
        shown: list[RenderableType] = [
            row.name,
            _bar(row, cells, _ASCII_BAR if ascii_only else _BAR),
            Text(f"{row.wall / 1000:.1f}", style="bold red" if over else "bold"),
            "-" if math.isnan(row.guarded) else f"{row.guarded / 1000:.1f}",
            f"{row.limit / 1000:.1f}",
        ]
        if wide:
            shown.append(Text(row.readings or "-", style="" if row.readings in ("", "Fresh") else "magenta"))
        table.add_row(*shown)
    return table


def _bar(row: BudgetRow, cells: int, marks: tuple[str, str, str, str]) -> Text:
    """Draws watts from 0 to a bit above the story's highest limit: measured, reserved on top, free, and the limit."""
    measured, reserved, free, limit = marks
    scale = cells / (1.05 * LIMIT_WATTS)
    wall, ends, mark = (
        min(round(watts * scale), cells) for watts in (row.wall, _at_least(row.guarded, row.wall), row.limit)
    )
    text = Text(no_wrap=True)
    for cell in range(cells):
        if cell == mark:
            text.append(limit, style="bold white")
        elif cell < wall:
            text.append(measured, style="red" if cell > mark else "green")
        elif cell < ends:
            text.append(reserved, style="red" if cell > mark else "yellow")
        else:
            text.append(free, style="dim")
    return text


def _at_least(watts: float, least: float) -> float:
    return least if math.isnan(watts) else max(watts, least)


def _services(world: World, width: int) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
    table.add_column("service", no_wrap=True)
    if width >= _NARROW_COLUMNS:
        table.add_column("model", no_wrap=True)
    for name in ("demand", "granted", "ready", "load", "drain", "queue"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why", no_wrap=True, ratio=1)
    for row in service_rows(world):
        style, reason = _REASONS.get(row.reason, ("", row.reason))
        counts = (row.demand, row.granted, row.ready, row.loading, row.draining, row.waiting)
        cells = [Text(row.name, style="bold")]
        if width >= _NARROW_COLUMNS:
            cells.append(Text(row.model, style="dim"))
        cells += [Text("-" if count < 0 else f"{count:,}", style="" if count else "dim") for count in counts]
        if row.braked:
            style, reason = "bold red", f"braked, {reason}"
        table.add_row(*cells, Text(f"  {reason}", style=style))
    return table


def moves(world: World) -> list[Text]:
    """Returns a line for each pod that is being moved: which, from where to where, and how far it is."""
    lines: list[Text] = []
    for one in world.cluster.view.all(PowerMigration).values():
        if one.status.phase in FINISHED:
            continue
        old, new = one.spec.pod, one.status.new_pod
        made = None if new is None else world.cluster.view.get(Pod, one.metadata.namespace, new.name)
        to = "?" if made is None else made.spec.node_name or "at the gate"
        what = (f"moves  {old.name}  {old.node} -> {to}  ", "bold")
        lines.append(Text.assemble(what, (one.status.phase or "Pending", "bold cyan")))
    return lines


def _log(log: DayLog, *, lines: int, width: int, ascii_only: bool) -> Text:
    text = Text(no_wrap=True)
    cut = "~" if ascii_only else "…"
    for clock, style, line in list(log.lines)[-lines:]:
        room = width - 12
        text.append(f"{clock}  ", style="dim")
        text.append(f"{line if len(line) <= room else line[: room - 1] + cut}\n", style=style)
    return text


def plain_line(clock: str, text: str) -> str:
    """Returns a line for where there is no terminal, safe against markup."""
    return f"{clock}  {escape(text)}"
