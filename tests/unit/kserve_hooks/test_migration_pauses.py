"""How long to pause after migrations, and how long to keep them."""

from __future__ import annotations

from kserve_hooks.migrate_pauses import PauseOptions, outdated, paused_until
from wattkeeper.api.instants import format_instant
from wattkeeper.api.meta import ObjectMeta, ScaleTargetRef
from wattkeeper.api.power_migration import PodReference, PowerMigration, PowerMigrationSpec, PowerMigrationStatus

OPTIONS = PauseOptions(first_seconds=300.0, longest_seconds=14_400.0, keep_seconds=86_400.0, keep_count=3)


def over(at: float, phase: str = "Failed") -> PowerMigration:
    return PowerMigration(
        metadata=ObjectMeta(name=f"at-{at:g}"),
        spec=PowerMigrationSpec(
            scale_target_ref=ScaleTargetRef(kind="Deployment", name="chat"),
            pod=PodReference(name="p", uid="u"),
            budget="rack-a",
        ),
        status=PowerMigrationStatus(phase=phase, since=format_instant(at)),
    )


def test_without_a_migration_there_is_no_pause() -> None:
    assert paused_until([], OPTIONS) == 0.0


def test_a_success_forgets_the_failures_before_it() -> None:
    ended = [over(100.0), over(200.0), over(300.0, "Succeeded")]
    assert paused_until(ended, OPTIONS) == 600.0


def test_each_failure_in_a_row_doubles_the_pause_whatever_their_order_in_the_view() -> None:
    ended = [over(300.0), over(100.0, "Succeeded"), over(200.0), over(250.0)]
    assert paused_until(ended, OPTIONS) == 300.0 + 4 * 300.0


def test_no_pause_is_longer_than_four_hours() -> None:
    assert paused_until([over(float(at)) for at in range(40)], OPTIONS) == 39.0 + 14_400.0


def test_the_last_few_are_kept_for_a_day() -> None:
    ended = [over(float(at)) for at in (0, 1, 2, 3)]
    assert [one.metadata.name for one in outdated(ended, OPTIONS, 10.0)] == ["at-0"]
    assert [one.metadata.name for one in outdated(ended, OPTIONS, 86_402.5)] == ["at-2", "at-1", "at-0"]
