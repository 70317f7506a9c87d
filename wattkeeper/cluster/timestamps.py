"""Kubernetes' two ways to write an instant."""

from __future__ import annotations

from datetime import UTC, datetime


def micro_time(now: float) -> str:
    """Returns Unix seconds as a MicroTime.

    >>> micro_time(1.5)
    '1970-01-01T00:00:01.500000Z'
    """
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
