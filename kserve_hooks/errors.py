"""What can go wrong in the actuator.

ActuatorError
├── SettingsError    a setting cannot be used
└── RestoreError     not everything could be put back in time
"""

from __future__ import annotations


class ActuatorError(Exception):
    """Root of this room's errors."""


class SettingsError(ActuatorError):
    """A setting cannot be used."""


class RestoreError(ActuatorError):
    """Not everything that the actuator changed could be put back in time."""
