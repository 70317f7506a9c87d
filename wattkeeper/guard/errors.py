"""What the guard refuses.

GuardError
└── PlanRejectedError    a proposal that is no plan for this snapshot
"""

from __future__ import annotations


class GuardError(Exception):
    """Root of this room's errors."""


class PlanRejectedError(GuardError):
    """The proposal is malformed and refused whole; the message names the field and what it should be."""
