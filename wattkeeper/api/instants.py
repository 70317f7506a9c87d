"""Instants as Kubernetes writes them, and as everything else counts them."""

from __future__ import annotations

from datetime import UTC, datetime


def format_instant(now: float) -> str:
    """Returns Unix seconds as RFC 3339.

    >>> format_instant(0.5)
    '1970-01-01T00:00:00.500000Z'
    """
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_instant(text: str) -> float | None:
    """Returns RFC 3339 as Unix seconds, None where it is empty or unreadable.

    >>> parse_instant("1970-01-01T00:00:00.500000Z"), parse_instant("soon")
    (0.5, None)
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant.timestamp() if instant.tzinfo is not None else None
