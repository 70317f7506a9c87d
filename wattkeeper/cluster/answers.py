"""What the API server's refusals mean, as this room's errors."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from wattkeeper.cluster.errors import (
    ClusterError,
    ConflictError,
    ExpiredError,
    FailedError,
    ForbiddenError,
    NotFoundError,
    ProtectedError,
    RefusedError,
    UnreachableError,
)

# What msgspec raises on bytes that are not what they should be.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
T = TypeVar("T")
_LONGEST_MESSAGE = 600
# Admission denies with code 403, too, as controller-runtime's webhooks do (KServe, KEDA), and quotas (kubernetes 1.36
# pkg/admission/plugin/webhook/errors/statuserror.go, plugin/policy/validating/dispatcher.go, plugin/resourcequota).
_DENIED = ("denied the request", "denied request", "exceeded quota")


class StatusCause(msgspec.Struct, frozen=True, rename="camel"):
    """One cause of a refusal."""

    reason: str = ""
    message: str = ""


class StatusDetails(msgspec.Struct, frozen=True, rename="camel"):
    """Details of a refusal."""

    retry_after_seconds: float = 0.0
    causes: tuple[StatusCause, ...] | None = None


class ApiStatus(msgspec.Struct, frozen=True, rename="camel"):
    """Kubernetes' metav1.Status: why a request was refused."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: StatusDetails | None = None


def read_status(body: bytes) -> ApiStatus:
    """Returns the Status in a body; one with the body's text as message where it is something else (a proxy's page)."""
    try:
        return msgspec.json.decode(body, type=ApiStatus)
    except UNREADABLE:
        return ApiStatus(message=body[:_LONGEST_MESSAGE].decode(errors="replace").strip())


def read_answer(body: bytes, kind: type[T]) -> T:
    """Decodes an object that was asked for.

    Raises:
        UnreachableError: whatever answered, it was not an API server.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        raise UnreachableError(f"an answer that is no {kind.__name__.strip('_')}: {error}") from error


def refusal(code: int, body: bytes, *, asked: str, retry_after: str | None = None) -> ClusterError:
    """Returns the error that an answer of 300 and above means.

    Args:
        code: HTTP status.
        body: the answer, normally a Status; its message is kept.
        asked: what was asked for, such as "PATCH /api/v1/...".
        retry_after: the Retry-After header.
    """
    status = read_status(body)
    protected = _protected_by(status)
    if protected:
        return ProtectedError(f"{asked}: {status.message[:_LONGEST_MESSAGE]} {protected} (HTTP {code})")
    message = f"{asked}: {status.message[:_LONGEST_MESSAGE] or 'no reason given'} (HTTP {code})"
    match code:
        case 401:
            return ForbiddenError(f"{message}. The credentials are not accepted: check the token or certificate.")
        case 403 if any(words in status.message for words in _DENIED):
            return RefusedError(message)
        case 403:
            return ForbiddenError(f"{message}. Grant this in the RBAC role of the service account.")
        case 404:
            return NotFoundError(message)
        case 409:
            return ConflictError(message)
        case 410:
            return ExpiredError(message)
        case _ if code >= 500 and status.code == code:
            # Without a Status it is a load balancer that says so: it finds no API server.
            return FailedError(message, retry_after_seconds=_retry_after(retry_after, status))
        case _ if code in (408, 429) or code >= 500 or code < 400:
            return UnreachableError(message, retry_after_seconds=_retry_after(retry_after, status))
        case _:
            return RefusedError(message)


def _protected_by(status: ApiStatus) -> str:
    """Returns how a PodDisruptionBudget forbids an eviction, "" where none does.

    That is a cause of its own beside code 429, and the wording of a code 500 where several protect one pod (kubernetes
    1.36 pkg/registry/core/pod/storage/eviction.go).
    """
    for cause in (status.details.causes or ()) if status.details is not None else ():
        if cause.reason == "DisruptionBudget":
            return cause.message[:_LONGEST_MESSAGE]
    if status.code == 500 and "more than one PodDisruptionBudget" in status.message:
        return "Let one PodDisruptionBudget select the pod."
    return ""


def _retry_after(header: str | None, status: ApiStatus) -> float | None:
    """Returns seconds. The header's other form, a date, is not used by API servers."""
    if header is not None and header.strip().isdigit():
        return float(header)
    if status.details is not None and status.details.retry_after_seconds > 0:
        return status.details.retry_after_seconds
    return None
