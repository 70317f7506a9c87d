"""The demo's result: what Wattkeeper kept, and what that cost, against the same day without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from rich.table import Table

from wattkeeper.cli.demo_run import Outcome
from wattkeeper.simulation.ledger import Score, Shed
from wattkeeper.simulation.story import SERVICES

Row = tuple[str, Callable[[Score], str]]

_CAPTION = (
    "Violation: energy drawn beyond a budget, as a share of what it allows; a cut that is followed within the budget's "
    "shedSeconds is told apart. Goodput: tokens of requests that finished in time, of those offered. Joules per token: "
    "all that the servers draw, idle or not, over tokens in time."
)


def outcome_table(outcome: Outcome) -> Table:
    """Returns the table; the same seed and arguments give the same one."""
    table = Table(
        title="The same day, with and without Wattkeeper",
        title_justify="left",
        header_style="bold",
        caption=_CAPTION,
        caption_justify="left",
    )
    table.add_column("")
    table.add_column("without", justify="right")
    table.add_column("with", justify="right", style="bold")
    power: tuple[Row, ...] = (
        ("watt-seconds over budget", lambda score: f"{score.over_joules:,.0f}"),
        ("seconds over budget", lambda score: f"{score.over_seconds:,.0f}"),
        ("worst overshoot", lambda score: f"{score.worst_over_watts:,.0f} W ({score.worst_over_share:.1%})"),
        *((f"violation of {name}", _violation_of(row)) for row, name in enumerate(_budgets(outcome))),
        ("from the cut until inside", lambda score: "; ".join(map(_shed, score.sheds)) or "-"),
    )
    tokens: tuple[Row, ...] = tuple(
        (f"goodput of {service.name} (priority {service.priority})", _goodput_of(row))
        for row, service in enumerate(SERVICES)
    )
    totals: tuple[Row, ...] = (
        ("goodput", lambda score: f"{score.goodput:.1%}"),
        ("tokens offered", lambda score: f"{score.offered_tokens / 1e6:,.1f} M"),
        ("tokens in time", lambda score: f"{score.good_tokens / 1e6:,.1f} M"),
        ("energy at the wall", lambda score: f"{score.energy_joules / 3.6e6:,.1f} kWh"),
        ("joules per token", lambda score: f"{score.joules_per_token:.3f}"),
    )
    for section in (power, tokens, totals):
        for name, figure in section:
            table.add_row(name, figure(outcome.unguarded), figure(outcome.guarded))
        table.add_section()
    actions = outcome.actions
    table.add_row("pods moved to the other rack", "-", f"{actions.moved}")
    table.add_row("moves given up", "-", f"{actions.not_moved}")
    table.add_row("services braked without the scaler", "-", f"{actions.brakes}")
    return table


def outcome_json(outcome: Outcome) -> str:
    """Returns the same as JSON, in base units."""
    story = outcome.story
    document = {
        "seed": story.seed,
        "simulated_seconds": story.seconds,
        "traffic_time_scale": story.time_scale,
        "trace_factors": dict(zip((one.name for one in SERVICES), story.factors, strict=True)),
        "without": _plain(outcome.unguarded),
        "with": _plain(outcome.guarded),
        "actions": asdict(outcome.actions),
    }
    return json.dumps(document, indent=2)


def _goodput_of(row: int) -> Callable[[Score], str]:
    def figure(score: Score) -> str:
        service = score.services[row]
        return f"{service.good_tokens / service.offered_tokens:.1%}" if service.offered_tokens else "-"

    return figure


def _budgets(outcome: Outcome) -> list[str]:
    return [one.budget for one in outcome.guarded.domains]


def _violation_of(row: int) -> Callable[[Score], str]:
    return lambda score: f"{score.domains[row].violation:.3%}"


def _shed(shed: Shed) -> str:
    return "never" if shed.seconds is None else f"{shed.seconds:,.0f} s, {shed.over_joules:,.0f} Ws"


def _plain(score: Score) -> dict[str, Any]:
    return {
        "over_budget_joules": round(score.over_joules, 3),
        "over_budget_seconds": score.over_seconds,
        "worst_overshoot_watts": round(score.worst_over_watts, 3),
        "worst_overshoot_share": round(score.worst_over_share, 6),
        "budgets": {
            one.budget: {
                "over_budget_joules": round(one.over_joules, 3),
                "budget_joules": round(one.limit_joules, 3),
                "violation_share": round(one.violation, 9),
            }
            for one in score.domains
        },
        "cuts": [
            {
                "budget": shed.budget,
                "at_seconds": shed.at_seconds,
                "seconds_until_inside": shed.seconds,
                "over_budget_joules": round(shed.over_joules, 3),
            }
            for shed in score.sheds
        ],
        "goodput": round(score.goodput, 6),
        "joules_per_token": round(score.joules_per_token, 6),
        "energy_joules": round(score.energy_joules, 3),
        "services": {
            service.name: {
                "offered_tokens": round(service.offered_tokens, 3),
                "good_tokens": round(service.good_tokens, 3),
                "late_tokens": round(service.late_tokens, 3),
                "failed_tokens": round(service.failed_tokens, 3),
            }
            for service in score.services
        },
    }
