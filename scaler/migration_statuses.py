"""What PowerMigrations are told about their watts, and what recommendations say of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec.structs import replace

from scaler.gate_statuses import watts_moved
from wattkeeper.api.conditions import Finding
from wattkeeper.api.instants import parse_instant
from wattkeeper.api.power_migration import FINISHED, PowerMigration, PowerMigrationStatus, Reservation
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.interface import View
from wattkeeper.recommender.result import Refusal, StepResult

SHOWN_SECONDS: Final = 600.0
"""How long a recommendation says why a migration had no watts that has ended."""


def wanted_migrations(result: StepResult, view: View) -> Iterator[tuple[PowerMigration, PowerMigration]]:
    """Yields each migration that asks for watts, as it is and as it shall be: with the leader's part of the status."""
    for row, key in enumerate(result.migrations.keys):
        before = view.get(PowerMigration, key.namespace, key.name)
        if before is not None and before.metadata.uid == key.uid:
            status = PowerMigrationStatus(reservation=_reservation(result, row, before))
            yield before, replace(before, status=status)


def migration_findings(result: StepResult, view: View) -> Mapping[ServiceKey, Finding]:
    """Returns what recommendations say about migrations, for services that have any.

    What is under way counts, then what has ended lately: a migration that is refused is over before anybody looks.
    """
    answers = {after.metadata.uid: after.status.reservation for _, after in wanted_migrations(result, view)}
    found: dict[ServiceKey, tuple[tuple[bool, bool, str, str], Reservation]] = {}
    for one in view.all(PowerMigration).values():
        said = answers.get(one.metadata.uid, one.status.reservation)
        under_way = one.status.phase not in FINISHED
        if said is None or not (under_way or result.now - (parse_instant(one.status.since) or 0.0) < SHOWN_SECONDS):
            continue
        meta, target = one.metadata, one.spec.scale_target_ref
        rank = under_way, under_way and said.state == "Reserved", meta.creation_timestamp, meta.name
        key = ServiceKey(meta.namespace, target.kind, target.name)
        if key not in found or rank > found[key][0]:
            found[key] = rank, said
    return {key: _finding(said) for key, (_, said) in found.items()}


def _finding(said: Reservation) -> Finding:
    blocked = said.state == "Refused"
    return Finding(
        type="MigrationBlocked",
        holds=blocked,
        reason=said.state,
        message=f"No pod can move: {said.message}" if blocked else "",
    )


def _reservation(result: StepResult, row: int, before: PowerMigration) -> Reservation:
    moves = result.migrations
    refusal, binding = Refusal(int(moves.refusal[row])), int(moves.binding[row])
    budget = result.plan.domains[binding] if binding >= 0 else ""
    watts = float(round(float(moves.missing_watts[row])))
    said = before.status.reservation
    # Watts follow the model a little every tick: a figure that is still about right stands.
    if said is not None and said.budget == budget and not watts_moved(said.missing_watts, watts):
        watts = said.missing_watts
    replicas = int(moves.replicas[row])
    reserved = refusal is Refusal.NONE
    return Reservation(
        state="Reserved" if reserved else "Refused",
        replicas=replicas,
        message=f"Watts for {replicas} replicas are reserved." if reserved else _why(refusal, before, budget, watts),
        budget=budget,
        missing_watts=watts,
    )


def _why(refusal: Refusal, migration: PowerMigration, binding: str, watts: float) -> str:
    """Returns why a migration has no watts, with what would help."""
    target, left = migration.spec.scale_target_ref, f"PowerBudget {migration.spec.budget}"
    name = f"{target.kind} {target.name}"
    match refusal:
        case Refusal.UNKNOWN_SERVICE:
            return f"Nothing is recommended for {name}: it does not exist, or no PowerCappingPolicy selects it."
        case Refusal.UNKNOWN_BUDGET:
            return f"There is no {left}."
        case Refusal.NO_GATE:
            return (
                f"New pods of {name} do not wait at the power gate, so nothing keeps them off the nodes of {left}: "
                "it takes a policy that enforces, and the label wattkeeper.dev/admission=enabled on the namespace."
            )
        case Refusal.GROUPS:
            return f"A replica of {name} has several pods, which cannot be kept off the nodes of {left}."
        case Refusal.NOWHERE_ELSE:
            return f"{name} can run on no node outside of {left}."
        case Refusal.ANOTHER_FIRST:
            return f"Another migration of {name} goes first."
        case Refusal.ROLLS:
            return f"{name} is in the middle of a rollout, which moves its pods anyhow."
        case Refusal.NOTHING_GRANTED:
            return f"{name} is granted no replica."
        case Refusal.ABOVE_GRANT:
            return f"More replicas of {name} run than are granted: some are about to go."
        case Refusal.READINGS_STALE:
            return "Power readings are too old to start anything: see the budgets' TelemetryStale."
        case Refusal.OVER_LIMIT:
            return f"{left} is over its limit: it sheds first."
        case Refusal.LACKS_WATTS:
            return f"One replica more needs {watts:,.0f} W more in PowerBudget {binding}."
        case _:
            where = f" in PowerBudget {binding}" if binding else ""
            return f"Others are about to get the watts that one replica more needs{where}."
