"""What is scraped directly, and how one target is fetched."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp

from wattkeeper.api.readings import PodKey
from wattkeeper.power.readers.errors import NotUnderstoodError, RefusedError, SourceUnreachableError, shortened

_MOST_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024
_OK = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One exporter or model server.

    Attributes:
        url: of its metrics.
        pod: the pod that serves them, for series that name none themselves (vLLM's).
        node: the node it tells of, for series that name none themselves (DCGM's, IPMI's).
    """

    url: str
    pod: PodKey | None = None
    node: str | None = None


async def fetch(session: aiohttp.ClientSession, target: Target) -> str:
    """Fetches a target's text; whoever calls bounds the time.

    Raises:
        ReadError: no text; says why.
    """
    try:
        async with session.get(target.url, headers={"Accept": "text/plain;version=0.0.4"}) as response:
            if response.status != _OK:
                raise RefusedError(f"HTTP status {response.status}")
            if response.content_type == "text/html":
                raise NotUnderstoodError("a page instead of metrics (does the URL end in /metrics?)")
            body = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise NotUnderstoodError(f"more than {_MOST_BYTES // 2**20} MiB")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise SourceUnreachableError(f"cannot be reached: {shortened(str(error) or type(error).__name__)}") from error
    return body.decode(errors="replace")
