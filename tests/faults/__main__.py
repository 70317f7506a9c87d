"""`python -m tests.faults --seeds 200 --first 1`: runs seeds, one after the other, and says which failed and how."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tests.faults.run import Report, run_seed

# What the table shows, by the names under which runs count.
_FIGURES = (
    ("steps", "simulated seconds, each checked"),
    ("faults", "faults injected"),
    ("processes killed", "processes killed"),
    ("API calls that failed", "API calls that failed, or whose answer was lost"),
    ("new leaders", "new leaders of a Lease"),
    ("decisions", "decisions"),
    ("gates opened", "pods let out of the gate"),
    ("scaled by autoscaler", "times that an autoscaler scaled"),
    ("scaled by user", "times that a user scaled"),
    ("set_brake", "brakes put on or taken off"),
    ("apply_scaled_object", "ScaledObjects written"),
    ("set_replica_fields", "writes of bounds of KServe's services"),
    ("seconds as users had it", "seconds that a KServe service was seen restored, without its policy"),
    ("set_deletion_cost", "deletion costs written"),
    ("evict", "evictions"),
    ("evict refused", "evictions that a PodDisruptionBudget refused"),
    ("kept by a PodDisruptionBudget", "times that one kept a pod, which nobody asked to evict then"),
    ("groups counted", "groups of pods on nodes, each counted as a replica in a decision"),
    ("create_migration", "migrations begun"),
    ("migrations Succeeded", "of these ended well"),
    ("migrations Failed", "of these rolled back, or not begun at all"),
    ("seconds over a budget", "seconds over a budget, after cuts and corrections"),
)


def main() -> int:
    """Returns the exit code: 1 where an invariant was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seeds", type=_positive, default=20, help="how many seeds to run (20)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (1)")
    asked = parser.parse_args()
    console = Console(highlight=False)
    reports: list[Report] = []
    began = time.monotonic()
    columns = TextColumn("seed {task.fields[seed]}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=asked.seeds, seed=asked.first)
        for seed in range(asked.first, asked.first + asked.seeds):
            progress.update(task, seed=seed)
            report = run_seed(seed)
            reports.append(report)
            if report.breaches:
                console.print(_told(report), soft_wrap=True, markup=False)
            progress.advance(task)
            done = len(reports)
            if not console.is_terminal and done % 10 == 0 and done < asked.seeds:
                console.print(f"{done} of {asked.seeds} seeds, {time.monotonic() - began:.0f} s")
    console.print(_table(reports, time.monotonic() - began))
    failed = [str(report.seed) for report in reports if report.breaches]
    if failed:
        console.print(f"Failed: seeds {', '.join(failed)}. Replay one with: make faults N=1 SEED={failed[0]}")
    return 1 if failed else 0


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def _told(report: Report) -> str:
    lines = [f"Seed {report.seed} breaks invariants. Replay it with: make faults N=1 SEED={report.seed}"]
    lines += [f"  after {one.at:.0f} s: {one.invariant}: {one.why}" for one in report.breaches]
    lines += ["  Its schedule:", *(f"    {fault}" for fault in report.schedule)]
    return "\n".join(lines)


def _table(reports: list[Report], seconds: float) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(justify="right")
    table.add_column()
    counts: Counter[str] = Counter()
    for report in reports:
        counts.update(report.counts)
    broken = sum(bool(report.breaches) for report in reports)
    table.add_row(f"{len(reports):,}", f"seeds in {seconds:,.0f} s, {broken} of which broke an invariant")
    for name, text in _FIGURES:
        table.add_row(f"{counts[name]:,}", text)
    return table


if __name__ == "__main__":
    sys.exit(main())
