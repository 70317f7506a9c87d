"""One bounded POST to a sink: within a time, to where its URL says and nowhere else, reading little of the answer."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import aiohttp

from admission.alert_sinks import Sink

_MOST_ANSWER_BYTES: Final = 4096
_MOST_SAID: Final = 160
_REFUSED: Final = frozenset({400, 413, 422})
"""The same body will be refused again. Whatever else goes wrong, an admin or time can mend."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of an attempt.

    Attributes:
        result: sent; failed (worth another try); refused or gone (not worth one).
        why: for people, without secrets; empty if it was sent.
        retry_after_seconds: what the server asked for, 0 where it did not.
    """

    result: Literal["sent", "failed", "refused", "gone"]
    why: str = ""
    retry_after_seconds: float = 0.0


async def post(sink: Sink, url: str, body: bytes, *, timeout_seconds: float) -> Outcome:
    """Posts JSON. Every failure is an outcome.

    Args:
        sink: whose token and certificates are used.
        url: where to; the sink's own, or below it.
        body: JSON.
        timeout_seconds: for all of it, from the look-up of the name to the answer's end.
    """
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "wattkeeper"}
    if sink.token is not None:
        headers["Authorization"] = f"Bearer {sink.token.get_secret_value()}"
    try:
        async with asyncio.timeout(timeout_seconds):
            return await _post(sink, url, body, headers)
    except TimeoutError:
        return Outcome(result="failed", why=f"no answer within {timeout_seconds:g} s")
    except aiohttp.ClientConnectorError as error:
        return Outcome(result="failed", why=f"cannot be reached: {error.os_error.strerror or 'no connection'}")
    except aiohttp.ClientError as error:
        # Messages of other errors may name the URL.
        return Outcome(result="failed", why=f"cannot be told ({type(error).__name__})")
    except OSError as error:  # ssl.SSLError is one, too.
        return Outcome(result="failed", why=f"cannot be told: {error.strerror or type(error).__name__}")
    except ValueError as error:  # A header or host that means nothing.
        return Outcome(result="failed", why=f"its token or url cannot be sent ({type(error).__name__})")


async def _post(sink: Sink, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
    trusted: ssl.SSLContext | bool = True
    if sink.ca_file is not None:
        # Read each time, so that renewed ones are taken up.
        trusted = await asyncio.to_thread(ssl.create_default_context, cafile=sink.ca_file)
    # A connection of its own: one that was kept breaks when the other side restarts.
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted, force_close=True)) as session,
        session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
    ):
        said = await answer.content.read(_MOST_ANSWER_BYTES)
        if answer.status // 100 == 2:
            return Outcome(result="sent")
        return Outcome(
            result="refused" if answer.status in _REFUSED else "failed",
            why=f"HTTP status {answer.status}{_shown(sink, said)}",
            retry_after_seconds=_retry_after(answer.headers.get("Retry-After", "")),
        )


def _retry_after(text: str) -> float:
    return float(text) if re.fullmatch(r"\d{1,6}", text) else 0.0


def _shown(sink: Sink, said: bytes) -> str:
    """Returns the start of an answer without what nobody may see: some servers repeat what they were asked."""
    text = said.decode(errors="replace")
    for secret in sink.secrets:
        text = text.replace(secret, "...")
    words = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return f": {words[:_MOST_SAID]}" if words else ""
