"""What is wrong with an object that somebody writes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        field: the field to blame, as a path from the object's root.
        message: what is wrong and what to do.
        refuses: the write is refused; otherwise who writes is warned.
    """

    field: str
    message: str
    refuses: bool = False

    def __str__(self) -> str:
        """Returns a line for people."""
        return f"{self.field}: {self.message}"
