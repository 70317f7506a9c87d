"""Keeps the webhooks' certificates: takes up what the Secret holds, and does what is due about it.

Every replica runs this, and none leads. Each write is made only as the state was read, and certificate_rules.py says
why two that act at once do no harm; so a Lease would add nothing but a holder that others have to wait for, such as one
of an earlier version that keeps no certificates.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from prometheus_client import CollectorRegistry

from admission.certificate_authority import ends, read_certificates, usable
from admission.certificate_metrics import CertificateMetrics
from admission.certificate_rules import Lives, Step, bundle, carried, in_force, next_step, signer
from admission.certificate_state import Kept, decode, encode
from admission.tls import HeldCertificates
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.cluster.clock import Clock
from wattkeeper.cluster.errors import ClusterError, ConflictError, NotFoundError
from wattkeeper.cluster.interface import Cluster, EventRecord
from wattkeeper.cluster.trust import Secret, WebhookKind

LOG = logging.getLogger(__name__)

_MOST_STEPS: Final = 6
"""Of one round; a first start takes two. Whoever undoes them as fast must not keep us busy."""

_HURRY_SECONDS: Final = 1.0
"""Between rounds while there is nothing to show: nobody is answered until then."""

_DONE: Final = {
    "prepare": "made a new certificate authority; it signs once every webhook configuration names it",
    "promote": "the new certificate authority signs from now on",
    "retire": "the old certificate authority is trusted no longer",
    "renew": "signed the serving certificate anew",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class KeeperOptions:
    """What to keep, and how.

    Attributes:
        namespace: the Secret's.
        secret: its name. It must be there, empty at first.
        configurations: webhook configurations whose caBundles name the authority.
        lives: how long certificates last, and for which names.
        poll_seconds: how often each replica looks.
        settle_seconds: how long a change may take to be known to every API server and replica.
    """

    namespace: str
    secret: str
    configurations: tuple[tuple[WebhookKind, str], ...]
    lives: Lives
    poll_seconds: float = 10.0
    settle_seconds: float = 300.0


class Steady:
    """For how long something has been the same, as far as we saw: the clocks of others do not matter."""

    def __init__(self) -> None:
        self._what: object = None
        self._since = 0.0

    def seconds(self, what: object, now: float) -> float:
        """Says what it is now, and returns since when; 0 for None, and from anew where the clock was set back."""
        if what is None or what != self._what or now < self._since:
            self._what, self._since = what, now
        return now - self._since


class CertificateKeeper:
    """Keeps certificates of one Secret."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        clock: Clock,
        registry: CollectorRegistry,
        certificates: HeldCertificates,
        options: KeeperOptions,
    ) -> None:
        """Takes its parts.

        Args:
            cluster: where the Secret and the configurations are.
            clock: the only source of time.
            registry: of metrics.
            certificates: what the listener shows.
            options: what to keep, and how.
        """
        self._cluster = cluster
        self._clock = clock
        self._metrics = CertificateMetrics(registry)
        self._certificates = certificates
        self._options = options
        self._signer: x509.Certificate | None = None
        self._in_force = Steady()
        self._carried = Steady()
        self._said: dict[str, str] = {}

    async def run(self) -> None:
        """Keeps them until cancelled."""
        while True:
            await self.round()
            poll = self._options.poll_seconds
            await self._clock.sleep(poll if self._certificates.held is not None else min(poll, _HURRY_SECONDS))

    async def round(self) -> None:
        """Does what is due now. Whatever fails is counted, logged once, and tried again with the next round."""
        try:
            for _ in range(_MOST_STEPS):
                if not await self._looked():
                    break
        except NotFoundError as error:
            await self._announce_missing(error)
        except ClusterError as error:
            self._failed("secret", f"the certificates' Secret cannot be used, and what we have stays in use: {error}")
        except Exception as error:  # A defect in one round must end neither the rounds nor the webhooks beside them.
            self._failed("defect", f"certificates are not kept: {error!r}", defect=True)
        else:
            for part in ("secret", "defect"):
                self._works(part)

    async def _looked(self) -> bool:
        """Looks once, and takes one step if one is due. Returns whether to look again at once."""
        options, now = self._options, self._clock.now()
        secret = await self._cluster.read_secret(namespace=options.namespace, name=options.secret)
        kept, wrong = decode(secret.data)
        settled = self._in_force.seconds(in_force(kept, now), now) >= options.settle_seconds
        named = await self._tell(kept, now, settled=settled)
        self._take(kept, named, now)
        promotes = self._may_promote(kept, named, now)
        step = next_step(kept, options.lives, now, may_promote=promotes, settled=settled)
        if step is None:
            return False
        try:
            await self._cluster.write_secret(secret, encode(step.kept))
        except ConflictError:
            return True  # Another replica was faster: see what it did.
        self._metrics.steps.labels(step.kind).inc()
        await self._explain(step, secret, _loss(step, kept, wrong, named, self._certificates.held is not None))
        return True

    async def _tell(self, kept: Kept, now: float, *, settled: bool) -> list[bytes] | None:
        """Has every configuration name whom it must. Returns all caBundles as they are now; None if one is unknown."""
        named: list[bytes] = []
        whole = True
        for kind, name in self._options.configurations:
            part = f"{kind} {name}"
            try:
                read = await self._cluster.read_webhooks(kind=kind, name=name)
                wanted = tuple(bundle(one, kept, self._signer, now, settled=settled) for one in read.bundles)
                if wanted != read.bundles:
                    await self._cluster.write_bundles(read, wanted)
                    LOG.info("told %s which certificate authorities to trust", part)
            except NotFoundError:
                self._say(part, f"there is no {part}: nobody calls its webhooks")
            except ConflictError:
                whole = False  # Another replica was faster: the next look sees what it did.
            except ClusterError as error:
                whole = False
                self._failed(part, f"{part} cannot be told whom to trust, and no authority is replaced: {error}")
            else:
                named += wanted
                self._works(part)
        return named if whole else None

    def _take(self, kept: Kept, named: list[bytes] | None, now: float) -> None:
        """Shows what the Secret holds from now on, if who calls can trust it."""
        held, by = self._certificates.held, signer(kept, now)
        authority = kept.issuing.certificate if kept.issuing is not None else None
        self._metrics.expiry.labels("authority").set(float("nan") if authority is None else ends(authority))
        if kept.serving is None or by is None or held == kept.serving:
            return
        known = by == self._signer or (named is not None and carried(named, by, now) != "no")
        # While others are trusted and this one is not, the last one is better; without a usable one any is.
        if held is None or known or not usable(held.certificate, now):
            self._certificates.take(kept.serving)
            self._signer = by
            until = ends(kept.serving.certificate)
            self._metrics.expiry.labels("serving").set(until)
            LOG.info("took up the serving certificate of the Secret")

    def _may_promote(self, kept: Kept, named: list[bytes] | None, now: float) -> bool:
        coming = None if kept.coming is None else kept.coming.certificate
        how = "no" if coming is None or named is None else carried(named, coming, now)
        seconds = self._carried.seconds(None if how == "no" else coming, now)
        # Where nobody else was ever trusted, nobody's calls can be hurt.
        return how == "alone" or (how == "beside" and seconds >= self._options.settle_seconds)

    async def _explain(self, step: Step, secret: Secret, loss: str) -> None:
        if not loss:
            LOG.info("certificates: %s", _DONE[step.kind])
            return
        LOG.warning("certificates: %s; %s", loss, _DONE[step.kind])
        await self._announce(secret, "CertificatesReissued", "Issue", f"{loss}; {_DONE[step.kind]}.")

    async def _announce_missing(self, error: NotFoundError) -> None:
        options = self._options
        what = (
            f"the Secret {options.namespace}/{options.secret} is gone, and certificates last as long as they do: "
            "helm upgrade makes it again, empty, and new ones are issued then"
        )
        if self._failed("secret", f"{what} ({error})"):
            meta = ObjectMeta(namespace=options.namespace, name=options.secret)
            await self._announce(Secret(metadata=meta), "CertificatesMissing", "Read", f"{what}.")

    async def _announce(self, secret: Secret, reason: str, action: str, note: str) -> None:
        event = EventRecord(
            regarding=secret,
            type="Warning",
            reason=reason,
            action=action,
            note=note[:1_024],
            dedupe_key=reason,
        )
        try:
            await self._cluster.record(event)
        except ClusterError as error:
            self._failed("announce", f"an event about certificates cannot be written: {error}")

    def _failed(self, part: str, what: str, *, defect: bool = False) -> bool:
        """Counts a failure, and logs it unless it is the last one again. Returns whether it was logged."""
        self._metrics.failures.labels(part).inc()
        return self._say(part, what, defect=defect)

    def _say(self, part: str, what: str, *, defect: bool = False) -> bool:
        if self._said.get(part) == what:
            return False
        self._said[part] = what
        LOG.warning("%s", what, exc_info=defect)
        return True

    def _works(self, part: str) -> None:
        if self._said.pop(part, None) is not None:
            LOG.info("certificates: %s is as it should be again", part)


@asynccontextmanager
async def kept_certificates(
    *, cluster: Cluster, clock: Clock, registry: CollectorRegistry, options: KeeperOptions
) -> AsyncGenerator[HeldCertificates, None]:
    """Keeps certificates while the block runs. Arguments as above.

    Yields:
        What a listener shows; nothing before the first round.
    """
    certificates = HeldCertificates()
    keeper = CertificateKeeper(
        cluster=cluster, clock=clock, registry=registry, certificates=certificates, options=options
    )
    keeping = asyncio.create_task(keeper.run(), name="certificates")
    try:
        yield certificates
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


def _loss(step: Step, kept: Kept, wrong: tuple[str, ...], named: list[bytes] | None, shown: bool) -> str:
    """Says what was lost that a step replaces; "" where it only follows time, or begins."""
    if step.kind not in ("prepare", "renew"):
        return ""
    if wrong:
        return f"the Secret is damaged ({'; '.join(wrong)})"
    if step.kind == "renew" or kept.issuing is not None:
        return ""
    before = shown or any(read_certificates(one) for one in named or ())
    return "the Secret holds no certificate authority, but there was one" if before else ""
