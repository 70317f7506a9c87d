"""Requests of a service, second by second: a synthetic working day, or a recorded trace."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from wattkeeper.api.readings import Floats
from wattkeeper.simulation.errors import TraceError

_COLUMNS: Final = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_MOST_ROWS: Final = 5_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """T seconds of arrivals: float64[T] each.

    Attributes:
        requests: that arrive in the second.
        generated_tokens, prompt_tokens: of all of them together.
    """

    requests: Floats
    generated_tokens: Floats
    prompt_tokens: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class DayShape:
    """A working day's traffic.

    Attributes:
        night_share: requests at the day's edges, as a share of the peak.
        peak_requests_per_second: of the plan; bursts go above it.
        bursts: how many in the day, on average.
        burst_share: how much the largest bursts add to the plan.
        generated_tokens, prompt_tokens: means of a request.
    """

    night_share: float
    peak_requests_per_second: float
    bursts: float
    burst_share: float
    generated_tokens: float
    prompt_tokens: float


def working_day(shape: DayShape, *, seconds: int, seed: int, stream: int) -> Traffic:
    """Draws a day of traffic: two humps with a dip at noon, and bursts that fade over some minutes.

    Args:
        shape: what the day is like.
        seconds: how long it takes.
        seed: the same seed draws the same day.
        stream: tells services of one day apart.
    """
    random = np.random.default_rng([seed, 101, stream])
    hour = np.linspace(7.0, 19.0, seconds, endpoint=False)
    humps = np.exp(-(((hour - 10.5) / 1.7) ** 2)) + 0.95 * np.exp(-(((hour - 14.6) / 2.1) ** 2))
    plan = shape.night_share + (1.0 - shape.night_share) * humps / humps.max()
    clock = np.arange(seconds, dtype=np.float64)
    for _ in range(int(random.poisson(shape.bursts))):
        start, height, fades = random.uniform(0, seconds), random.uniform(0.3, 1.0), random.uniform(60.0, 240.0)
        # Rises within half a minute, then fades.
        since = np.maximum(clock - start, 0.0)
        plan = plan * (1.0 + shape.burst_share * height * (1 - np.exp(-since / 15.0)) * np.exp(-since / fades))
    requests: Floats = np.array(random.poisson(plan * shape.peak_requests_per_second), dtype=np.float64)
    # The mean of k requests' lengths varies by 1/sqrt(k): lengths are about exponential.
    spread = 1.0 / np.sqrt(np.maximum(requests, 1.0))
    lengths = np.maximum(random.normal(0.0, 1.0, (2, seconds)) * spread * 0.7 + 1.0, 0.1)
    return Traffic(
        requests=requests,
        generated_tokens=requests * shape.generated_tokens * lengths[0],
        prompt_tokens=requests * shape.prompt_tokens * lengths[1],
    )


def read_azure_trace(path: Path) -> Traffic:
    """Reads a trace in the format of AzurePublicDataset's AzureLLMInferenceTrace_*.csv (2023).

    Raises:
        TraceError: the file cannot be read; the message names line and field.
    """
    try:
        # Spreadsheets write a byte order mark.
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            header = next(rows, list[str]())
            if tuple(name.strip() for name in header[:3]) != _COLUMNS:
                raise TraceError(
                    f"{path}: the first line must name {', '.join(_COLUMNS)}, not {','.join(header)[:80] or 'nothing'}"
                )
            found: list[tuple[float, float, float]] = []
            for row in filter(None, rows):
                if len(found) == _MOST_ROWS:
                    raise TraceError(f"{path} holds more than {_MOST_ROWS} requests: give it a part of them")
                found.append(_parse(path, rows.line_num, row))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"{path} cannot be read: {error}") from error
    if not found:
        raise TraceError(f"{path} holds no requests")
    moments, prompts, generated = (np.array(column, dtype=np.float64) for column in zip(*found, strict=True))
    second = (moments - moments.min()).astype(np.int64)
    length = int(second.max()) + 1
    if length > _MOST_ROWS:
        raise TraceError(f"{path} spans {length} seconds: give it at most {_MOST_ROWS}")
    return Traffic(
        requests=np.bincount(second, minlength=length).astype(np.float64),
        generated_tokens=np.bincount(second, weights=generated, minlength=length).astype(np.float64, copy=False),
        prompt_tokens=np.bincount(second, weights=prompts, minlength=length).astype(np.float64, copy=False),
    )


def _parse(path: Path, number: int, row: list[str]) -> tuple[float, float, float]:
    if len(row) < len(_COLUMNS):
        raise TraceError(f"{path}, line {number}: {len(row)} fields; expected {','.join(_COLUMNS)}")
    try:
        # Ten millionths of a second are too fine for a datetime. Local time would jump where summer time begins.
        moment = datetime.fromisoformat(row[0][:26]).replace(tzinfo=UTC).timestamp()
        prompt, generated = float(row[1]), float(row[2])
    except ValueError as error:
        raise TraceError(f"{path}, line {number}: {error}; expected {','.join(_COLUMNS)}") from error
    if not (0 <= prompt < 1e9 and 0 <= generated < 1e9):
        raise TraceError(f"{path}, line {number}: tokens must be numbers of at least 0")
    return moment, prompt, generated


def fitted(trace: Traffic, *, seconds: int, peak_work_per_second: float, prompt_weight: float) -> tuple[Traffic, float]:
    """Repeats a trace until it is long enough, and multiplies it until its busiest minute is the plan's peak.

    Args:
        trace: as recorded.
        seconds: wanted length.
        peak_work_per_second: generated tokens (prompt tokens weighted) per second that the peak is to be.
        prompt_weight: generated tokens that a prompt token counts as.

    Returns:
        The traffic, and the factor by which it was multiplied.
    """
    rows = np.arange(seconds) % len(trace.requests)
    work = (trace.generated_tokens + prompt_weight * trace.prompt_tokens)[rows]
    minutes = max(seconds // 60, 1)
    busiest = float(np.max([piece.mean() for piece in np.array_split(work, minutes)]))
    factor = peak_work_per_second / busiest if busiest > 0 else 1.0
    return (
        Traffic(
            requests=trace.requests[rows] * factor,
            generated_tokens=trace.generated_tokens[rows] * factor,
            prompt_tokens=trace.prompt_tokens[rows] * factor,
        ),
        factor,
    )
