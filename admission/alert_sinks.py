"""Who can be told: sinks that an admin defines in a file, which is read again when it changes.

URLs and tokens are secrets: no message, log line or representation made here shows one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from admission.alert import Alert
from admission.errors import SettingsError

LOG = logging.getLogger(__name__)

EVENTS: Final = "events"
"""A sink that is always there: Kubernetes Events on what an alert is about."""

_MOST_BYTES: Final = 1024 * 1024
_NAME: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_LABEL: Final = re.compile(r"^[a-zA-Z_][a-zA-Z0-9_]*$")
_OWN_LABELS: Final = frozenset({"alertname", "severity", "budget", "namespace", "service_kind", "service"})


class _Strict(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True
    )


def _is_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        usable = usable and not parts.fragment and not re.search(r"\s", text)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("is no URL: it should look like https://alerts.example.com/path")
    return value


Url = Annotated[SecretStr, AfterValidator(_is_url)]


class Sink(_Strict):
    """Somebody who can be told.

    Attributes:
        name: what policies call it.
        type: alertmanager (its v2 API), webhook (Alertmanager's own webhook form, one alert each) or slack.
        url: for alertmanager where it serves, for the others where to post.
        default: told of alerts whose policy names no sinks, and of those that have no policy.
        token: sent as a bearer token.
        ca_file: certificates that sign the server's own; the system's by default.
    """

    name: str = Field(max_length=63, pattern=_NAME)
    type: Literal["alertmanager", "webhook", "slack"]
    url: Url
    default: bool = False
    token: SecretStr | None = None
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _bare_base(self) -> Self:
        if self.name == EVENTS:
            raise ValueError(f"{EVENTS} is a sink that is there already: choose another name")
        if self.type == "alertmanager" and urlsplit(self.url.get_secret_value()).query:
            raise ValueError("the URL of an Alertmanager takes no query: give the address at which it serves")
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nobody may see, the longest first."""
        parts = urlsplit(self.url.get_secret_value())
        hidden = [self.url.get_secret_value(), parts.path.strip("/"), parts.query, parts.username, parts.password]
        hidden += [self.token.get_secret_value() if self.token else ""]
        return tuple(sorted((one for one in hidden if one), key=len, reverse=True))


class Sinks(_Strict):
    """All of them.

    Attributes:
        labels: put on every alert beside its own, such as the cluster's name.
        generator_url: a page for people, such as a dashboard, sent with every alert.
    """

    sinks: tuple[Sink, ...] = Field(default=(), max_length=32)
    labels: dict[str, str] = {}
    generator_url: str = ""

    @field_validator("labels")
    @classmethod
    def _usable_labels(cls, labels: dict[str, str]) -> dict[str, str]:
        for name in labels:
            if not _LABEL.match(name):
                raise ValueError("has a name that is none: letters, digits and underscores")
            if name in _OWN_LABELS:
                raise ValueError(f"has {name}, which alerts carry themselves")
        return labels

    @field_validator("generator_url")
    @classmethod
    def _usable_url(cls, url: str) -> str:
        return _is_url(SecretStr(url)).get_secret_value() if url else url

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [sink.name for sink in self.sinks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two sinks are called {twice[0]}")
        return self

    @property
    def names(self) -> frozenset[str]:
        """What policies may name."""
        return frozenset(sink.name for sink in self.sinks)

    def recipients(self, alert: Alert) -> Collection[str]:
        """Returns who is told of an alert: those that its policy names, else the default ones, and always Events."""
        named = self.names.intersection(alert.sinks)
        return {EVENTS, *(named or (sink.name for sink in self.sinks if sink.default))}


class SinksFile:
    """The sinks as they are on disk.

    Attributes:
        sinks: the last ones that could be read.
        readable: whether those on disk now can be.
    """

    def __init__(self, path: Path | None) -> None:
        """Reads the file once.

        Args:
            path: None for no sinks.

        Raises:
            SettingsError: it cannot be used.
        """
        self._path = path
        self._stamp = _stamp(path)
        self.sinks = Sinks() if path is None else read_sinks(path)
        self.readable = True

    def refresh(self) -> None:
        """Reads the file again if it has changed. One that cannot be used changes nothing, and is logged once."""
        stamp = _stamp(self._path)
        if self._path is None or stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self.sinks = read_sinks(self._path)
        except SettingsError as error:
            self.readable = False
            LOG.warning("the last alert sinks stay in use: %s", error)
        else:
            self.readable = True
            LOG.info("took up %d alert sinks from %s", len(self.sinks.sinks), self._path)


def read_sinks(path: Path) -> Sinks:
    """Reads a file of sinks.

    Raises:
        SettingsError: says what is wrong and where, and nothing of what is written there.
    """
    said = f"WATTKEEPER_ALERT_SINKS_FILE {path}"
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise SettingsError(f"{said} is larger than {_MOST_BYTES // 1024} KiB")
        given: Any = yaml.safe_load(text.decode())
    except OSError as error:
        raise SettingsError(f"{said} cannot be read: {error.strerror}. Check the mounted secret.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
        raise SettingsError(f"{said} is no YAML{place}") from None  # Its own message shows the line.
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise SettingsError(f"{said} is no YAML") from None
    try:
        return Sinks.model_validate({} if given is None else given)
    except ValidationError as error:
        raise SettingsError(f"{said}: {_explained(error)}") from None


def _explained(error: ValidationError) -> str:
    def place(location: tuple[int | str, ...]) -> str:
        # A key may be a secret that somebody put in the wrong place.
        shown = [one if isinstance(one, int) or re.fullmatch(r"[A-Za-z]{1,24}", one) else "?" for one in location]
        return ".".join(map(str, shown)) or "the file"

    found = error.errors(include_input=False, include_context=False, include_url=False)
    return "; ".join(f"{place(one['loc'])}: {one['msg'].removeprefix('Value error, ')}" for one in found[:5])


def _stamp(path: Path | None) -> tuple[int, int, int]:
    try:
        status = path.stat() if path is not None else None
    except OSError:
        status = None
    return (0, 0, 0) if status is None else (status.st_mtime_ns, status.st_ino, status.st_size)
