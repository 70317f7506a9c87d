"""One blocking query to a Prometheus (or Thanos, Mimir, VictoriaMetrics), by prometheus_api_client.

That library brings no timeouts, retries by itself, and drops `warnings` (partial results). So it is given a session of
ours, which retries nothing, reads a bounded answer, keeps warnings, and can be cut off from another thread: a socket
that trickles never runs into a timeout, which counts from the last byte.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

import msgspec
import requests
from prometheus_api_client.exceptions import PrometheusApiClientException
from prometheus_api_client.prometheus_connect import PrometheusConnect
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.retry import Retry

from wattkeeper.power.readers.errors import NotUnderstoodError, RefusedError, SourceUnreachableError, shortened
from wattkeeper.power.readers.samples import Labels, Series

_MOST_BYTES = 256 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024


class Answer(NamedTuple):
    """What a query yielded.

    Attributes:
        series: of a vector (one point each), a matrix, or a scalar (one series without labels).
        warnings: what the server said about an incomplete answer.
    """

    series: Sequence[Series]
    warnings: tuple[str, ...]


_RawPoint = tuple[float, str]


class _Row(msgspec.Struct, frozen=True, gc=False):
    metric: Labels
    value: _RawPoint | None = None
    values: list[_RawPoint] = []


class _Data(msgspec.Struct, frozen=True, rename="camel"):
    result_type: str
    result: msgspec.Raw


class _Body(msgspec.Struct, frozen=True, rename="camel"):
    status: str
    data: _Data | None = None
    error: str = ""
    warnings: tuple[str, ...] = ()


_BODY = msgspec.json.Decoder(_Body)
_ROWS = msgspec.json.Decoder(list[_Row])
_SCALAR = msgspec.json.Decoder(_RawPoint)


class _Library(Protocol):
    """What is used of PrometheusConnect, whose own annotations deny what it takes: None and fractions of seconds."""

    headers: dict[str, str] | None

    def custom_query(self, query: str, params: dict[str, str], timeout: float) -> list[Series]: ...

    def close(self) -> None: ...


class Prometheus:
    """One Prometheus. Every call blocks; calls may run in several threads at once."""

    def __init__(self, url: str, *, token_file: Path | None = None, ca_file: Path | None = None) -> None:
        """Opens nothing yet.

        Args:
            url: such as http://prometheus.monitoring:9090; a path is kept.
            token_file: read again by `refresh_token`, because tokens of service accounts are replaced.
            ca_file: certificates that sign the server's; None: the system's.

        Raises:
            ValueError: the URL is none of http or https.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no URL of a Prometheus: it should look like http://prometheus:9090")
        self._token_file = token_file
        self._connections = _Connections()
        self._session = _Session(self._connections)
        self._session.verify = True if ca_file is None else str(ca_file)
        self._session.trust_env = False  # ~/.netrc would replace the token, and proxies have no place in a cluster.
        base = url.rstrip("/")
        library: object = PrometheusConnect(url=base, session=self._session, retry=Retry(0))
        self._client = cast("_Library", library)
        # The library has mounted one of its own at the base; the others are for where it redirects to.
        for prefix in (base, "http://", "https://"):
            self._session.mount(prefix, _Adapter(self._connections))

    def refresh_token(self) -> None:
        """Reads the token again.

        Raises:
            RefusedError: there should be one, and it cannot be read.
        """
        if self._token_file is None:
            return
        try:
            token = self._token_file.read_text().strip()
        except OSError as error:
            raise RefusedError(f"the token in {self._token_file} cannot be read: {error.strerror}") from error
        except UnicodeError as error:
            raise RefusedError(f"the token in {self._token_file} is no text") from error
        self._client.headers = {"Authorization": f"Bearer {token}"}

    def query(self, promql: str, *, now: float, timeout_seconds: float) -> Answer:
        """Asks one instant query.

        Args:
            promql: the query.
            now: Unix seconds at which it is evaluated.
            timeout_seconds: for connecting, between any two bytes, and for the server; `abort` bounds the whole.

        Raises:
            ReadError: no usable answer; says why.
        """
        params = {"time": f"{now:.3f}", "timeout": f"{max(timeout_seconds, 0.1):.3f}"}
        try:
            rows = self._client.custom_query(promql, params=params, timeout=timeout_seconds)
        except PrometheusApiClientException as error:
            raise RefusedError(_refusal(self._session.last)) from error
        except requests.Timeout as error:
            raise SourceUnreachableError(f"no answer within {timeout_seconds:.1f} s") from error
        except requests.RequestException as error:
            raise SourceUnreachableError(f"cannot be reached: {shortened(_cause(error))}") from error
        except OSError as error:  # A connection that was cut off while it was read.
            raise SourceUnreachableError(f"the connection broke: {shortened(str(error))}") from error
        return Answer(rows, self._session.last.warnings)

    def abort(self) -> None:
        """Cuts off whatever is under way, from any thread."""
        self._connections.cut()

    def close(self) -> None:
        """Closes everything."""
        self._client.close()
        self._connections.close()


class _Connections:
    """Open connections of all threads, by a second handle of each socket.

    The handle of its own reaches a connection in every state: in its TLS handshake, in its headers, and after
    http.client has let go of one that ends with its answer.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handles: dict[object, socket.socket] = {}
        self._ending: dict[int, list[socket.socket]] = {}

    def opened(self, connection: object, sock: socket.socket) -> None:
        """Takes a handle of a new connection."""
        with self._lock:
            self._handles[connection] = sock.dup()

    def ended(self, connection: object) -> None:
        """Notes that a connection takes no further request; this thread may still read its answer."""
        with self._lock:
            handle = self._handles.pop(connection, None)
            if handle is not None:
                self._ending.setdefault(threading.get_ident(), []).append(handle)

    def answered(self) -> None:
        """Lets go of this thread's connections that have ended."""
        with self._lock:
            for handle in self._ending.pop(threading.get_ident(), ()):
                handle.close()

    def cut(self) -> None:
        """Breaks every connection."""
        with self._lock:
            for handle in (*self._handles.values(), *(one for ending in self._ending.values() for one in ending)):
                with contextlib.suppress(OSError):  # The other end has closed it already.
                    handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Breaks every connection and lets go of all."""
        self.cut()
        with self._lock:
            for handle in (*self._handles.values(), *(one for ending in self._ending.values() for one in ending)):
                handle.close()
            self._handles.clear()
            self._ending.clear()


def _pool_classes(connections: _Connections) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            sock = super()._new_conn()
            connections.opened(self, sock)
            return sock

        def close(self) -> None:
            connections.ended(self)
            super().close()

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            sock = super()._new_conn()
            connections.opened(self, sock)
            return sock

        def close(self) -> None:
            connections.ended(self)
            super().close()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain  # pyright: ignore[reportAssignmentType] - urllib3's protocol fits no subclass.

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure  # pyright: ignore[reportAssignmentType] - as above.

    return {"http": PlainPool, "https": SecurePool}


class _Adapter(HTTPAdapter):
    def __init__(self, connections: _Connections) -> None:
        super().__init__(max_retries=Retry(0), pool_maxsize=16)
        self.poolmanager.pool_classes_by_scheme = _pool_classes(connections)


class _Response(requests.Response):
    """A whole answer, already decoded."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__()
        self.status_code = status
        self.body = body
        self.warnings: tuple[str, ...] = ()

    @property
    def content(self) -> bytes:
        return self.body

    def json(self, **_: Any) -> Any:
        try:
            decoded = _BODY.decode(self.body)
            if decoded.status != "success" or decoded.data is None:
                raise RefusedError(f"the query failed: {shortened(decoded.error or decoded.status)}")
            series = _series(decoded.data)
        except (msgspec.DecodeError, ValueError) as error:
            shown = shortened(self.body[:200].decode(errors="replace"))
            raise NotUnderstoodError(
                f"the answer is not Prometheus' JSON (is this the right URL, and no login page?), it begins: {shown!r}"
            ) from error
        self.warnings = decoded.warnings
        return {"data": {"result": series}}


def _series(data: _Data) -> list[Series]:
    if data.result_type == "scalar":
        when, value = _SCALAR.decode(data.result)
        return [Series(Labels(), [(when, float(value))])]
    if data.result_type not in ("vector", "matrix"):
        raise ValueError(data.result_type)
    series: list[Series] = []
    for row in _ROWS.decode(data.result):
        points = row.values if row.value is None else [row.value]
        if points:
            series.append(Series(row.metric, [(when, float(value)) for when, value in points]))
    return series


class _Session(requests.Session):
    """Reads whole, bounded answers, and remembers each thread's last one."""

    def __init__(self, connections: _Connections) -> None:
        super().__init__()
        self._connections = connections
        self._local = threading.local()

    @property
    def last(self) -> _Response:
        """This thread's last answer."""
        answer: _Response = self._local.answer
        return answer

    def request(self, *args: Any, **kwargs: Any) -> _Response:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Sends a request; the signature is requests', passed through."""
        try:
            with super().request(*args, **{**kwargs, "stream": True}) as response:
                body = bytearray()
                for chunk in response.iter_content(_CHUNK_BYTES):
                    body += chunk
                    if len(body) > _MOST_BYTES:
                        raise NotUnderstoodError(f"the answer is larger than {_MOST_BYTES // 2**20} MiB")
                answer = _Response(response.status_code, bytes(body))
        finally:
            self._connections.answered()
        self._local.answer = answer
        return answer


def _refusal(answer: _Response) -> str:
    try:
        said = _BODY.decode(answer.body).error
    except (msgspec.DecodeError, ValueError):
        said = answer.body[:200].decode(errors="replace")
    hint = " (is the token right?)" if answer.status_code in (401, 403) else ""
    return f"HTTP status {answer.status_code}{hint}: {shortened(said)}"


def _cause(error: BaseException) -> str:
    """Returns the innermost sentence: urllib3 wraps it several times."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    text = str(reason or error)
    # urllib3 puts the connection's own representation first.
    return text.partition("): ")[2] or text
