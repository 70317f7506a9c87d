"""What can go wrong in this room.

ServingError
└── AddressError    an address means nothing or cannot be bound
"""

from __future__ import annotations


class ServingError(Exception):
    """Root of this room's errors."""


class AddressError(ServingError):
    """An address means nothing or cannot be bound."""
