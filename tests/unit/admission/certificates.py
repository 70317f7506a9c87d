"""Replicas that keep certificates of one Secret on a cluster in memory, and whether callers trust what they show."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from prometheus_client import CollectorRegistry

from admission.certificate_authority import Pair, read_certificates
from admission.certificate_keeper import CertificateKeeper, KeeperOptions
from admission.certificate_rules import Lives
from admission.certificate_state import Kept, decode
from admission.tls import HeldCertificates
from tests.unit.scaler.memory_cluster import MemoryCluster
from wattkeeper.cluster.errors import ForbiddenError
from wattkeeper.cluster.trust import Secret, WebhookConfiguration, WebhookKind

NOW = 1_800_000_000.0
DAY = 86_400.0
SPACE, SECRET, NAME = "power", "wattkeeper-certificates", "wattkeeper-admission"
HOST = "wattkeeper-admission.power.svc"
MUTATING: WebhookKind = "MutatingWebhookConfiguration"
VALIDATING: WebhookKind = "ValidatingWebhookConfiguration"
LIVES = Lives(names=(HOST,), authority_seconds=360 * DAY, serving_seconds=30 * DAY)
POLL, SETTLE = 10.0, 300.0


class SetClock:
    """Time is what a test says; nobody may wait for it."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a round waits for nothing")


class Died(BaseException):
    """A replica's process ended here."""


class CertificateCluster(MemoryCluster):
    """A MemoryCluster with the Secret and both configurations, empty as the chart makes them.

    Attributes:
        between: called before each read and write, and after each write, by its name.
        writes: the names of what was written.
        denied: a kind of configuration that cannot be written.
    """

    def __init__(self) -> None:
        super().__init__()
        self.between: Callable[[str], None] = lambda _: None
        self.writes: list[str] = []
        self.denied: WebhookKind | None = None
        self.trust.put_secret(SPACE, SECRET, {})
        self.reset(MUTATING)
        self.reset(VALIDATING)

    @property
    def secret(self) -> Mapping[str, bytes]:
        return self.trust.read_secret(SPACE, SECRET).data

    @property
    def kept(self) -> Kept:
        return decode(self.secret)[0]

    def bundles(self) -> tuple[bytes, ...]:
        """Returns all caBundles."""
        return tuple(one for kind in (MUTATING, VALIDATING) for one in self.trust.read_webhooks(kind, NAME).bundles)

    def named(self) -> list[frozenset[x509.Certificate]]:
        """Returns the authorities of each caBundle."""
        return [frozenset(read_certificates(one)) for one in self.bundles()]

    def reset(self, kind: WebhookKind, bundle: bytes = b"") -> None:
        """Makes a configuration anew, as an uninstall and an install do."""
        self.trust.put_webhooks(kind, NAME, {"a.pods": bundle, "b.pods": bundle})

    def put(self, **values: bytes | None) -> None:
        """Puts values into the Secret, or takes them out; their names have _ for . and -."""
        named = {key.replace("_", "-", key.count("_") - 1).replace("_", "."): value for key, value in values.items()}
        data = {key: value for key, value in ({**self.secret} | named).items() if value is not None}
        self.trust.put_secret(SPACE, SECRET, data)

    async def read_secret(self, *, namespace: str, name: str) -> Secret:
        await self._pass("read secret")
        return await super().read_secret(namespace=namespace, name=name)

    async def read_webhooks(self, *, kind: WebhookKind, name: str) -> WebhookConfiguration:
        await self._pass(f"read {kind}")
        return await super().read_webhooks(kind=kind, name=name)

    async def write_secret(self, read: Secret, data: Mapping[str, bytes]) -> None:
        await self._pass("before secret")
        await super().write_secret(read, data)
        self.writes.append("secret")
        self.between("after secret")

    async def write_bundles(self, read: WebhookConfiguration, bundles: Sequence[bytes]) -> None:
        await self._pass(f"before {read.kind}")
        if read.kind == self.denied:
            raise ForbiddenError(f"{read.kind} may not be patched")
        await super().write_bundles(read, bundles)
        self.writes.append(read.kind)
        self.between(f"after {read.kind}")

    async def _pass(self, what: str) -> None:
        await asyncio.sleep(0)
        self.between(what)


class Replica:
    """A process: what it shows is lost with it."""

    def __init__(self, cluster: CertificateCluster, clock: SetClock, lives: Lives = LIVES) -> None:
        self.certificates = HeldCertificates()
        self.registry = CollectorRegistry()
        self.keeper = CertificateKeeper(
            cluster=cluster,
            clock=clock,
            registry=self.registry,
            certificates=self.certificates,
            options=KeeperOptions(
                namespace=SPACE,
                secret=SECRET,
                configurations=((MUTATING, NAME), (VALIDATING, NAME)),
                lives=lives,
                poll_seconds=POLL,
                settle_seconds=SETTLE,
            ),
        )

    @property
    def shows(self) -> Pair:
        held = self.certificates.held
        assert held is not None
        return held

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"wattkeeper_admission_certificate_{name}", labels)


def distrusted(cluster: CertificateCluster, replica: Replica, now: float) -> list[int]:
    """Returns by which of the caBundles a caller would refuse what a replica shows."""
    held = replica.certificates.held
    if held is None:
        return []  # Not ready: nobody calls it.
    return [place for place, one in enumerate(cluster.bundles()) if not trusts(one, held.certificate, now)]


@functools.lru_cache(maxsize=1_000)
def trusts(bundle: bytes, certificate: x509.Certificate, now: float) -> bool:
    """Says whether a caller takes a certificate by a caBundle, verifying as strictly as a TLS client can."""
    authorities = read_certificates(bundle)
    if not authorities:
        return False
    policy = PolicyBuilder().store(Store(list(authorities))).time(datetime.fromtimestamp(now, UTC))
    try:
        policy.build_server_verifier(x509.DNSName(HOST)).verify(certificate, [])
    except VerificationError:
        return False
    return True
