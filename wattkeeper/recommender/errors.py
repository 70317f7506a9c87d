"""What can go wrong in this room.

RecommenderError
└── StateUnreadableError    the kept state is damaged or of another version
"""

from __future__ import annotations


class RecommenderError(Exception):
    """Root of this room's errors."""


class StateUnreadableError(RecommenderError):
    """The kept state is damaged or of another version: the recommender starts from priors."""
