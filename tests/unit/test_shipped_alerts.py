"""Alert rules as they are shipped: they speak of metrics that are there, and people can look up each alert."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from admission.alert_metrics import AlertMetrics
from admission.certificate_metrics import CertificateMetrics
from admission.metrics import AdmissionMetrics
from kserve_hooks.metrics import ActuatorMetrics
from scaler.metrics import ScalerMetrics
from tests.unit.scaler.results import Row, decision

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "manifests" / "alerts").glob("*.yaml"))
DOCS = (ROOT / "docs" / "alerts.md").read_text()


def rules(path: Path) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def described() -> dict[str, str]:
    """The sections and rows about alerts in the page for people, by the alert's name."""
    sections = re.findall(r"^### (\w+)\n\n(.*?)(?=^#)", DOCS, flags=re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| `(Wattkeeper\w+)` \|(.*)$", DOCS, flags=re.MULTILINE)
    return dict([*sections, *rows])


def metrics() -> dict[str, set[str]]:
    """Every metric that services show, with its labels."""
    scaler, admission, actuator = CollectorRegistry(), CollectorRegistry(), CollectorRegistry()
    ScalerMetrics(scaler).plan.result = decision(Row())
    AlertMetrics(admission)
    AdmissionMetrics(admission)
    CertificateMetrics(admission)
    ActuatorMetrics(actuator)
    known: dict[str, set[str]] = {}
    for registry in (scaler, admission, actuator):
        # Counters without a label value yet show no sample, so the collectors are asked for their labels.
        for collector, names in registry._collector_to_names.items():  # pyright: ignore[reportPrivateUsage]
            labels: set[str] = set(getattr(collector, "_labelnames", ()))
            known |= dict.fromkeys(names, labels)
        for family in registry.collect():
            for sample in family.samples:
                known[sample.name] = known.get(sample.name, set()) | set(sample.labels)
    return known


def test_there_are_rules() -> None:
    assert [path.name for path in FILES] == ["facts.yaml", "health.yaml"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_rule_speaks_of_metrics_and_labels_that_are_there(path: Path) -> None:
    known = metrics()
    for rule in rules(path):
        named = re.findall(r"wattkeeper_\w+", rule["expr"])
        assert named
        assert set(named) <= known.keys(), rule["alert"]
        labels = re.findall(r"by \(([^)]*)\)|\{(\w+)!?=", rule["expr"])
        wanted = {word.strip() for groups in labels for group in groups for word in group.split(",") if word.strip()}
        # Prometheus itself adds those of what it scrapes.
        assert wanted - {"pod", "instance"} <= set().union(*(known[name] for name in named)), rule["alert"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_rule_says_how_bad_it_is_and_what_it_means(path: Path) -> None:
    for rule in rules(path):
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule["alert"] in described(), "docs/alerts.md says what to do"


def test_every_alert_of_the_plugin_has_its_section() -> None:
    names = set(re.findall(r'"(Wattkeeper\w+)"', (ROOT / "admission" / "alert_rules.py").read_text()))
    assert len(names) >= 8
    sections = set(re.findall(r"^### (\w+)$", DOCS, flags=re.MULTILINE))
    assert sections == names


def test_facts_are_alerts_of_the_plugin_and_as_bad() -> None:
    for rule in rules(FILES[0]):
        said = described()[rule["alert"]].lstrip()
        assert said.lower().startswith(rule["labels"]["severity"])
