"""Events of migrations: on the migration for each of its phases, on the recommendation where none is begun."""

from __future__ import annotations

from wattkeeper.api.power_migration import PowerMigration
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.cluster.interface import EventRecord


def phase_begun(regarding: PowerMigration, phase: str, message: str, *, warns: bool) -> EventRecord:
    """A migration is in another phase, or waits for something else in the same."""
    return EventRecord(
        regarding=regarding,
        type="Warning" if warns else "Normal",
        reason=f"Migration{phase}",
        action="Migrate",
        note=message,
        dedupe_key=f"migration/{phase}/{message}",
    )


def begun(regarding: PowerRecommendation, new: PowerMigration) -> EventRecord:
    """A migration was made."""
    pod, budget = new.spec.pod, new.spec.budget
    return EventRecord(
        regarding=regarding,
        type="Normal",
        reason="MigrationBegun",
        action="Migrate",
        note=f"PowerBudget {budget} is nearly used up: PowerMigration {new.metadata.name} moves pod {pod.name} away "
        f"from {pod.node}.",
        dedupe_key=f"migration-begun/{new.metadata.name}",
    )


def migration_refused(regarding: PowerRecommendation, reason: str, message: str) -> EventRecord:
    """A pod could move, and no migration is begun."""
    return EventRecord(
        regarding=regarding,
        type="Warning",
        reason="MigrationRefused",
        action="Migrate",
        note=message,
        dedupe_key=f"migration-refused/{reason}",
    )
