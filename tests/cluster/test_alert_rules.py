"""The shipped alert rules in Prometheus' own tool: they parse, and they fire when they should."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.chart import rendered_chart
from tests.cluster.controlplane.build import find_promtool
from tests.cluster.controlplane.errors import BuildError, MissingToolError
from tests.cluster.controlplane.plane import Plane

RULES = sorted((Path(__file__).resolve().parents[2] / "manifests" / "alerts").glob("*.yaml"))
SERVICE = 'service_namespace="chat",service_kind="Deployment",service="llm"'
NAMED = {"namespace": "chat", "service_namespace": "chat", "service_kind": "Deployment", "service": "llm"}


@pytest.fixture(scope="module")
def promtool(plane: Plane) -> Path:
    try:
        return find_promtool()
    except (MissingToolError, BuildError) as error:
        pytest.skip(str(error))


def run(promtool: Path, *arguments: str | Path) -> None:
    done = subprocess.run(
        [promtool, *arguments], capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_parse(promtool: Path) -> None:
    run(promtool, "check", "rules", *RULES)


@pytest.mark.parametrize(
    ("series", "alert", "labels", "minute"),
    [
        ({'wattkeeper_budget_over_watts{budget="a",pod="x"}': "0 0 5x20"}, "WattkeeperBudgetOver", {"budget": "a"}, 8),
        ({'wattkeeper_budget_rung{budget="a",pod="x"}': "0 1x20"}, "WattkeeperTelemetryStale", {"budget": "a"}, 3),
        ({f"wattkeeper_service_waiting_replicas{{{SERVICE}}}": "1x20"}, "WattkeeperPodsWaiting", NAMED, 11),
        ({f"wattkeeper_service_slipped_pods{{{SERVICE}}}": "0 0 2x20"}, "WattkeeperPodsSlipped", NAMED, 4),
        (
            {
                'wattkeeper_decision_age_seconds{pod="x"}': "0 60x9",
                'wattkeeper_decision_age_seconds{pod="y"}': "0+60x9",
            },
            "WattkeeperNobodyDecides",
            None,
            8,
        ),
        ({'wattkeeper_decision_age_seconds{pod="x"}': "0+60x9"}, "WattkeeperNobodyDecides", {}, 5),
        ({"wattkeeper_warm": "1x9"}, "WattkeeperScalerAbsent", {}, 6),
        (
            {'wattkeeper_admission_certificate_failures_total{part="secret"}': "0+6x30"},
            "WattkeeperCertificatesFail",
            {"part": "secret"},
            17,
        ),
        (
            {'wattkeeper_admission_certificate_expiry_timestamp_seconds{certificate="serving",pod="x"}': "90000x90"},
            "WattkeeperCertificateEnds",
            {"certificate": "serving"},
            61,
        ),
        (
            {'wattkeeper_alert_notifications_failed_total{sink="chat"}': "0+1x30"},
            "WattkeeperSinkFails",
            {"sink": "chat"},
            20,
        ),
        (
            {'wattkeeper_alert_notifications_failed_total{sink="chat"}': "0 1 2 2x30"},
            "WattkeeperSinkFails",
            None,
            20,
        ),
        ({"wattkeeper_alert_sinks_readable": "0x9"}, "WattkeeperSinksUnreadable", {}, 6),
        (
            {'wattkeeper_gate_failures_total{reason="refused"}': "0+1x20"},
            "WattkeeperGatesStuck",
            {"reason": "refused"},
            10,
        ),
        (
            {'wattkeeper_writes_total{what="event",outcome="failed"}': "0+1x20"},
            "WattkeeperWritesFail",
            {"what": "event"},
            10,
        ),
    ],
)
def test_a_rule_fires_for_what_it_is_about(
    promtool: Path,
    tmp_path: Path,
    series: dict[str, str],
    alert: str,
    labels: dict[str, str] | None,
    minute: int,
) -> None:
    (file,) = [path for path in RULES if f"alert: {alert}\n" in path.read_text()]
    (rule,) = [
        rule
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
        if rule["alert"] == alert
    ]
    severity = rule["labels"]["severity"]
    fires = [] if labels is None else [{"exp_labels": {"severity": severity, **labels}}]
    # Texts are for people; the tool compares them unless the rule has none.
    bare = {"groups": [{"name": "bare", "rules": [{key: rule[key] for key in rule if key != "annotations"}]}]}
    (tmp_path / "rule.yaml").write_text(yaml.safe_dump(bare))
    case: dict[str, Any] = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": fires}],
    }
    test = tmp_path / "test.yaml"
    test.write_text(yaml.safe_dump({"rule_files": ["rule.yaml"], "evaluation_interval": "1m", "tests": [case]}))
    run(promtool, "test", "rules", test)


def groups(values: dict[str, object]) -> list[str]:
    (rule,) = [one for one in rendered_chart(values=values) if one["kind"] == "PrometheusRule"]
    return [group["name"] for group in rule["spec"]["groups"]]


def test_the_chart_has_the_same_rules_for_the_prometheus_operator(plane: Plane) -> None:
    values = {"prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}}}
    (rule,) = [one for one in rendered_chart(values=values) if one["kind"] == "PrometheusRule"]
    shipped = {group["name"]: group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]}
    assert {group["name"]: group for group in rule["spec"]["groups"]} == shipped
    assert rule["metadata"]["labels"]["release"] == "prometheus"


def test_rules_that_an_alert_sink_makes_needless_can_be_left_out(plane: Plane) -> None:
    assert groups({"prometheusRule": {"enabled": True, "facts": False}}) == ["wattkeeper-health"]
    assert [one for one in rendered_chart() if one["kind"] == "PrometheusRule"] == []
