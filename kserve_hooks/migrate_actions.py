"""What is done to PowerMigrations, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from kserve_hooks.disruptions import Claim
from wattkeeper.api.power_migration import FINISHED, PowerMigration, PowerMigrationStatus
from wattkeeper.cluster.actuation import FINALIZER
from wattkeeper.cluster.interface import Cluster, View


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateMigration:
    """Make a migration."""

    new: PowerMigration


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldMigration:
    """Set or remove the finalizer of a migration."""

    regarding: PowerMigration
    held: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteMigration:
    """Say how far a migration is.

    Attributes:
        claim: the disruption that begins with it, None where it makes no pod go.
    """

    regarding: PowerMigration
    status: PowerMigrationStatus
    claim: Claim | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteMigration:
    """Delete a migration that has ended."""

    gone: PowerMigration


MigrationWrite = CreateMigration | HoldMigration | WriteMigration | DeleteMigration


def migration_of(action: MigrationWrite) -> PowerMigration:
    """Returns the migration that an action is about, as it was seen or shall be made."""
    match action:
        case CreateMigration(new=one) | DeleteMigration(gone=one):
            return one
        case HoldMigration(regarding=one) | WriteMigration(regarding=one):
            return one


def describe_migration_write(action: MigrationWrite) -> str:
    """Returns what an action does, as a sentence without its end."""
    meta, spec = migration_of(action).metadata, migration_of(action).spec
    name = f"PowerMigration {meta.namespace}/{meta.name}"
    match action:
        case CreateMigration():
            return f"make {name} of pod {spec.pod.name} away from PowerBudget {spec.budget}"
        case HoldMigration(held=held):
            return f"{'keep' if held else 'let go'} {name}"
        case WriteMigration(status=status):
            return f"say on {name}: {status.phase}: {status.message}"
        case DeleteMigration():
            return f"delete {name}, which ended long ago"


def subject_of_migration_write(action: MigrationWrite) -> tuple[str, str]:
    """Returns what an action writes, and the version that it was planned from."""
    meta = migration_of(action).metadata
    if isinstance(action, CreateMigration):
        return f"{meta.namespace}/{meta.name}", "absent"
    return meta.uid, meta.resource_version


def is_migration_write_shown(view: View, action: MigrationWrite) -> bool:
    """Says whether a view shows what an action was to bring about."""
    one = migration_of(action)
    found = view.all(PowerMigration).get(one.metadata.uid)
    match action:
        case CreateMigration():
            return view.get(PowerMigration, one.metadata.namespace, one.metadata.name) is not None
        case HoldMigration(held=held):
            return found is not None and (FINALIZER in found.metadata.finalizers) == held
        case WriteMigration(status=status):
            return found is not None and replace(found.status, reservation=None) == replace(status, reservation=None)
        case DeleteMigration():
            return found is None


async def send_migration_write(cluster: Cluster, action: MigrationWrite) -> None:
    """Does it. Raises ClusterError."""
    match action:
        case CreateMigration(new=new):
            await cluster.create_migration(new)
        case HoldMigration(regarding=one, held=held):
            await cluster.hold_migration(one, held=held)
        case WriteMigration(regarding=one, status=status):
            await cluster.write_migration(one, status)
        case DeleteMigration(gone=one):
            await cluster.delete(one)


def ended_by(action: MigrationWrite) -> tuple[str, str] | None:
    """Returns with which phase and for what reason an action ends a migration, None where it does not."""
    if not isinstance(action, WriteMigration) or action.status.phase not in FINISHED:
        return None
    return action.status.phase, next((one.reason for one in action.status.conditions), "")
