import math

import pytest

from tests.unit.power.readers import test_dcgm
from tests.unit.power.readers.series import INTERVAL, NOW, node_cpu, pod_cpu, run, series
from wattkeeper.power.readers.diagnosis import Evidence, Finding, diagnose
from wattkeeper.power.readers.samples import Series
from wattkeeper.power.readers.settings import ReaderSettings

VLLM = [
    series(name, [1], namespace="ml", pod="a") for name in ("vllm:num_requests_running", "vllm:num_requests_waiting")
]
WHOLE = [*node_cpu("n1", 200, 100), pod_cpu("a", 30), *test_dcgm.gpu("GPU-1", 575, exported=False), *VLLM]


def findings(
    parts: list[Series],
    *,
    also: frozenset[str] = frozenset(),
    zones: frozenset[str] = frozenset({"package", "dram"}),
    interval: float = INTERVAL,
    window: float = 4 * INTERVAL,
    collect: float = math.nan,
    later: float = 0.0,
) -> tuple[Finding, ...]:
    evidence = Evidence(
        present=frozenset(one.labels.metric for one in parts) | also,
        zones=zones,
        intervals={"Kepler (nodes)": interval},
        collect_seconds=collect,
        window_seconds=window,
        round=run(parts),
        now=NOW + later,
    )
    return diagnose(evidence, ReaderSettings())


def said(found: tuple[Finding, ...], level: str) -> str:
    return " ".join(f"{one.what} {one.fix}" for one in found if one.level == level)


def test_where_nothing_is_missing_there_are_only_notes():
    assert {one.level for one in findings(WHOLE)} <= {"note"}


@pytest.mark.parametrize(
    ("parts", "more", "expected"),
    [
        ([], {}, "no Kepler"),
        ([], {"also": frozenset({"kepler_build_info"})}, "powercap"),
        ([], {"also": frozenset({"kepler_build_info"}), "zones": frozenset({"psys"})}, "--zones psys"),
        (node_cpu("n1", 200, 100), {}, "metricsLevel"),
        (WHOLE, {"later": 60.0}, "older than 3 intervals"),
    ],
)
def test_what_makes_control_impossible_is_an_error_with_its_fix(
    parts: list[Series], more: dict[str, float], expected: str
):
    found = findings(parts, **more)  # pyright: ignore[reportArgumentType] - a table of keyword arguments.
    assert expected in said(found, "error")
    assert found[0].level == "error"


def test_gpus_that_nobody_reads_are_a_warning():
    assert "--experimental.gpu.enabled" in said(findings([*node_cpu("n1", 200, 100), pod_cpu("a", 30)]), "warning")


def test_a_slow_dcgm_exporter_is_a_warning():
    assert "DCGM_EXPORTER_INTERVAL" in said(findings(WHOLE, collect=30.0), "warning")


def test_missing_pod_labels_of_dcgm_are_a_warning():
    parts = [*node_cpu("n1", 200, 100), pod_cpu("a", 30), *test_dcgm.gpu("GPU-1", 575, pod="")]
    assert "--kubernetes" in said(findings(parts), "warning")


def test_a_slow_scrape_and_a_short_window_are_warnings():
    assert "interval: 5s" in said(findings(WHOLE, interval=60.0, window=240.0), "warning")
    assert "--window 20" in said(findings(WHOLE, window=10.0), "warning")


def test_other_model_servers_need_a_query():
    without = [one for one in WHOLE if not one.labels.metric.startswith("vllm")]
    assert "sum(tgi_queue_size" in said(findings(without, also=frozenset({"tgi_queue_size"})), "warning")
    assert "PodMonitor" in said(findings(without), "warning")
