"""AdmissionReview as the API server speaks it (admission.k8s.io/v1): bytes in, bytes out.

Whatever comes in, a pod is not held up by it: a review that names itself and cannot be understood otherwise is answered
with leave, in its own version. Only a body without a UID has no answer: the API server then does as `failurePolicy`
says, which is Ignore.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, cast

import msgspec

from admission.errors import UnreadableReviewError
from admission.patch import Operation

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"
_WARNINGS: Final = 8
"""More warnings than this help nobody; the API server cuts what exceeds 4,096 characters together."""
_WARNING_CHARACTERS: Final = 256


class GroupVersionKind(msgspec.Struct, frozen=True):
    """What kind of object a review is about."""

    group: str = ""
    version: str = ""
    kind: str = ""


class _Resource(msgspec.Struct, frozen=True):
    resource: str = ""


class _Request(msgspec.Struct, frozen=True, rename="camel"):
    uid: str
    kind: GroupVersionKind | None = None
    resource: _Resource | None = None
    sub_resource: str | None = None
    name: str | None = None
    namespace: str | None = None
    operation: str | None = None
    dry_run: bool | None = None
    object: msgspec.Raw = msgspec.Raw(b"null")
    old_object: msgspec.Raw = msgspec.Raw(b"null")


class _Review(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str
    kind: str
    request: _Request


class _Status(msgspec.Struct, frozen=True, omit_defaults=True):
    code: int
    message: str


class _Response(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    uid: str
    allowed: bool
    status: _Status | None = None
    patch_type: str = ""
    patch: bytes = b""
    warnings: list[str] = []


class _Answered(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str
    kind: str
    response: _Response


@dataclass(frozen=True, kw_only=True, slots=True)
class Review:
    """One question.

    Attributes:
        uid: names the question; the answer repeats it.
        kind: of the object: with a subresource, of what is written there, such as Scale.
        resource: what its kind is called in paths, such as "deployments", the subresource's owner's too.
        sub_resource: such as "status"; "" for the object itself.
        operation: CREATE, UPDATE, DELETE or CONNECT.
        namespace: "" for cluster-scoped objects.
        name: "" where the API server has yet to make one.
        dry_run: nothing will be stored, so nothing else may happen either.
        object: the object as JSON; b"null" on deletion.
        old_object: what it was before, as JSON; b"null" on creation.
    """

    uid: str
    kind: GroupVersionKind = field(default_factory=GroupVersionKind)
    resource: str = ""
    sub_resource: str = ""
    operation: str = ""
    namespace: str = ""
    name: str = ""
    dry_run: bool = False
    object: bytes = b"null"
    old_object: bytes = b"null"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What is answered.

    Attributes:
        allowed: whether the API server may go on.
        message: why not, for people.
        code: the HTTP status that a refused user gets.
        patch: what is changed on the way.
        warnings: what kubectl shows beside its own words.
        result: one word for metrics.
    """

    allowed: bool = True
    message: str = ""
    code: int = 403
    patch: tuple[Operation, ...] = ()
    warnings: tuple[str, ...] = ()
    result: str = "allowed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """An answer on its way back.

    Attributes:
        body: JSON.
        result: the answer's word for metrics.
    """

    body: bytes
    result: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Incoming:
    """A review, or what could be read of one."""

    uid: str
    api_version: str = API_VERSION
    review: Review | None = None
    result: str = "allowed"


_read = msgspec.json.Decoder(_Review).decode
_write = msgspec.json.Encoder().encode


def answered(body: bytes, handle: Callable[[Review], Answer]) -> Answered:
    """Answers one body. The handler is asked only about what could be read in full.

    Raises:
        UnreadableReviewError: the body names no review.
    """
    incoming = _incoming(body)
    answer = Answer(result=incoming.result) if incoming.review is None else handle(incoming.review)
    return Answered(body=_outgoing(incoming, answer), result=answer.result)


def _incoming(body: bytes) -> _Incoming:
    try:
        read = _read(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return _salvaged(body)
    request = read.request
    if not request.uid:
        raise UnreadableReviewError("The review has no UID.")
    if read.api_version != API_VERSION or read.kind != KIND:
        return _Incoming(uid=request.uid, api_version=read.api_version, result="unknown_version")
    review = Review(
        uid=request.uid,
        kind=request.kind or GroupVersionKind(),
        resource="" if request.resource is None else request.resource.resource,
        sub_resource=request.sub_resource or "",
        operation=request.operation or "",
        namespace=request.namespace or "",
        name=request.name or "",
        dry_run=bool(request.dry_run),
        object=bytes(request.object),
        old_object=bytes(request.old_object),
    )
    return _Incoming(uid=request.uid, review=review)


def _salvaged(body: bytes) -> _Incoming:
    """Returns what names a review of a shape that is not known."""
    try:
        found: object = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise UnreadableReviewError(f"The body is no JSON: {error}.") from error
    uid = _member(_member(found, "request"), "uid")
    if not isinstance(uid, str) or not uid:
        raise UnreadableReviewError("The body is no AdmissionReview with a UID.")
    version = _member(found, "apiVersion")
    api_version = version if isinstance(version, str) and version else API_VERSION
    return _Incoming(uid=uid, api_version=api_version, result="unreadable")


def _member(of: object, name: str) -> object:
    return cast("dict[str, Any]", of).get(name) if isinstance(of, dict) else None


def _outgoing(incoming: _Incoming, answer: Answer) -> bytes:
    response = _Response(
        uid=incoming.uid,
        allowed=answer.allowed,
        status=None if answer.allowed else _Status(code=answer.code, message=answer.message),
        patch_type="JSONPatch" if answer.patch else "",
        patch=_write(answer.patch) if answer.patch else b"",
        warnings=[warning[:_WARNING_CHARACTERS] for warning in answer.warnings[:_WARNINGS]],
    )
    return _write(_Answered(api_version=incoming.api_version, kind=KIND, response=response))
