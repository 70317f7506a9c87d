"""A certificate authority of our own: makes authorities and what they sign, and reads both back. It knows no cluster.

The API server trusts it for calls to our webhooks and for nothing else. Times are Unix seconds.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from admission.errors import UnreadableCertificateError

_SKEW_SECONDS: Final = 300.0
"""Certificates begin that much earlier, because clocks differ: what Kubernetes' own signer does (1.36
pkg/controller/certificates/signer/signer.go, backdate)."""

_BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key as PEM, in the clear."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make_authority(*, now: float, life_seconds: float) -> Pair:
    """Makes a new authority, whose key has been used for nothing yet."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    # Dated, so that people can tell authorities apart.
    name = _name(f"wattkeeper admission {datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}")
    certificate = (
        _builder(name, name, public, now, now + life_seconds)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(certificate=certificate, key=key)


def issue(authority: Pair, names: Sequence[str], *, now: float, life_seconds: float) -> Pair:
    """Signs a serving certificate, which ends no later than the authority.

    Args:
        authority: who signs.
        names: host names and IP addresses that it serves.
        now: when it begins.
        life_seconds: how long it lasts.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    until = min(now + life_seconds, ends(authority.certificate))
    certificate = (
        _builder(_name("wattkeeper admission"), authority.certificate.subject, public, now, until)
        .add_extension(x509.SubjectAlternativeName(served(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return Pair(certificate=certificate, key=key)


def read_pair(certificate: bytes, key: bytes) -> Pair:
    """Reads PEM.

    Raises:
        UnreadableCertificateError: one of the two is none of ours, or they do not belong together.
    """
    (found, *_) = read_certificates(certificate) or (None,)
    if found is None:
        raise UnreadableCertificateError("no certificate can be read")
    try:
        private = load_pem_private_key(key, password=None)
    except Exception as error:  # ValueError, TypeError, UnsupportedAlgorithm, and what OpenSSL thinks of.
        raise UnreadableCertificateError("the key cannot be read") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != found.public_key():
        raise UnreadableCertificateError("the key is not this certificate's")
    return Pair(certificate=found, key=private)


def read_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Reads every certificate that can be read, and passes over what cannot, as the API server does."""
    return tuple(found for block in _BLOCK.findall(pem) if (found := _read(block)) is not None)


def _read(block: bytes) -> x509.Certificate | None:
    try:
        found = x509.load_pem_x509_certificate(block)
        # What is read late fails late: dates, key and extensions now, so that nothing fails after this.
        _ = found.not_valid_before_utc, found.not_valid_after_utc, found.extensions, found.public_key()
    except Exception:  # Bytes of strangers; cryptography documents ValueError and raises others as well.
        return None
    return found


def to_pem(certificates: Iterable[x509.Certificate]) -> bytes:
    """Returns certificates as PEM, one after the other."""
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def starts(certificate: x509.Certificate) -> float:
    """Returns when a certificate begins."""
    return certificate.not_valid_before_utc.timestamp()


def ends(certificate: x509.Certificate) -> float:
    """Returns when a certificate ends."""
    return certificate.not_valid_after_utc.timestamp()


def usable(certificate: x509.Certificate, now: float) -> bool:
    """Says whether a certificate has begun and not ended."""
    return starts(certificate) <= now < ends(certificate)


def signed(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Says whether an authority signed a certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def names_of(certificate: x509.Certificate) -> frozenset[x509.GeneralName]:
    """Returns the host names and IP addresses that a certificate serves."""
    try:
        return frozenset(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return frozenset()


def served(names: Iterable[str]) -> frozenset[x509.GeneralName]:
    """Returns host names and IP addresses as certificates carry them.

    Raises:
        ValueError: one is neither.
    """
    return frozenset(_general(name) for name in names)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: float, until: float
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(now - _SKEW_SECONDS, UTC))
        .not_valid_after(datetime.fromtimestamp(until, UTC))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
