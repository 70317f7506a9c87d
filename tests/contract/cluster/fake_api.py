"""A small API server on loopback: it keeps objects, pages lists, and does in watches what a test's script says."""

from __future__ import annotations

import asyncio
import copy
import json
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self, cast

from aiohttp import web
from aiohttp.test_utils import TestServer

from wattkeeper.cluster.credentials import Access

Object = dict[str, Any]
PODS = "/api/v1/pods"


@dataclass(kw_only=True)
class Answer:
    """A scripted answer, given once instead of the real one."""

    code: int
    message: str = "scripted"
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None


class Watch:
    """One open watch: a script writes to it."""

    def __init__(self, query: dict[str, str], response: web.StreamResponse) -> None:
        self.query = query
        self._response = response

    async def raw(self, line: bytes) -> None:
        await self._response.write(line)

    async def event(self, type_: str, obj: Object) -> None:
        await self.raw(json.dumps({"type": type_, "object": obj}).encode() + b"\n")

    async def bookmark(self, version: str) -> None:
        await self.event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": version}})

    async def error(self, code: int, reason: str = "Expired") -> None:
        await self.event("ERROR", {"kind": "Status", "code": code, "reason": reason, "message": "scripted"})


Script = Callable[[Watch], Awaitable[None]]


async def stay_open(_: Watch) -> None:
    """Says nothing and never ends."""
    await asyncio.Event().wait()


def pod(name: str, *, version: str = "1", uid: str = "", namespace: str = "default", **status: Any) -> Object:
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid or f"uid-{name}",
            "resourceVersion": version,
            "managedFields": [{"manager": "kubelet"}],
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "main"}]},
        "status": {"phase": "Running", **status},
    }


class FakeApi:
    """Serves on loopback inside the test's loop.

    Attributes:
        lists: objects by collection path, for lists.
        objects: single objects by path, for reads and writes.
        version: resourceVersion of the next list.
        scripts: what the next watches of a collection do; without a script they stay open.
        answers: scripted answers by (method, path), each given once; WATCH for watches, PAGE for later pages.
        requests: what was asked for: (method, path, query).
        bodies: bodies of writes: (method, path, body).
        tokens: bearer tokens seen.
        valid_token: the token to insist on; None takes any.
    """

    def __init__(self) -> None:
        self.lists: dict[str, list[Object]] = defaultdict(list)
        self.objects: dict[str, Object] = {}
        self.version = 100
        self.scripts: dict[str, deque[Script]] = defaultdict(deque)
        self.answers: dict[tuple[str, str], deque[Answer]] = defaultdict(deque)
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[tuple[str, str, Any]] = []
        self.tokens: list[str] = []
        self.valid_token: str | None = None
        self.missing: set[str] = set()
        self._writes = 0
        self._status_of: dict[tuple[str, str], Object] = {}
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_route("*", "/{tail:.*}", self._serve)
        self._server = TestServer(app)

    async def __aenter__(self) -> Self:
        await self._server.start_server(shutdown_timeout=0.1)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    @property
    def url(self) -> str:
        return str(self._server.make_url("")).rstrip("/")

    def asked(self, method: str, path: str, *, watch: bool | None = None) -> list[dict[str, str]]:
        """Returns the queries of all requests of a kind so far."""
        return [
            query
            for one, at, query in self.requests
            if (one, at) == (method, path) and (watch is None or ("watch" in query) == watch)
        ]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path, query = request.path, dict(request.query)
        self.requests.append((request.method, path, query))
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.tokens.append(token)
        if self.valid_token is not None and token != self.valid_token:
            return _refuse(Answer(code=401, message="Unauthorized"))
        key = "WATCH" if "watch" in query else "PAGE" if "continue" in query else request.method
        if self.answers[key, path]:
            return _refuse(self.answers[key, path].popleft())
        if path in self.missing:
            return _refuse(Answer(code=404, message="the server could not find the requested resource"))
        if key == "WATCH":
            return await self._watch(request, query)
        if path == "/version":
            return web.json_response({"major": "1", "minor": "36+"})
        if request.method == "GET":
            return self._read(path, query)
        return self._write(request, path, await request.read())

    async def _watch(self, request: web.Request, query: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        scripts = self.scripts[request.path]
        script = scripts.popleft() if scripts else stay_open
        await script(Watch(query, response))
        return response

    def _read(self, path: str, query: dict[str, str]) -> web.Response:
        if path in self.objects:
            return web.json_response(self.objects[path])
        last = path.rsplit("/", 1)[-1]
        if path not in self.lists and not (last.isalpha() and last.endswith("s")):
            return _refuse(Answer(code=404, message=f'"{last}" not found'))
        start = int(query.get("continue", "0"))
        end = start + int(query.get("limit", "500"))
        items = self.lists[path]
        meta: Object = {"resourceVersion": str(self.version)}
        if end < len(items):
            meta["continue"] = str(end)
        return web.json_response({"kind": "List", "metadata": meta, "items": items[start:end]})

    def _write(self, request: web.Request, path: str, body: bytes) -> web.Response:
        wanted: Any = json.loads(body) if body else {}
        self.bodies.append((request.method, path, wanted))
        self._writes += 1
        if request.method == "DELETE":
            return self._delete(path, cast("Object", wanted))
        if request.method == "POST":
            path = f"{path}/{wanted['metadata']['name']}"
            if path in self.objects:
                return _refuse(Answer(code=409, message="already exists", reason="AlreadyExists"))
            return self._keep(path, cast("Object", wanted))
        if request.content_type == "application/apply-patch+yaml" and path.endswith("/status"):
            return self._apply_status(path.removesuffix("/status"), request.query["fieldManager"], wanted)
        if request.content_type == "application/apply-patch+yaml":
            return self._apply(path, wanted)
        path = path.removesuffix("/status")
        old = self.objects.get(path)
        if old is None:
            return _refuse(Answer(code=404, message="not found"))
        if request.content_type == "application/json-patch+json":
            return self._json_patch(path, old, cast("list[Object]", wanted))
        guard = wanted.get("metadata", {}).get("resourceVersion")
        if guard and guard != old["metadata"]["resourceVersion"]:
            return _refuse(Answer(code=409, message="the object has been modified", reason="Conflict"))
        return self._keep(path, _merged(old, wanted))

    def _apply(self, path: str, wanted: Object) -> web.Response:
        old = self.objects.get(path, {"metadata": {}})
        seen = wanted["metadata"].get("resourceVersion")
        if seen and seen != old["metadata"].get("resourceVersion", seen):
            return _refuse(Answer(code=409, message="the object has been modified", reason="Conflict"))
        status = {"status": old["status"]} if "status" in old else {}
        return self._keep(path, {**wanted, **status, "metadata": {"uid": f"uid-{self._writes}", **wanted["metadata"]}})

    def _apply_status(self, path: str, manager: str, wanted: Object) -> web.Response:
        """Merges as server-side apply does, field by field at the top; conditions are a list by type."""
        old = self.objects.get(path)
        if old is None:
            return _refuse(Answer(code=404, message="not found"))
        # Of another UID nothing is said, as on a real one.
        seen = wanted["metadata"].get("resourceVersion")
        if seen and seen != old["metadata"].get("resourceVersion"):
            return _refuse(Answer(code=409, message="the object has been modified", reason="Conflict"))
        given: Object = wanted.get("status", {})
        before = self._status_of.get((path, manager), {})
        said = {one["type"] for one in (*before.get("conditions", []), *given.get("conditions", []))}
        theirs = [one for one in old.get("status", {}).get("conditions", []) if one["type"] not in said]
        kept = {key: value for key, value in old.get("status", {}).items() if key not in before}
        status = {**kept, **given}
        status.pop("conditions", None)
        if theirs or given.get("conditions"):
            status["conditions"] = [*theirs, *given.get("conditions", [])]
        self._status_of[path, manager] = given
        return self._keep(path, {**old, "status": status})

    def _delete(self, path: str, options: Object) -> web.Response:
        old = self.objects.get(path)
        if old is None:
            return _refuse(Answer(code=404, message="not found"))
        if options and options["preconditions"]["uid"] != old["metadata"]["uid"]:
            return _refuse(Answer(code=409, message="the UID in the precondition differs", reason="Conflict"))
        del self.objects[path]
        return web.json_response({"kind": "Status"})

    def _json_patch(self, path: str, old: Object, operations: list[Object]) -> web.Response:
        new = copy.deepcopy(old)
        try:
            for operation in operations:
                _operate(new, operation)
        except (LookupError, ValueError) as error:
            # Both failed tests and paths that are not there.
            return _refuse(Answer(code=422, message=f"the patch fails: {error!r}", reason="Invalid"))
        if new["metadata"].get("resourceVersion") != old["metadata"].get("resourceVersion"):
            return _refuse(Answer(code=409, message="the object has been modified", reason="Conflict"))
        return self._keep(path, new)

    def _keep(self, path: str, new: Object) -> web.Response:
        new["metadata"]["resourceVersion"] = f"w{self._writes}"
        self.objects[path] = new
        return web.json_response(new)


def _operate(target: Any, operation: Object) -> None:
    """Does one operation of RFC 6902, as far as the client uses it: into lists nothing is added."""
    *parents, last = (part.replace("~1", "/") for part in operation["path"].strip("/").split("/"))
    for part in parents:
        target = target[_place(target, part)]
    place = _place(target, last)
    match operation["op"]:
        case "test":
            # What is absent tests as null, as on a real one.
            absent = isinstance(target, dict) and place not in target
            if (None if absent else target[place]) != operation["value"]:
                raise ValueError(operation["path"])
        case "remove":
            del target[place]
        case _:
            target[place] = operation["value"]


def _place(target: object, part: str) -> Any:
    return int(part) if isinstance(target, list) else part


def _merged(old: Object, patch: Object) -> Object:
    new = dict(old)
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = _merged(old.get(key) or {}, cast("Object", value)) if isinstance(value, dict) else value
    return new


def _refuse(answer: Answer) -> web.Response:
    if answer.body is not None:
        return web.Response(status=answer.code, body=answer.body, headers=answer.headers)
    status = {"kind": "Status", "code": answer.code, "message": answer.message, "reason": answer.reason}
    return web.json_response(status, status=answer.code, headers=answer.headers)


class TokenCredentials:
    """Credentials over plain HTTP whose token rotates when asked."""

    def __init__(self, url: str, tokens: list[str] | None = None) -> None:
        self._url = url
        self._tokens = tokens or ["first"]

    async def access(self) -> Access:
        return Access(server=self._url, authorization=f"Bearer {self._tokens[0]}")

    async def renew(self, refused: Access) -> Access:
        if len(self._tokens) > 1:
            self._tokens.pop(0)
        return await self.access()
