"""FaultProxy: passes requests on to an API server, with the faults that a test asks for.

It runs in a thread of its own, so that it serves through many tests while each has its own loop. Nothing is changed in
what is passed on: tokens, bodies and answers are the client's and the API server's own.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Awaitable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from typing import Final

import aiohttp
from aiohttp import web

from tests.cluster.faults.asked import Asked, Exchange, Which, parse
from tests.cluster.faults.rules import RUNNING, Answer, Break, Delay, Fault, Hang, LoseAnswer, Rule

_HOP_BY_HOP: Final = frozenset(
    {"host", "connection", "keep-alive", "transfer-encoding", "content-length", "te", "trailer", "upgrade"}
)


class _OpenWatch:
    """A watch that runs, and the fault that befalls it."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.befallen: asyncio.Future[Fault] = asyncio.get_running_loop().create_future()


class FaultProxy:
    """One API server behind as many doors as there are clients to tell apart.

    Use it as a context manager; rules may come and go at any time, from any thread.
    """

    def __init__(
        self, server: str, *, trust: ssl.SSLContext | None = None, identity: ssl.SSLContext | None = None
    ) -> None:
        """Takes where requests go.

        Args:
            server: URL of the API server, without a slash at its end.
            trust: whom to trust there; None for plain HTTP.
            identity: what to serve with; None for plain HTTP.
        """
        self._server = server
        self._trust = trust
        self._identity = identity
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._exchanges: list[Exchange] = []
        self._watches: set[_OpenWatch] = set()
        self._held: dict[asyncio.Transport, str] = {}
        self._session: aiohttp.ClientSession | None = None
        self._doors: dict[str, tuple[str, web.Server, asyncio.Server]] = {}

    def __enter__(self) -> FaultProxy:
        """Starts the thread; doors are opened one by one."""
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        """Ends everything."""
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def door(self, name: str) -> str:
        """Returns the URL of a client's own door, which is opened the first time."""
        if name not in self._doors:
            self._run(self._open(name))
        return self._doors[name][0]

    @contextmanager
    def inject(self, fault: Fault, which: Which, *, times: int | None = None) -> Generator[Rule]:
        """Has a fault befall requests for as long as the context lasts, and watches that run already.

        Of several rules that mean a request the newest has it.

        Args:
            fault: what goes wrong.
            which: for whom (`writes`, `watches`, `asks`, or any predicate).
            times: how often at most; None for every one.
        """
        rule = Rule(fault, which, times)
        self._run(self._add(rule))
        try:
            yield rule
        finally:
            rule.lift()
            with self._lock:
                self._rules.remove(rule)

    def break_watches(self, which: Which) -> None:
        """Breaks off watches that run, once: they begin again, and meet the rules that are in force then."""
        with self.inject(Break(), which):
            pass

    def cut(self, door: str = "") -> None:
        """Breaks the connections that hang, those of one door where it is named."""
        self._run(self._cut(door))

    def exchanges(self, which: Which | None = None) -> list[Exchange]:
        """Returns what the API server has got so far, in order."""
        with self._lock:
            return [one for one in self._exchanges if which is None or which(one.asked)]

    def _run(self, doing: Awaitable[None]) -> None:
        async def do() -> None:
            await doing

        asyncio.run_coroutine_threadsafe(do(), self._loop).result(30)

    async def _start(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._trust if self._trust is not None else True)
        # What was compressed for the client goes to it compressed.
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)
        )

    async def _stop(self) -> None:
        await self._cut("")
        for _, handlers, listener in self._doors.values():
            listener.close()
            await handlers.shutdown(0.1)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for one in others:
            one.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        # What was broken off closes its socket in later turns of the loop, which ends after this.
        await asyncio.sleep(0.1)

    async def _open(self, name: str) -> None:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            try:
                return await self._handle(name, request)
            except (aiohttp.ClientError, ConnectionError):
                # One of the two went away, and the other sees just that.
                return _broken(request)

        handlers = web.Server(handle, handler_cancellation=True)
        listener = await self._loop.create_server(handlers, "127.0.0.1", 0, ssl=self._identity)
        port = listener.sockets[0].getsockname()[1]
        scheme = "http" if self._identity is None else "https"
        self._doors[name] = f"{scheme}://127.0.0.1:{port}", handlers, listener

    async def _add(self, rule: Rule) -> None:
        with self._lock:
            self._rules.insert(0, rule)
        if isinstance(rule.fault, RUNNING):
            for watch in self._watches:
                if not watch.befallen.done() and rule.befalls(watch.asked):
                    watch.befallen.set_result(rule.fault)

    async def _cut(self, door: str) -> None:
        for transport, whose in list(self._held.items()):
            if door in ("", whose):
                transport.abort()

    async def _handle(self, door: str, request: web.BaseRequest) -> web.StreamResponse:
        asked = parse(door, request.method, request.path, request.query, await request.read())
        fault = self._fault(asked)
        match fault:
            case Answer():
                return _answered(fault)
            case Break():
                return _broken(request)
            case Hang(reaches=False):
                return await self._hang(door, request)
            case Delay(seconds=seconds):
                await asyncio.sleep(seconds)
            case _:
                pass
        exchange = Exchange(asked=asked, fault="" if fault is None else type(fault).__name__)
        with self._lock:
            self._exchanges.append(exchange)
        if asked.verb == "watch":
            return await self._watch(request, exchange, fault)
        async with self._ask(request, asked) as answer:
            exchange.answer = await answer.read()
            exchange.status = answer.status
        if isinstance(fault, LoseAnswer):
            return _broken(request)
        if isinstance(fault, Hang):
            return await self._hang(door, request)
        return web.Response(status=answer.status, headers=_passed(answer.headers), body=exchange.answer)

    def _fault(self, asked: Asked) -> Fault | None:
        with self._lock:
            rules = tuple(self._rules)
        return next((rule.fault for rule in rules if rule.befalls(asked)), None)

    def _ask(self, request: web.BaseRequest, asked: Asked) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("use the proxy inside `with`")
        return self._session.request(
            request.method,
            self._server + request.raw_path,
            headers=_passed(request.headers),
            data=asked.body or None,
            allow_redirects=False,
        )

    async def _watch(self, request: web.BaseRequest, exchange: Exchange, fault: Fault | None) -> web.StreamResponse:
        """Passes a watch's stream on until it ends, or something befalls it."""
        watch = _OpenWatch(exchange.asked)
        if isinstance(fault, RUNNING):
            watch.befallen.set_result(fault)
        # Before the API server is asked: a rule that is made meanwhile finds it.
        self._watches.add(watch)
        try:
            async with self._ask(request, exchange.asked) as answer:
                exchange.status = answer.status
                response = web.StreamResponse(status=answer.status, headers=_passed(answer.headers))
                await response.prepare(request)
                await _pass_on(answer, response, until=watch.befallen)
        finally:
            self._watches.discard(watch)
        if not watch.befallen.done():
            return response
        befallen = watch.befallen.result()
        exchange.fault = type(befallen).__name__
        if isinstance(befallen, Hang):
            return await self._hang(exchange.asked.door, request)
        if isinstance(befallen, Break):
            return _broken(request)
        event = {"type": "ERROR", "object": Answer(status=410).body()}
        await response.write(json.dumps(event).encode() + b"\n")
        return response

    async def _hang(self, door: str, request: web.BaseRequest) -> web.StreamResponse:
        """Says nothing until the client goes away, or a test cuts it off: either cancels this."""
        transport = request.transport
        if transport is None:
            return _broken(request)
        self._held[transport] = door
        try:
            await asyncio.Event().wait()
        finally:
            del self._held[transport]
        raise AssertionError("unreachable: it is cancelled")


async def _pass_on(
    answer: aiohttp.ClientResponse, response: web.StreamResponse, *, until: asyncio.Future[Fault]
) -> None:
    """Passes a stream on to its end, or until something befalls it."""
    passing = asyncio.create_task(_copy(answer, response))
    try:
        await asyncio.wait({passing, until}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        passing.cancel()
        # Either end may have gone away meanwhile.
        with suppress(asyncio.CancelledError, ConnectionError, aiohttp.ClientError):
            await passing


async def _copy(answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
    """Passes whole lines on, so that what befalls a watch comes between two events."""
    rest = b""
    async for chunk in answer.content.iter_any():
        lines, end, rest = (rest + chunk).rpartition(b"\n")
        if end:
            await response.write(lines + end)
    if rest:
        await response.write(rest)


def _answered(fault: Answer) -> web.Response:
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return web.json_response(fault.body(), status=fault.status, headers=headers)


def _broken(request: web.BaseRequest) -> web.Response:
    """Breaks the connection; what is returned reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _passed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
