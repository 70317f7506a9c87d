"""What the Secret of the certificate authority holds, and how it is read where somebody damaged it.

    ca.crt, ca.key            the authority that signs
    next-ca.crt, next-ca.key  the one that will: published already, signing nothing yet
    old-ca.crt                those that signed before, while replicas may still show what they signed
    tls.crt, tls.key          what replicas show

All of it is replaced by one write, so that a reader sees a whole state or another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cryptography import x509

from admission.certificate_authority import Pair, read_certificates, read_pair, starts, to_pem, usable
from admission.errors import UnreadableCertificateError


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What the Secret holds; None is what is missing or cannot be used.

    Attributes:
        issuing: the authority that signs.
        coming: the authority that will sign next.
        old: authorities that no longer sign.
        serving: what replicas show.
    """

    issuing: Pair | None = None
    coming: Pair | None = None
    old: tuple[x509.Certificate, ...] = ()
    serving: Pair | None = None

    def trusted(self, now: float) -> frozenset[x509.Certificate]:
        """Returns the authorities that the API server must trust."""
        named = [pair.certificate for pair in (self.issuing, self.coming) if pair is not None]
        return frozenset(one for one in (*named, *self.old) if usable(one, now))


def newest_first(certificates: Iterable[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """Returns distinct certificates in an order that every replica finds, whatever order they came in."""
    return tuple(sorted(set(certificates), key=lambda one: (-starts(one), one.serial_number)))


def decode(data: Mapping[str, bytes]) -> tuple[Kept, tuple[str, ...]]:
    """Reads what can be read. Returns it, and what is wrong with the rest."""
    wrong: list[str] = []

    def pair(stem: str) -> Pair | None:
        certificate, key = data.get(f"{stem}.crt", b""), data.get(f"{stem}.key", b"")
        if not certificate and not key:
            return None
        try:
            return read_pair(certificate, key)
        except UnreadableCertificateError as error:
            wrong.append(f"{stem}.crt and {stem}.key: {error}")
            return None

    issuing = pair("ca")
    # An authority without its key signs nothing more, but what it signed is still shown.
    old = (*read_certificates(data.get("old-ca.crt", b"")), *(read_certificates(data.get("ca.crt", b""))))
    kept = Kept(
        issuing=issuing,
        coming=pair("next-ca"),
        old=newest_first(one for one in old if issuing is None or one != issuing.certificate),
        serving=pair("tls"),
    )
    return kept, tuple(wrong)


def encode(kept: Kept) -> dict[str, bytes]:
    """Returns the Secret's values."""
    data: dict[str, bytes] = {}
    for stem, pair in (("ca", kept.issuing), ("next-ca", kept.coming), ("tls", kept.serving)):
        if pair is not None:
            data[f"{stem}.crt"], data[f"{stem}.key"] = pair.certificate_pem, pair.key_pem
    if kept.old:
        data["old-ca.crt"] = to_pem(kept.old)
    return data
