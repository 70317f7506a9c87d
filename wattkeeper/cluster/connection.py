"""Requests to the API server over one aiohttp session: bytes in and out, and this room's errors, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager

import aiohttp

from wattkeeper.cluster.answers import refusal
from wattkeeper.cluster.credentials import Access, Credentials
from wattkeeper.cluster.errors import UnreachableError

REQUEST_SECONDS = 8.0
# A list page of 500 large pods takes the server a while.
LIST_SECONDS = 30.0
_CONNECT_SECONDS = 5.0
_READ_BUFFER_BYTES = 256 * 1024
# Objects are at most about 1.5 MiB in etcd; a line beyond this is no event.
_LONGEST_LINE_BYTES = 8 * 1024 * 1024

JSON = "application/json"
APPLY_PATCH = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"


class Connection:
    """One API server. Open it inside a running loop, close it in the end."""

    def __init__(self, credentials: Credentials, *, request_seconds: float = REQUEST_SECONDS) -> None:
        self._credentials = credentials
        self._request_seconds = request_seconds
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Closes all connections. A later request opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = JSON,
        seconds: float | None = None,
    ) -> bytes:
        """Sends one request and returns the answer's body.

        Raises:
            ClusterError: no answer within the time limit, or a refusal.
        """
        timeout = aiohttp.ClientTimeout(total=seconds or self._request_seconds, sock_connect=_CONNECT_SECONDS)
        asked = f"{method} {path}"
        try:
            access = await self._credentials.access()
            for attempt in range(2):
                async with self._send(method, path, access, timeout, query, body, content_type) as answer:
                    read = await answer.read()
                    if answer.status == 401 and attempt == 0:
                        access = await self._credentials.renew(access)
                        continue
                    if answer.status >= 300:
                        raise refusal(answer.status, read, asked=asked, retry_after=answer.headers.get("Retry-After"))
                    return read
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(asked, error) from error
        raise AssertionError("unreachable: the second answer is returned or raised")

    async def lines(
        self, path: str, *, query: Mapping[str, str], silence_seconds: float
    ) -> AsyncGenerator[list[bytes], None]:
        """Streams a watch. Yields an empty list once the server has accepted it, then complete lines as they come.

        A line that the connection's end cuts off is not yielded.

        Args:
            path: the collection.
            query: the watch's parameters.
            silence_seconds: how long nothing may come; a half-open connection says nothing for ever.

        Raises:
            ClusterError: a refusal, a broken connection, or silence.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=silence_seconds)
        asked = f"WATCH {path}"
        try:
            access = await self._credentials.access()
            async with self._send("GET", path, access, timeout, query, None, JSON) as answer:
                if answer.status == 401:
                    await self._credentials.renew(access)
                if answer.status >= 300:
                    read = await answer.read()
                    raise refusal(answer.status, read, asked=asked, retry_after=answer.headers.get("Retry-After"))
                yield []
                rest = b""
                async for chunk in answer.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    if len(rest) > _LONGEST_LINE_BYTES:
                        raise UnreachableError(f"{asked}: a line of more than {_LONGEST_LINE_BYTES} bytes, no watch")
                    yield lines
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(asked, error) from error

    def _send(
        self,
        method: str,
        path: str,
        access: Access,
        timeout: aiohttp.ClientTimeout,
        query: Mapping[str, str] | None,
        body: bytes | None,
        content_type: str,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=50),
                read_bufsize=_READ_BUFFER_BYTES,
                # Compressing costs the API server and us more than a cluster's network does.
                headers={"Accept": JSON, "Accept-Encoding": "identity", "User-Agent": "wattkeeper"},
            )
        headers = {"Content-Type": content_type} if body is not None else {}
        if access.authorization:
            headers["Authorization"] = access.authorization
        return self._session.request(
            method,
            access.server + path,
            params=query,
            data=body,
            headers=headers,
            timeout=timeout,
            ssl=access.tls if access.tls is not None else True,
            proxy=access.proxy,
            server_hostname=access.tls_server_name,
            allow_redirects=False,
        )


def _unreachable(asked: str, error: Exception) -> UnreachableError:
    if isinstance(error, aiohttp.ServerTimeoutError | TimeoutError | asyncio.TimeoutError):
        return UnreachableError(f"{asked}: no answer in time")
    return UnreachableError(f"{asked}: {error or type(error).__name__}")
