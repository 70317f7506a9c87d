"""What can go wrong with a cluster.

ClusterError
├── UnreachableError     no answer, or a 5xx or 429: worth another try later
│   ├── ExpiredError     a watch cannot go on from where it was: list again (dealt with inside this room)
│   └── FailedError      the API server answers, and cannot do this very thing (its own 5xx)
├── ForbiddenError       RBAC refuses: an installation fault, the message names verb and resource
├── NotFoundError        the object or its CRD is not there
├── ConflictError        somebody else wrote first
├── RefusedError         the API server refuses the object; the message names the field
│   └── ProtectedError   a PodDisruptionBudget forbids an eviction
├── MetricsMissingError  nothing serves metrics.k8s.io
└── StateCorruptError    persisted state cannot be read whole
"""

from __future__ import annotations


class ClusterError(Exception):
    """Root of this room's errors."""


class UnreachableError(ClusterError):
    """No answer, or an answer that says to try again later.

    Attributes:
        retry_after_seconds: what the server asked for, or None.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ExpiredError(UnreachableError):
    """The API server no longer has the changes since a resourceVersion: list again."""


class FailedError(UnreachableError):
    """The API server's own word that it failed at this request, and none about others: a 5xx with a Status.

    An etcd or a webhook may be behind it, and the write may have been made.
    """


class ForbiddenError(ClusterError):
    """RBAC refuses, or the credentials are not accepted."""


class NotFoundError(ClusterError):
    """The object, or the kind itself, is not there."""


class ConflictError(ClusterError):
    """Somebody else wrote first."""


class RefusedError(ClusterError):
    """The API server refuses the object."""


class ProtectedError(RefusedError):
    """A PodDisruptionBudget forbids an eviction, now or (several of them on one pod) always."""


class MetricsMissingError(ClusterError):
    """Nothing serves metrics.k8s.io."""


class StateCorruptError(ClusterError):
    """Persisted state cannot be read whole."""
