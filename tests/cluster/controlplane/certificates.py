"""A certificate authority for one run: serving certificates, the front proxy's, and the service accounts' key."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Fixed dates keep the clock out of it; a run lasts hours at most.
NOT_BEFORE = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
NOT_AFTER = dt.datetime(2049, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, kw_only=True)
class KeyPair:
    """Files of a certificate and its key, PEM."""

    certificate: Path
    key: Path


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


class Authority:
    """Signs certificates for 127.0.0.1 and localhost, and writes them into one folder.

    Attributes:
        certificate: file of the authority's own certificate, for clients to trust.
    """

    def __init__(self, folder: Path, name: str = "ca") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name(f"wattkeeper tests {name}")
        public = self._key.public_key()
        certificate = (
            self._builder(self._subject, public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = folder / f"{name}.crt"
        self.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))

    def _builder(self, subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOT_BEFORE)
            .not_valid_after(NOT_AFTER)
        )

    @property
    def bundle(self) -> str:
        """The certificate as a webhook's caBundle wants it."""
        return base64.b64encode(self.certificate.read_bytes()).decode()

    def issue(self, name: str, *, common_name: str | None = None, dns_names: tuple[str, ...] = ()) -> KeyPair:
        """Signs a certificate that serves on loopback and also identifies a client.

        Args:
            name: the stem of the two files.
            common_name: the subject's name; the files' name by default.
            dns_names: names besides localhost that the certificate serves.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        loopback = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
        names = [x509.DNSName(one) for one in ("localhost", *dns_names)]
        certificate = (
            self._builder(_name(common_name or name), key.public_key())
            .add_extension(
                x509.SubjectAlternativeName([*names, *(x509.IPAddress(one) for one in loopback)]), critical=False
            )
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pair = KeyPair(certificate=self._folder / f"{name}.crt", key=self._folder / f"{name}.key")
        pair.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
        _write_key(pair.key, key)
        return pair

    def issue_folder(self, name: str, folder: Path, *, dns_names: tuple[str, ...] = ()) -> KeyPair:
        """Signs a certificate as `issue` does, into a folder, named as in a TLS Secret: ca.crt, tls.crt, tls.key."""
        folder.mkdir(parents=True, exist_ok=True)
        pair = self.issue(name, dns_names=dns_names)
        named = KeyPair(certificate=folder / "tls.crt", key=folder / "tls.key")
        named.key.touch(mode=0o600)
        files = ((self.certificate, folder / "ca.crt"), (pair.certificate, named.certificate), (pair.key, named.key))
        for source, target in files:
            target.write_bytes(source.read_bytes())
        return named

    def trust(self) -> ssl.SSLContext:
        """Returns a context for clients that trust this authority alone."""
        return ssl.create_default_context(cafile=str(self.certificate))


def write_signing_key(folder: Path) -> KeyPair:
    """Writes the key that signs service-account tokens; the pair's certificate file holds the bare public key."""
    key = ec.generate_private_key(ec.SECP256R1())
    pair = KeyPair(certificate=folder / "service-accounts.pub", key=folder / "service-accounts.key")
    pair.certificate.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    _write_key(pair.key, key)
    return pair
