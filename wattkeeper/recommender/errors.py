"""What can go wrong in this room.

RecommenderError
├── StateUnreadableError    the kept state is damaged or of another version
└── UnavoidableError        a pod cannot be kept out of a domain
"""

from __future__ import annotations


class RecommenderError(Exception):
    """Root of this room's errors."""


class StateUnreadableError(RecommenderError):
    """The kept state is damaged or of another version: the recommender starts from priors."""


class UnavoidableError(RecommenderError):
    """A pod cannot be kept out of a domain that its replica is not charged to."""
