"""What the power room raises.

PowerError
    ModelStateError
"""

from __future__ import annotations


class PowerError(Exception):
    """Root of everything that the power room raises."""


class ModelStateError(PowerError):
    """A checkpoint of the power model cannot be read.

    Start with a fresh model: it charges priors until it has measured again.
    """
