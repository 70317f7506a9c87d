"""An API server for benchmarks, in a process of its own, with InferenceServices and what belongs to them.

It lists, watches and writes as a real one does: a write may name the version that it was made from, and makes another.
KServe and KEDA are not there: what they made is there from the start, and nothing follows a write.

`python -m tests.perf.kserve_api SERVICES` prints its port and serves until its parent ends it. `POST /cut` lowers what
every service gets, and answers once each has its new ceiling; `POST /quiet` answers once nothing was asked for a while.
Both answer what was asked for since the cut, Leases apart, and how many seconds after it the last time was.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter, defaultdict
from typing import Final, cast

import msgspec
from aiohttp import web

from tests.perf.kserve_objects import CUT, Object, class_of, everything, status
from wattkeeper.api.power_recommendation import ACTUATOR_CONDITIONS

QUIET_SECONDS: Final = 5.0
_PREFIX: Final = {"api": 2, "apis": 3}
_ABSENT: Final = ("leaderworkersets", "llminferenceservices")


class Collection:
    """The objects of one kind, and everything that was ever said about them."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self._said: list[tuple[int, bytes]] = []
        self._news = asyncio.Condition()

    async def say(self, *items: Object, verb: str = "MODIFIED") -> None:
        """Tells everybody who watches."""
        for item in items:
            line = msgspec.json.encode({"type": verb, "object": item}) + b"\n"
            self._said.append((int(item["metadata"]["resourceVersion"]), line))
        async with self._news:
            self._news.notify_all()

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """Tells all that was said after a version, for ever."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        after, told = int(request.query["resourceVersion"]), 0
        while True:
            lines = [line for version, line in self._said[told:] if version > after]
            told = len(self._said)
            if lines:
                await response.write(b"".join(lines))
            async with self._news:
                await self._news.wait_for(lambda told=told: len(self._said) > told)


class KServeApi:
    """Everything that the actuator watches, and Leases."""

    def __init__(self, services: int) -> None:
        self._collections: dict[str, Collection] = defaultdict(Collection)
        self._version = 1
        self._number: dict[tuple[str, str], int] = {}
        self._pending: set[int] = set()
        self._all_cut = asyncio.Event()
        self._asked: Counter[str] = Counter()
        self._news = asyncio.Event()
        self._cut_at = self._asked_at = time.perf_counter()
        for plural, item in everything(services):
            meta = item["metadata"]
            meta["resourceVersion"] = "1"
            self._collections[plural].objects[meta.get("namespace", ""), meta["name"]] = item
            if plural == "inferenceservices":
                self._number[meta["namespace"], meta["name"]] = len(self._number)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answers every path."""
        match request.path:
            case "/version":
                return web.json_response({"minor": "36"})
            case "/cut":
                return await self._cut()
            case "/quiet":
                return await self._quiet()
            case _:
                return await self._resource(request)

    async def _cut(self) -> web.Response:
        said = self._collections["powerrecommendations"]
        self._pending = set(self._number.values())
        self._asked.clear()
        self._cut_at = time.perf_counter()
        for item in said.objects.values():
            item["status"] |= status(CUT, "BudgetBinds")
            self._bump(item)
        await said.say(*said.objects.values())
        await self._all_cut.wait()
        return self._figures()

    async def _quiet(self) -> web.Response:
        while True:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), QUIET_SECONDS)
            except TimeoutError:
                return self._figures()

    def _figures(self) -> web.Response:
        seconds = self._asked_at - self._cut_at
        return web.json_response({"seconds": seconds, "asked": self._asked})

    async def _resource(self, request: web.Request) -> web.StreamResponse:
        steps = request.path.strip("/").split("/")
        steps = steps[_PREFIX[steps[0]] :]
        namespace = ""
        if steps[0] == "namespaces":
            namespace, steps = steps[1], steps[2:]
        plural, name, subresource = (*steps, "", "")[:3]
        collection = self._collections[plural]
        if plural in _ABSENT:
            return _refused(404, "the server could not find the requested resource")
        if "watch" in request.query:
            return await collection.watch(request)
        if not name and request.method == "GET":
            listed = {"metadata": {"resourceVersion": str(self._version)}, "items": [*collection.objects.values()]}
            return _answer(listed)
        if plural != "leases":
            what = f"{request.method} {plural}{'/' * bool(subresource)}{subresource}"
            self._asked[what] += 1
            self._asked_at = time.perf_counter()
            self._news.set()
        if request.method == "GET":
            found = collection.objects.get((namespace, name))
            return _refused(404, "not found") if found is None else _answer(found)
        body: Object = msgspec.json.decode(await request.read())
        if request.method == "POST":
            if plural == "events":
                return _answer(body)
            item, key = body, (namespace, str(body["metadata"]["name"]))
            item["metadata"]["uid"] = f"{plural}-{namespace}-{key[1]}"
            return await self._write(collection, key, item, None)
        return await self._patch(request, collection, (namespace, name), subresource, body)

    async def _patch(
        self, request: web.Request, collection: Collection, key: tuple[str, str], subresource: str, body: Object
    ) -> web.Response:
        before = collection.objects.get(key)
        applies = "apply" in request.content_type
        if before is None:
            if not applies or subresource:
                return _refused(404, "not found")
            body["metadata"]["uid"] = f"{body['kind']}-of-{key[1]}"
            return await self._write(collection, key, body, None)
        asked = body["metadata"].pop("resourceVersion", "")
        if asked and asked != before["metadata"]["resourceVersion"]:
            return _refused(409, "the object has been modified")
        if subresource:
            after = {**before, "status": _with_part(before["status"], body.get("status", {}))}
        elif not applies:
            after = _merged(before, body)
        elif "spec" in body:
            after = {**before, "spec": body["spec"]}
        else:
            meta = {key: value for key, value in before["metadata"].items() if key != "finalizers"}
            after = {**before, "metadata": meta | {"finalizers": body["metadata"].get("finalizers", [])}}
        return await self._write(collection, key, after, before)

    async def _write(
        self, collection: Collection, key: tuple[str, str], item: Object, before: Object | None
    ) -> web.Response:
        if item == before:
            return _answer(item)  # An API server makes no new version of what stays as it is.
        item = {**item, "metadata": {**item["metadata"]}}
        self._bump(item)
        collection.objects[key] = item
        self._note(key, item)
        await collection.say(item, verb="ADDED" if before is None else "MODIFIED")
        return _answer(item)

    def _bump(self, item: Object) -> None:
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)

    def _note(self, key: tuple[str, str], item: Object) -> None:
        """Crosses a service off once its ceiling is what the cut leaves it."""
        namespace, name = key
        number = self._number.get((namespace, name.removesuffix("-predictor-wk")))
        if number not in self._pending or _ceiling(item, class_of(number)) != CUT:
            return
        self._pending.discard(number)
        if not self._pending:
            self._all_cut.set()


def _ceiling(item: Object, autoscaler: str) -> int | None:
    spec: Object = item.get("spec", {})
    if autoscaler == "external":
        return spec.get("maxReplicaCount")
    return spec.get("predictor", {}).get("minReplicas" if autoscaler == "none" else "maxReplicas")


def _with_part(before: Object, part: Object) -> Object:
    """Returns a status in which the actuator's part is another one."""
    kept = {key: value for key, value in before.items() if key not in ("actuation", "conditions")}
    others = [one for one in before.get("conditions", []) if one["type"] not in ACTUATOR_CONDITIONS]
    actuation = {"actuation": part["actuation"]} if "actuation" in part else {}
    return {**kept, **actuation, "conditions": [*others, *part.get("conditions", [])]}


def _merged(before: object, patch: Object) -> Object:
    old = cast("Object", before) if isinstance(before, dict) else {}
    after = {key: value for key, value in old.items() if patch.get(key, value) is not None}
    for key, value in patch.items():
        if isinstance(value, dict):
            after[key] = _merged(old.get(key), cast("Object", value))
        elif value is not None:
            after[key] = value
    return after


def _answer(item: Object) -> web.Response:
    return web.Response(body=msgspec.json.encode(item), content_type="application/json")


def _refused(code: int, message: str) -> web.Response:
    reason = {404: "NotFound", 409: "Conflict"}[code]
    return web.json_response({"kind": "Status", "code": code, "reason": reason, "message": message}, status=code)


async def main() -> None:
    """Serves until the process is ended."""
    api = KServeApi(int(sys.argv[1]))
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", api.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
