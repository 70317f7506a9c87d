"""The listener that the API server asks: routes, limits, TLS, start and drain. It decides nothing itself."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from admission.errors import SettingsError, UnreadableReviewError
from admission.metrics import AdmissionMetrics
from admission.review import Answer, Review, answered
from admission.tls import Certificates
from wattkeeper.cluster.clock import Clock
from wattkeeper.serving.addresses import is_loopback, listen
from wattkeeper.serving.pages import health_routes

LOG = logging.getLogger(__name__)
Webhook = Callable[[Review], Answer]

UNREADY: Final = "caches are not complete or there is no certificate yet, or stopping"
_KEEP_ALIVE_SECONDS: Final = 600.0
"""The API server drops a connection that is idle for 90 s. Were we first, a review already on its way would be lost."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerOptions:
    """How to listen.

    Attributes:
        address: host:port; port 0 takes a free one.
        certificates: TLS; None is plaintext, on loopback only.
        max_body_bytes: longer bodies are refused with 413.
        deadline_seconds: how long a body may take to arrive; then 408.
        goodbye_seconds: how long the listener goes on answering once /readyz says no, because clients need a moment to
            notice.
        drain_seconds: how long answers under way may take when it closes.
    """

    address: str
    certificates: Certificates | None = None
    max_body_bytes: int = 3 * 2**20
    deadline_seconds: float = 3.0
    goodbye_seconds: float = 3.0
    drain_seconds: float = 5.0


class AdmissionServer:
    """Serves webhooks, each at a path of its own."""

    def __init__(
        self,
        webhooks: Mapping[str, Webhook],
        *,
        synced: Callable[[], bool],
        clock: Clock,
        metrics: AdmissionMetrics,
        options: ServerOptions,
    ) -> None:
        """Prepares, without listening yet.

        Args:
            webhooks: by path, such as "/mutate-pods". They answer from memory: nothing waits for them.
            synced: whether the caches are complete.
            clock: for waiting.
            metrics: what is counted.
            options: how to listen.

        Raises:
            SettingsError: plaintext would be reachable from elsewhere.
        """
        if options.certificates is None and not is_loopback(options.address):
            raise SettingsError(
                f"{options.address} can be reached from elsewhere and has no certificate: set "
                "WATTKEEPER_TLS_CERTIFICATE and WATTKEEPER_TLS_KEY, or WATTKEEPER_CERTIFICATE_SECRET. The API server "
                "asks over TLS alone."
            )
        self._webhooks = webhooks
        self._synced = synced
        self._clock = clock
        self._metrics = metrics
        self._options = options
        self._runner: web.AppRunner | None = None
        self._was_ready = False
        self._draining = False
        self.port = 0

    def ready(self) -> bool:
        """Says whether the API server should come here: from complete caches and a certificate on, until the drain.

        Old caches are better than no answer: then pods would slip past.
        """
        certificates = self._options.certificates
        self._was_ready = self._was_ready or (self._synced() and (certificates is None or certificates.ready()))
        return self._was_ready and not self._draining

    async def start(self) -> None:
        """Listens.

        Raises:
            AddressError: the address cannot be bound.
        """
        options = self._options
        app = web.Application(client_max_size=options.max_body_bytes)
        app.add_routes([web.post(path, self._handler(path, webhook)) for path, webhook in self._webhooks.items()])
        app.add_routes(health_routes(self.ready, unready=UNREADY))
        self._runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            shutdown_timeout=options.drain_seconds,
            # The API server compresses nothing, and a small body must not unfold into a large one.
            auto_decompress=False,
        )
        tls = None if options.certificates is None else options.certificates.context()
        self.port = await listen(self._runner, options.address, tls)
        LOG.info("listening on %s (port %d), %s", options.address, self.port, "plaintext" if tls is None else "TLS")

    async def drain(self) -> None:
        """Closes: /readyz says no and connections are given up one by one, then answers under way finish."""
        if self._runner is None:
            return
        self._draining = True
        await self._clock.sleep(self._options.goodbye_seconds)
        await self._runner.cleanup()
        self._runner = None

    def _handler(self, path: str, webhook: Webhook) -> Handler:
        name = path.strip("/")
        failures = self._metrics.failures.labels(name)
        seconds = self._metrics.review_seconds.labels(name)

        def guarded(review: Review) -> Answer:
            try:
                return webhook(review)
            except Exception:
                # A mistake of ours must not keep anybody's pod from starting.
                LOG.exception("%s failed on %s %s; it is let through", name, review.kind.kind, review.uid)
                failures.inc()
                return Answer(result="failed")

        async def handle(request: web.Request) -> web.StreamResponse:
            body = await self._body(request, name)
            begin = time.perf_counter()
            try:
                found = answered(body, guarded)
            except UnreadableReviewError as error:
                self._metrics.reviews.labels(name, "malformed").inc()
                return web.Response(status=400, text=f"{error}\n")
            seconds.observe(time.perf_counter() - begin)
            self._metrics.reviews.labels(name, found.result).inc()
            response = web.Response(body=found.body, content_type="application/json")
            if self._draining:
                response.force_close()
            return response

        return handle

    async def _body(self, request: web.Request, name: str) -> bytes:
        try:
            async with asyncio.timeout(self._options.deadline_seconds):
                return await request.read()
        except TimeoutError:
            self._metrics.reviews.labels(name, "late").inc()
            raise web.HTTPRequestTimeout(text="The body did not arrive in time.\n") from None
        except web.HTTPRequestEntityTooLarge:
            self._metrics.reviews.labels(name, "too_large").inc()
            raise
