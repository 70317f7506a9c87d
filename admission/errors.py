"""What can go wrong in this room.

AdmissionError
├── SettingsError               settings contradict each other, or a file they name cannot be used
├── UnreadableReviewError       a body that names no review to answer (400)
├── UnreadablePodError          a review whose pod has another shape than Kubernetes' own; the pod is let through
├── UsageUnreadableError        kept usage cannot be read; it is learned anew
├── AlertsUnreadableError       what was kept of alerts cannot be read; they are told again
└── UnreadableCertificateError  a kept certificate or key cannot be read; another is issued
"""

from __future__ import annotations


class AdmissionError(Exception):
    """Root of this room's errors."""


class SettingsError(AdmissionError):
    """Settings contradict each other, or a file they name cannot be used."""


class UnreadableReviewError(AdmissionError):
    """A body in which not even a review's UID can be found."""


class UnreadablePodError(AdmissionError):
    """A pod of another shape than Kubernetes' own."""


class UsageUnreadableError(AdmissionError):
    """Usage that was kept over a restart cannot be read."""


class AlertsUnreadableError(AdmissionError):
    """What was kept of alerts over a restart cannot be read."""


class UnreadableCertificateError(AdmissionError):
    """A certificate or key that was kept cannot be read, or the two do not belong together."""
