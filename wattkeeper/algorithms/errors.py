"""What can go wrong with choosing an algorithm.

AlgorithmError
├── UnknownAlgorithmError    no built-in has the name
└── ParameterError           the algorithm takes no such parameter, or not with this value
"""

from __future__ import annotations


class AlgorithmError(Exception):
    """Root of this room's errors."""


class UnknownAlgorithmError(AlgorithmError):
    """No built-in has the name; the message offers the nearest one and lists them all."""


class ParameterError(AlgorithmError):
    """A parameter is unknown or has a value that the algorithm cannot use; the message says which are possible."""
