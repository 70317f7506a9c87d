"""Parses the text format in which exporters expose metrics, only as far as readers need it.

prometheus_client's parser walks lines letter by letter, and gives up a whole text at the first line that it cannot
read.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import msgspec

from wattkeeper.power.readers.samples import Labels

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'\s*(?:"((?:[^"\\\n]|\\.)*)"|([a-zA-Z_][a-zA-Z0-9_]*))\s*=\s*"((?:[^"\\\n]|\\.)*)"\s*(,|\}|$)')
_ESCAPE = re.compile(r"\\(.)")
_UNESCAPED = {"n": "\n", "\\": "\\", '"': '"'}
_MILLISECONDS = 1000.0
_FIELD_OF = {field.encode_name: field.name for field in msgspec.structs.fields(Labels)}
_MOST_SHOWN = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Exposed:
    """One text.

    Attributes:
        samples: (labels, value, Unix seconds where the exporter says so).
        names: every metric in the text, asked for or not.
        malformed: lines that mean nothing, at most a few, shortened.
        malformed_count: how many there were.
    """

    samples: tuple[tuple[Labels, float, float | None], ...]
    names: frozenset[str]
    malformed: tuple[str, ...]
    malformed_count: int


def parse(text: str, wanted: AbstractSet[str], **defaults: str) -> Exposed:
    """Parses a text.

    Args:
        text: in Prometheus' text format, or OpenMetrics' (whose exemplars and units are passed over).
        wanted: metrics to keep.
        defaults: values of labels that a series does not have itself.

    Returns:
        What could be read: a malformed line costs that line.
    """
    samples: list[tuple[Labels, float, float | None]] = []
    names: set[str] = set()
    malformed: list[str] = []
    count = 0
    for line in text.splitlines():
        match = _NAME.match(line)
        if match is None:
            if line.strip() and not line.lstrip().startswith("#"):
                count += 1
                malformed.append(line[:_MOST_SHOWN])
            continue
        name = match.group()
        names.add(name)
        if name not in wanted:
            continue
        try:
            samples.append(_sample(line, name, match.end(), defaults))
        except ValueError:
            count += 1
            malformed.append(line[:_MOST_SHOWN])
    return Exposed(
        samples=tuple(samples), names=frozenset(names), malformed=tuple(malformed[:3]), malformed_count=count
    )


def _sample(line: str, name: str, at: int, defaults: dict[str, str]) -> tuple[Labels, float, float | None]:
    fields = {**defaults, "metric": name}
    rest = line[at:].lstrip()
    if rest.startswith("{"):
        at = line.index("{", at) + 1
        while not (closed := line.startswith("}", at)):
            label = _LABEL.match(line, at)
            if label is None:
                raise ValueError(line)
            at = label.end()
            field = _FIELD_OF.get(label.group(2) or label.group(1))
            if field is not None and label.group(3):
                fields[field] = _unescaped(label.group(3))
            if label.group(4) == "}":
                break
        rest = line[at + closed :]
    words = rest.split("#", 1)[0].split()
    if not 1 <= len(words) <= 2:
        raise ValueError(line)
    when = float(words[1]) / _MILLISECONDS if len(words) == 2 else None
    return Labels(**fields), float(words[0]), when


def _unescaped(value: str) -> str:
    return _ESCAPE.sub(lambda match: _UNESCAPED.get(match.group(1), match.group()), value) if "\\" in value else value
