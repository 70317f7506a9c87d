"""What can go wrong with the control plane itself.

ControlPlaneError
├── MissingToolError      this machine lacks a tool that the control plane needs
├── BuildError            a program could not be built or fetched
├── ProcessError          a program died or would not stop
├── DeadlineError         something did not become true in time
└── ApiError              the API server refused a request
"""

from __future__ import annotations


class ControlPlaneError(Exception):
    """Root of every error of the control plane."""


class MissingToolError(ControlPlaneError):
    """This machine lacks a tool; the message names it and says what to do."""


class BuildError(ControlPlaneError):
    """A program could not be built or fetched; the message carries the tool's own words."""


class ProcessError(ControlPlaneError):
    """A program died, or would not stop; the message carries its log's tail."""


class DeadlineError(ControlPlaneError):
    """A condition did not become true in time; the message says what was seen last."""


class ApiError(ControlPlaneError):
    """The API server refused a request.

    Attributes:
        status: HTTP status code.
        reason: the Status object's reason, such as NotFound, or an empty string.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
