"""What fetching from a source raises inside this package. Readers turn all of it into sentences in `problems`.

ReadError
    SourceUnreachableError
    RefusedError
    NotUnderstoodError
"""

from __future__ import annotations

from wattkeeper.power.errors import PowerError

_SHOWN_CHARACTERS = 200


class ReadError(PowerError):
    """Root of what fetching raises."""


class SourceUnreachableError(ReadError):
    """No connection, a connection that broke, or no whole answer in time."""


class RefusedError(ReadError):
    """The source answered that it will not, or cannot."""


class NotUnderstoodError(ReadError):
    """The source answered something else than it should: a login page, say."""


def shortened(text: str) -> str:
    """Cuts what a source said to what fits in a sentence, on one line."""
    plain = " ".join(text.split())
    return plain if len(plain) <= _SHOWN_CHARACTERS else f"{plain[:_SHOWN_CHARACTERS]}..."
