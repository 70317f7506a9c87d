"""Alerts as plain data: what is wrong, with what, and how it is told apart from others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

Severity = Literal["info", "warning", "critical"]
AboutKind = Literal["PowerBudget", "PowerRecommendation"]


class About(msgspec.Struct, frozen=True, kw_only=True):
    """The object that an alert is about; Events about the alert are its."""

    kind: AboutKind
    namespace: str = ""
    name: str


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something that people should look at.

    Attributes:
        name: such as WattkeeperBudgetOver; docs/alerts.md has a section for each.
        identity: labels that tell alerts of one name apart. What changes while the alert lasts is a figure instead.
        summary: one short sentence.
        description: what is known, for people.
        figures: the same for machines, as further annotations.
        sinks: names that a policy gives, empty for the default ones.
    """

    name: str
    severity: Severity
    about: About
    identity: dict[str, str]
    summary: str
    description: str
    figures: dict[str, str] = {}
    sinks: tuple[str, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """Labels as Alertmanager has them."""
        return {"alertname": self.name, "severity": self.severity, **self.identity}

    @property
    def annotations(self) -> dict[str, str]:
        """Annotations as Alertmanager has them."""
        return {"summary": self.summary, "description": self.description, **self.figures}

    @property
    def fingerprint(self) -> str:
        """Identifies the alert: labels alone decide, in whatever order."""
        return fingerprint(self.labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """What the cluster's objects say, worth an alert once it has held for long enough.

    Attributes:
        since: Unix seconds, from the objects themselves.
        hold_seconds: how long it must hold.
    """

    alert: Alert
    since: float
    hold_seconds: float

    @property
    def fires_at(self) -> float:
        """Unix seconds."""
        return self.since + self.hold_seconds


def fingerprint(labels: Mapping[str, str]) -> str:
    r"""Returns 16 hexadecimal digits that stand for a set of labels.

    >>> fingerprint({"a": "1", "b": "2"}) == fingerprint({"b": "2", "a": "1"}) != fingerprint({"a": "12", "b": ""})
    True
    """
    digest = hashlib.sha256()
    for name, value in sorted(labels.items()):
        # A byte that no UTF-8 has keeps one pair from passing for another.
        digest.update(name.encode() + b"\xff" + value.encode() + b"\xff")
    return digest.hexdigest()[:16]
