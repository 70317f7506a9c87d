"""Traffic: drawn days and recorded traces."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from wattkeeper.simulation import traffic
from wattkeeper.simulation.errors import TraceError
from wattkeeper.simulation.traffic import DayShape, Traffic, fitted, read_azure_trace, working_day

SHAPE = DayShape(
    night_share=0.3,
    peak_requests_per_second=50,
    bursts=4,
    burst_share=0.3,
    generated_tokens=200,
    prompt_tokens=800,
)


def test_the_same_seed_draws_the_same_day_and_services_differ() -> None:
    one, same, other = (working_day(SHAPE, seconds=600, seed=3, stream=stream) for stream in (0, 0, 1))

    assert np.array_equal(one.generated_tokens, same.generated_tokens)
    assert not np.array_equal(one.requests, other.requests)


def test_a_day_is_busier_at_its_peak_than_at_its_edges() -> None:
    day = working_day(SHAPE, seconds=7200, seed=1, stream=0)

    assert day.requests[1900:2300].mean() > 2 * day.requests[:400].mean()
    assert day.generated_tokens.sum() / day.requests.sum() == pytest.approx(200, rel=0.05)


def test_an_azure_trace_is_counted_by_the_second(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:15:46.6805900,374,44\n"
        "2023-11-16 18:15:47.1,10,5\n"
        "2023-11-16 18:15:49.0000000,1,2\n"
    )
    trace = read_azure_trace(path)

    assert trace.requests.tolist() == [2, 0, 1]
    assert trace.generated_tokens.tolist() == [49, 0, 2]
    assert trace.prompt_tokens.tolist() == [384, 0, 1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "first line must name"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "holds no requests"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,many,4\n", "line 2"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,4\n", "line 2"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1\n", "line 2: 2 fields"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n\n2023-11-16 18:15:46,x,1\n", "line 3"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1,-4\n", "at least 0"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,nan,4\n", "at least 0"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2003-11-16 18:15:46,1,4\n2023-11-16 18:15:46,1,4\n", "spans"),
    ],
)
def test_a_file_that_is_no_trace_is_refused_with_where(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(TraceError, match=why):
        read_azure_trace(path)


def test_a_byte_order_mark_and_blank_lines_are_no_fault_of_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("\ufeffTIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46,374,44\r\n\r\n", newline="")

    assert read_azure_trace(path).generated_tokens.tolist() == [44]


def test_a_trace_that_is_too_long_is_refused_instead_of_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "_MOST_ROWS", 2)
    path = tmp_path / "trace.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "2023-11-16 18:15:46,374,44\n" * 3)
    with pytest.raises(TraceError, match="more than 2 requests"):
        read_azure_trace(path)


def test_summer_time_makes_no_gap_in_a_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    path = tmp_path / "trace.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2024-03-31 01:59:59,374,44\n2024-03-31 03:00:00,374,44\n")
    try:
        assert len(read_azure_trace(path).requests) == 3602
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_trace_is_repeated_and_its_busiest_minute_becomes_the_plans_peak() -> None:
    trace = Traffic(requests=np.ones(100), generated_tokens=np.full(100, 50.0), prompt_tokens=np.full(100, 200.0))
    long, factor = fitted(trace, seconds=600, peak_work_per_second=600.0, prompt_weight=0.05)

    assert factor == pytest.approx(10.0)
    assert len(long.requests) == 600
    assert long.requests.sum() == pytest.approx(6_000)
