"""What the benchmarks must show, and the check that they did: it walks the aims, not the rows that happen to exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.perf.rows import Row


@dataclass(frozen=True, kw_only=True)
class Aim:
    """A figure that must be there and meet the aim that its own row states.

    Attributes:
        bench: module under tests/perf that measures it.
        figure: how the row's name begins and ends, with `...` between.
    """

    bench: str
    figure: str

    def is_about(self, row: Row) -> bool:
        """Says whether this is the row."""
        start, _, end = self.figure.partition("...")
        return row.name.startswith(start) and row.name.endswith(end)


AIMS: Final = (
    Aim(bench="decision", figure="decision, 1,000 nodes...: median"),
    Aim(bench="decision", figure="decision, 10,000 nodes...: median"),
    Aim(bench="informer", figure="informer, 10,000 pods...: memory after 20,000 events"),
    Aim(bench="informer", figure="informer, watch events"),
    Aim(bench="get_metrics", figure="GetMetrics, ...: p99"),
    Aim(bench="admission", figure="pod review over TLS, ...: p99"),
    Aim(bench="actuator", figure="actuator, 1,000 InferenceServices: a cut reconciled"),
    Aim(bench="actuator", figure="actuator, 1,000 InferenceServices: API calls per service"),
    Aim(bench="actuator", figure="actuator, 1,000 InferenceServices: highest memory"),
    Aim(bench="evictions", figure="evictions, 1,000 due, ...: per second"),
    Aim(bench="evictions", figure="evictions, 1,000 due, ...: seconds behind the limit"),
    Aim(bench="evictions", figure="evictions, 1,000 due, ...: slowest pass, processor time"),
    Aim(bench="gate", figure="gate, pods within the grant, ...: p99"),
)


def shortfalls(aims: Sequence[Aim], rows: Mapping[str, Sequence[Row]]) -> list[str]:
    """Returns one sentence per aim that is not met, or whose figure is missing; empty when all is well.

    Args:
        aims: what must hold.
        rows: what each benchmark reported.
    """
    found: list[str] = []
    for aim in aims:
        about = [row for row in rows.get(aim.bench, ()) if aim.is_about(row)]
        if not about:
            found.append(f"{aim.bench}: no figure '{aim.figure}' was reported")
        for row in about:
            if row.met is None:
                found.append(f"{aim.bench}: {row.name} states no aim")
            elif not row.met:
                found.append(f"{aim.bench}: {row.name} is {row.value:g} {row.unit}, the aim is {row.aim}")
    return found
