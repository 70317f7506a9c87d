"""TLS for the listener, with certificates that are renewed in place: each handshake shows the newest ones.

They come from files, which are looked at then, or from memory. The listener and its connections stay.
"""

from __future__ import annotations

import logging
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from admission.certificate_authority import Pair
from admission.errors import SettingsError

LOG = logging.getLogger(__name__)


class Certificates(Protocol):
    """Where a listener's certificates come from."""

    def context(self) -> ssl.SSLContext:
        """Returns what a listener needs, for as long as it lives."""
        ...

    def ready(self) -> bool:
        """Says whether there is one to show."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class CertificateFiles:
    """PEM files.

    Attributes:
        certificate: our chain, our own certificate first.
        key: our private key.
    """

    certificate: Path
    key: Path


class ReloadingCertificates:
    """Certificates as they are on disk now.

    Attributes:
        reloads: how often renewed ones were taken up.
    """

    def __init__(self, files: CertificateFiles) -> None:
        """Reads them once.

        Raises:
            SettingsError: a file cannot be read, or the key is another certificate's.
        """
        self._files = files
        self._stamps = self._stamped()
        self.reloads = 0
        try:
            self._current = self._read()
        except OSError as error:  # ssl.SSLError is one, too.
            named = f"{files.certificate} and {files.key}"
            raise SettingsError(f"cannot use {named}: {error.strerror or error}. Check the mounted secret.") from error

    def context(self) -> ssl.SSLContext:
        """Returns what a listener needs, for as long as it lives."""
        # Asked for every ClientHello, also for one without a server name.
        listening = self._read()
        listening.sni_callback = self._handshake
        return listening

    def ready(self) -> bool:
        """Says that there is one to show: without any it could not be made."""
        return True

    def _handshake(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _of: ssl.SSLContext) -> None:
        stamps = self._stamped()
        if stamps != self._stamps:
            try:
                # A context of its own: half of a pair in the one that serves would fail every handshake.
                self._current = self._read()
            except OSError as error:
                # Files in the middle of a swap: the next handshake tries again.
                LOG.warning("cannot use renewed certificates (%s); the last ones stay in use", error)
            else:
                self._stamps = stamps
                self.reloads += 1
                LOG.info("took up renewed certificates from %s", self._files.certificate.parent)
        connection.context = self._current

    def _read(self) -> ssl.SSLContext:
        context = _bare()
        # Without a password an encrypted key would be asked for on the terminal, and everything would wait.
        context.load_cert_chain(self._files.certificate, self._files.key, password="")
        return context

    def _stamped(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(_stamp(path) for path in (self._files.certificate, self._files.key))


class HeldCertificates:
    """A certificate in memory, once there is one."""

    def __init__(self) -> None:
        self._current: ssl.SSLContext | None = None
        self.held: Pair | None = None

    def context(self) -> ssl.SSLContext:
        """Returns what a listener needs, for as long as it lives. Handshakes fail until a certificate is taken."""
        listening = _bare()
        listening.sni_callback = self._handshake
        return listening

    def ready(self) -> bool:
        """Says whether there is one to show."""
        return self.held is not None

    def take(self, pair: Pair) -> None:
        """Shows this one from the next handshake on."""
        self._current = _loaded(pair)
        self.held = pair

    def _handshake(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _of: ssl.SSLContext
    ) -> int | None:
        if self._current is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._current
        return None


def _loaded(pair: Pair) -> ssl.SSLContext:
    """Returns a context with a pair. Python reads them from files alone: the key lies there encrypted, for a moment."""
    password = secrets.token_bytes(32).hex()
    encryption = BestAvailableEncryption(password.encode())
    context = _bare()
    with TemporaryDirectory() as folder:
        certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
        certificate.write_bytes(pair.certificate_pem)
        key.write_bytes(pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        context.load_cert_chain(certificate, key, password=password)
    return context


def _bare() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_ino, status.st_size)
