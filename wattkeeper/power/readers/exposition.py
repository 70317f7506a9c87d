"""Parses the text format in which exporters expose metrics, only as far as readers need it.

prometheus_client's parser walks lines letter by letter, and gives up a whole text at the first line that it cannot
read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import msgspec

from wattkeeper.power.readers.samples import Labels

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'\s*(?:"((?:[^"\\\n]|\\.)*)"|([a-zA-Z_][a-zA-Z0-9_]*))\s*=\s*"((?:[^"\\\n]|\\.)*)"\s*,?\s*')
_ESCAPE = re.compile(r"\\(.)")
_UNESCAPED = {"n": "\n", "\\": "\\", '"': '"'}
_MILLISECONDS = 1000.0
_FIELD_OF = {field.encode_name: field.name for field in msgspec.structs.fields(Labels)}
_MOST_SHOWN, _MOST_LINES = 120, 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Exposed:
    """One text.

    Attributes:
        samples: (labels, value, Unix seconds where the exporter says so).
        names: every metric in the text, asked for or not.
        malformed: lines that mean nothing, at most a few, shortened.
        malformed_count: how many there were.
    """

    samples: Sequence[tuple[Labels, float, float | None]]
    names: frozenset[str]
    malformed: tuple[str, ...]
    malformed_count: int


class Parser:
    """Parses one target's texts, and remembers its series: from the second text on, labels are only looked up."""

    def __init__(self, wanted: AbstractSet[str], **defaults: str) -> None:
        """Remembers nothing yet.

        Args:
            wanted: metrics to keep.
            defaults: values of labels that a series does not have itself.
        """
        self._wanted = wanted
        self._defaults = defaults
        # What stands before the value -> the labels.
        self._known: dict[str, Labels] = {}

    def parse(self, text: str) -> Exposed:
        """Parses a text.

        Args:
            text: in Prometheus' text format, or OpenMetrics' (whose exemplars are passed over).

        Returns:
            What could be read: a malformed line costs that line.
        """
        samples: list[tuple[Labels, float, float | None]] = []
        names: set[str] = set()
        malformed: list[str] = []
        count = 0
        known, self._known = self._known, {}
        for line in text.split("\n"):
            match = _NAME.match(line)
            name = match.group() if match else ""
            if name:
                names.add(name)
                if name not in self._wanted:
                    continue
            elif not line.strip() or line.lstrip().startswith("#"):
                continue
            try:
                if not name:
                    raise ValueError(line)  # noqa: TRY301 - as malformed as what does not parse.
                head = line[: line.rfind("}") + 1] or name
                labels = known.get(head)
                if labels is None:
                    labels, head = self._labels(line, name)
                samples.append((labels, *_value(line[len(head) :])))
                self._known[head] = labels
            except ValueError:
                count += 1
                malformed.append(line[:_MOST_SHOWN])
        return Exposed(
            samples=samples, names=frozenset(names), malformed=tuple(malformed[:_MOST_LINES]), malformed_count=count
        )

    def _labels(self, line: str, name: str) -> tuple[Labels, str]:
        """Returns a line's labels, and what stands before its value."""
        fields = {**self._defaults, "metric": name}
        at = len(name)
        if line[at:].lstrip().startswith("{"):
            at = line.index("{", at) + 1
            while not line.startswith("}", at):
                label = _LABEL.match(line, at)
                if label is None:
                    raise ValueError(line)
                at = label.end()
                field = _FIELD_OF.get(label.group(2) or label.group(1))
                if field is not None and label.group(3):
                    fields[field] = _unescaped(label.group(3))
            at += 1
        return Labels(**fields), line[:at]


def _value(text: str) -> tuple[float, float | None]:
    words = text.split("#", 1)[0].split()
    if not 1 <= len(words) <= 2:
        raise ValueError(text)
    if len(words) == 1:
        return float(words[0]), None
    when = float(words[1]) / _MILLISECONDS
    if not math.isfinite(when):
        raise ValueError(text)
    return float(words[0]), when


def _unescaped(value: str) -> str:
    return _ESCAPE.sub(lambda match: _UNESCAPED.get(match.group(1), match.group()), value) if "\\" in value else value
