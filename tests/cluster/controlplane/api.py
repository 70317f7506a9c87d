"""A thin client of the Kubernetes API for tests: plain JSON objects in and out, over one aiohttp session."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import aiohttp
import yaml

from tests.cluster.controlplane.errors import ApiError
from tests.cluster.controlplane.waiting import wait_for

FIELD_MANAGER = "wattkeeper-tests"
WATCH_SECONDS = 600
# Definitions of megabytes, dozens at once, while the programs of two control planes start.
ANSWER_SECONDS = 90.0
_AGGREGATED_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where the API server is and who is asking.

    Attributes:
        server: URL without a slash at its end.
        authority: PEM file of the certificate authority to trust.
        token: bearer token.
    """

    server: str
    authority: Path
    token: str

    def kubeconfig(self) -> str:
        """Returns a kubeconfig file's text with the authority inside it, so that the file stands alone."""
        authority = base64.b64encode(self.authority.read_bytes()).decode()
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [
                    {"name": "tests", "cluster": {"server": self.server, "certificate-authority-data": authority}}
                ],
                "users": [{"name": "tests", "user": {"token": self.token}}],
                "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
                "current-context": "tests",
            }
        )


@dataclass(frozen=True, kw_only=True)
class _Resource:
    plural: str
    namespaced: bool


class Api:
    """Asks one API server; use it as an asynchronous context manager."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._resources: dict[str, dict[str, _Resource]] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(cafile=str(self.connection.authority))
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self.connection.token}"},
            connector=aiohttp.TCPConnector(ssl=context, limit=50),
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use the client inside `async with`")
        return self._session

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Object:
        """Sends one request to a path of the API server; a body of bytes goes as it is, any other as JSON.

        Returns:
            The answer's object; {"text": ...} where the answer is not JSON.

        Raises:
            ApiError: the server answered 400 or above.
            aiohttp.ClientError: the server could not be reached.
        """
        async with self._open.request(
            method,
            self.connection.server + path,
            data=_encode(body),
            headers={"Content-Type": content_type, "Accept": accept},
            params=query,
        ) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise _refusal(answer.status, text)
            if not answer.content_type.endswith("json"):
                return {"text": text}
            return cast("Object", json.loads(text))

    async def path(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        name: str | None = None,
        sub: str | None = None,
    ) -> str:
        """Returns the URL path of a kind, or of one object or subresource of it, asking the server for its plural.

        Raises:
            ApiError: the server does not serve the kind (404).
        """
        prefix = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
        if kind not in self._resources.get(api_version, {}):
            found = await self.request("GET", prefix)
            self._resources[api_version] = {
                one["kind"]: _Resource(plural=one["name"], namespaced=one["namespaced"])
                for one in found["resources"]
                if "/" not in one["name"]
            }
        resource = self._resources[api_version].get(kind)
        if resource is None:
            raise ApiError(404, "NotFound", f"the server knows no {kind} in {api_version}")
        scope = f"/namespaces/{namespace}" if resource.namespaced and namespace else ""
        tail = "".join(f"/{part}" for part in (name, sub) if part)
        return f"{prefix}{scope}/{resource.plural}{tail}"

    async def _path_of(self, item: Object, *, named: bool, sub: str | None = None) -> str:
        meta = item["metadata"]
        namespace = meta.get("namespace")
        name = meta["name"] if named else None
        return await self.path(item["apiVersion"], item["kind"], namespace=namespace, name=name, sub=sub)

    async def create(self, item: Object) -> Object:
        """Creates an object."""
        return await self.request("POST", await self._path_of(item, named=False), item)

    async def apply(self, item: Object, *, sub: str | None = None) -> Object:
        """Applies an object on the server's side, taking over fields that others own."""
        return await self._apply(await self._path_of(item, named=True, sub=sub), item)

    async def _apply(self, path: str, body: object) -> Object:
        return await self.request(
            "PATCH",
            path,
            body,
            content_type="application/apply-patch+yaml",
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
        )

    async def get(self, api_version: str, kind: str, name: str, *, namespace: str | None = None) -> Object:
        """Returns one object."""
        return await self.request("GET", await self.path(api_version, kind, namespace=namespace, name=name))

    async def find(self, api_version: str, kind: str, name: str, *, namespace: str | None = None) -> Object | None:
        """Returns one object, or None where there is none."""
        try:
            return await self.get(api_version, kind, name, namespace=namespace)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list(
        self, api_version: str, kind: str, *, namespace: str | None = None, selector: str | None = None
    ) -> list[Object]:
        """Returns the objects of a kind, of every namespace unless one is named."""
        query = {"labelSelector": selector} if selector else None
        found = await self.request("GET", await self.path(api_version, kind, namespace=namespace), query=query)
        return cast("list[Object]", found["items"])

    async def patch(
        self,
        api_version: str,
        kind: str,
        name: str,
        change: Object | Sequence[Object],
        *,
        namespace: str | None = None,
        sub: str | None = None,
    ) -> Object:
        """Changes an object: a mapping is a merge patch, a sequence of operations a JSON patch."""
        content_type = "application/merge-patch+json" if isinstance(change, dict) else "application/json-patch+json"
        path = await self.path(api_version, kind, namespace=namespace, name=name, sub=sub)
        return await self.request("PATCH", path, change, content_type=content_type)

    async def delete(
        self, api_version: str, kind: str, name: str, *, namespace: str | None = None, grace_seconds: int | None = None
    ) -> None:
        """Deletes an object; one that is not there is as good as deleted."""
        query = None if grace_seconds is None else {"gracePeriodSeconds": str(grace_seconds)}
        path = await self.path(api_version, kind, namespace=namespace, name=name)
        try:
            await self.request("DELETE", path, query=query)
        except ApiError as error:
            if error.status != 404:
                raise

    async def delete_all(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        selector: str | None = None,
        grace_seconds: int | None = None,
    ) -> None:
        """Deletes every object of a kind, of one namespace where that is named."""
        query = {} if selector is None else {"labelSelector": selector}
        if grace_seconds is not None:
            query["gracePeriodSeconds"] = str(grace_seconds)
        await self.request("DELETE", await self.path(api_version, kind, namespace=namespace), query=query)

    async def install_definitions(self, files: Iterable[Path]) -> None:
        """Applies the custom resource definitions of YAML files, one a file, and waits until their kinds are served.

        They go to the server as they are: KServe's are megabytes, which take seconds to parse here.
        """
        texts: dict[str, bytes] = {}
        for file in files:
            text = file.read_bytes()
            (name,) = re.findall(rb"^  name: ([a-z0-9.-]+)$", text, re.MULTILINE)
            texts[name.decode()] = text
        kind = await self.path("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        await asyncio.gather(*(self._apply(f"{kind}/{name}", text) for name, text in texts.items()))
        missing = set(texts)

        async def served() -> bool:
            # Small, unlike the definitions themselves, which it would cost the server a second to list.
            found = await self.request("GET", "/apis", accept=_AGGREGATED_DISCOVERY)
            for group in cast("list[Object]", found["items"]):
                resources = [one for version in group["versions"] for one in version.get("resources", [])]
                missing.difference_update(f"{one['resource']}.{group['metadata']['name']}" for one in resources)
            return not missing

        await wait_for(
            served,
            what="definitions are served",
            timeout_seconds=ANSWER_SECONDS,
            describe=lambda: f"missing: {', '.join(sorted(missing))}",
        )

    async def watch(self, api_version: str, kind: str) -> AsyncIterator[tuple[str, Object]]:
        """Lists a kind in every namespace and follows it.

        Where the server closes the watch, as it does to those that fall behind, it goes on from the last event: nothing
        is missed.

        Yields:
            ("ADDED" | "MODIFIED" | "DELETED", object), and ("SYNCED", {}) once after the listed ones.

        Raises:
            ApiError: the watch was refused or expired; begin again.
            aiohttp.ClientError: the server could not be reached any more.
        """
        path = await self.path(api_version, kind)
        found = await self.request("GET", path)
        for item in found["items"]:
            yield "ADDED", item
        yield "SYNCED", {}
        version = found["metadata"]["resourceVersion"]
        while True:
            async for event, item in self._events(path, version):
                version = item["metadata"]["resourceVersion"]
                yield event, item

    async def _events(self, path: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        """Yields what happens to the objects of a path from a version on, until the server closes the watch."""
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(WATCH_SECONDS)}
        no_limit = aiohttp.ClientTimeout(total=None, sock_read=None)
        url = self.connection.server + path
        async with self._open.get(url, params=query, timeout=no_limit) as answer:
            if answer.status >= 400:
                raise _refusal(answer.status, await answer.text())
            buffer = b""
            async for chunk in answer.content.iter_any():
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise ApiError(status.get("code", 500), status.get("reason", ""), status.get("message", ""))
                    yield event["type"], event["object"]

    async def token(self, namespace: str, service_account: str, *, expiration_seconds: int = 3600) -> str:
        """Asks the TokenRequest API for a token of a service account, which must exist."""
        path = await self.path("v1", "ServiceAccount", namespace=namespace, name=service_account, sub="token")
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": expiration_seconds},
        }
        return cast("str", (await self.request("POST", path, body))["status"]["token"])


def holds(item: Object, condition: str) -> bool:
    """Returns whether a condition of an object's status is True."""
    conditions = cast("list[Object]", item.get("status", {}).get("conditions") or [])
    return any(one["type"] == condition and one["status"] == "True" for one in conditions)


def _encode(body: object) -> str | io.BytesIO | None:
    if body is None:
        return None
    return io.BytesIO(body) if isinstance(body, bytes) else json.dumps(body)


def _refusal(status: int, text: str) -> ApiError:
    try:
        found = json.loads(text)
    except ValueError:
        return ApiError(status, "", text[:500])
    return ApiError(status, found.get("reason", ""), found.get("message", "")[:2000])
