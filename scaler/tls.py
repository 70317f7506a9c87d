"""TLS for the gRPC listener, with certificates that are renewed in place.

A handshake asks whether the files have changed and takes the new ones; connections and the listener stay.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import grpc

from scaler.errors import SettingsError

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class CertificateFiles:
    """PEM files.

    Attributes:
        certificate: our chain, our own certificate first.
        key: our private key.
        client_ca: who signs the certificates of clients; None asks for none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def all(self) -> tuple[Path, ...]:
        """Returns every file there is."""
        return tuple(path for path in (self.certificate, self.key, self.client_ca) if path is not None)


class ReloadingCertificates:
    """Certificates as they are on disk now."""

    def __init__(self, files: CertificateFiles) -> None:
        """Reads them once.

        Raises:
            SettingsError: a file cannot be read.
        """
        self._files = files
        self._stamp = self._stamps()
        try:
            self._initial = self._read()
        except OSError as error:
            raise SettingsError(f"cannot read {error.filename}: {error.strerror}. Check the mounted secret.") from error

    def credentials(self) -> grpc.ServerCredentials:
        """Returns credentials that look at the files with each handshake."""
        return grpc.dynamic_ssl_server_credentials(
            self._initial,
            # The published types leave out that None means "as before" (grpc.dynamic_ssl_server_credentials says so).
            self._changed,  # pyright: ignore[reportArgumentType]
            require_client_authentication=self._files.client_ca is not None,
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Returns new certificates, or None to go on with the last ones. gRPC's threads call it."""
        stamp = self._stamps()
        if stamp == self._stamp:
            return None
        try:
            read = self._read()
        except OSError as error:
            # A secret that is being swapped: the next handshake tries again.
            LOG.warning("cannot read renewed certificates (%s); the last ones stay in use", error)
            return None
        self._stamp = stamp
        LOG.info("took up renewed certificates from %s", self._files.certificate.parent)
        return read

    def _read(self) -> grpc.ServerCertificateConfiguration:
        pair = (self._files.key.read_bytes(), self._files.certificate.read_bytes())
        client_ca = self._files.client_ca.read_bytes() if self._files.client_ca is not None else None
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=client_ca)

    def _stamps(self) -> tuple[tuple[int, int], ...]:
        return tuple(_stamp(path) for path in self._files.all())


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_ino)
