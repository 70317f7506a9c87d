"""The Kubernetes client is what everybody else programs against."""

from __future__ import annotations

import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry

from tests.contract.cluster.fake_api import TokenCredentials
from wattkeeper.cluster.client import KubernetesCluster
from wattkeeper.cluster.errors import ClusterError
from wattkeeper.cluster.interface import WATCHED, WATCHED_BY_ACTUATOR, WATCHED_BY_ADMISSION, WATCHED_BY_SCALER, Cluster
from wattkeeper.cluster.resources import RESOURCES


async def test_the_client_implements_the_interface() -> None:
    cluster: Cluster = KubernetesCluster(TokenCredentials("http://127.0.0.1:1"), registry=CollectorRegistry())
    assert not cluster.view.synced()
    with pytest.raises(ClusterError, match="after start"):
        _ = cluster.server_minor
    await cluster.stop()


def test_every_watched_kind_has_a_path() -> None:
    assert {kind: one.collection() for kind, one in RESOURCES.items()}.keys() == set(WATCHED)
    assert set(WATCHED_BY_SCALER) | set(WATCHED_BY_ADMISSION) | set(WATCHED_BY_ACTUATOR) == set(WATCHED)
    pods, budgets = (one for one in RESOURCES.values() if one.kind in ("Pod", "PowerBudget"))
    assert pods.collection("a b") == "/api/v1/namespaces/a%20b/pods"
    assert budgets.item("", "row", "status") == "/apis/wattkeeper.dev/v1alpha1/powerbudgets/row/status"


def test_a_pod_runs_without_the_kubernetes_package() -> None:
    program = "import sys, wattkeeper.cluster.client; sys.exit('kubernetes' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
