"""Fake inference services in the ways that KServe and LeaderWorkerSet have them, on a test's own nodes.

`Bench.deployment` makes the plain ones. Each of these needs a part of the control plane, which a fixture of its name
starts.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.bench import POOL
from tests.cluster.controlplane.draw import GPU_RESOURCE
from tests.cluster.controlplane.kserve import MODEL_FORMAT
from tests.cluster.controlplane.kwok import EXIT_DELAY, LOAD_DELAY

_DELAYS = {LOAD_DELAY: "200ms", EXIT_DELAY: "1s"}


def _gpus(count: int) -> Object:
    return {"limits": {GPU_RESOURCE: str(count)}} if count else {}


def inference_service(
    namespace: str,
    name: str,
    *,
    gpus: int = 1,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    predictor: Mapping[str, object] | None = None,
) -> Object:
    """Returns an InferenceService that KServe gives no autoscaler: its Deployment's replicas are whoever's sets them.

    Args:
        namespace: the test's own.
        name: its name; the Deployment's is NAME-predictor, and the service of its demand `isvc.NAME-predictor`.
        gpus: GPUs of each pod.
        annotations: further annotations, which KServe copies to its pods, such as draw.LOAD_WATTS.
        labels: labels, which KServe copies to its pods.
        predictor: further fields of spec.predictor, such as maxReplicas.
    """
    external = {"serving.kserve.io/autoscalerClass": "external"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": dict(labels or {}),
            "annotations": {**external, **_DELAYS, **(annotations or {})},
        },
        "spec": {
            "predictor": {
                "nodeSelector": {POOL: namespace},
                "model": {"modelFormat": {"name": MODEL_FORMAT}, "resources": _gpus(gpus)},
                **(predictor or {}),
            }
        },
    }


def llm_inference_service(
    namespace: str,
    name: str,
    *,
    replicas: int = 1,
    size: int = 1,
    gpus: int = 1,
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """Returns an LLMInferenceService without a router, which therefore needs no Gateway.

    Args:
        namespace: the test's own.
        name: its name; the Deployment's is NAME-kserve, a LeaderWorkerSet's NAME-kserve-mn.
        replicas: how many there are.
        size: pods of a replica; several make it a group of a LeaderWorkerSet.
        gpus: GPUs of each pod.
        annotations: further annotations of its pods, such as draw.LOAD_WATTS.
    """
    template: Object = {
        "nodeSelector": {POOL: namespace},
        "containers": [{"name": "main", "image": "vllm", "resources": _gpus(gpus)}],
    }
    groups: Object = {"worker": template, "parallelism": {"data": size, "dataLocal": 1}} if size > 1 else {}
    return {
        "apiVersion": "serving.kserve.io/v1alpha2",
        "kind": "LLMInferenceService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"uri": "hf://tests/model", "name": "model"},
            "replicas": replicas,
            "annotations": {**_DELAYS, **(annotations or {})},
            "template": template,
            **groups,
        },
    }


def leader_worker_set(
    namespace: str,
    name: str,
    *,
    groups: int,
    size: int,
    gpus: int = 1,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Object:
    """Returns a LeaderWorkerSet.

    Args:
        namespace: the test's own.
        name: its name.
        groups: how many replicas, each a group of pods.
        size: pods of a group, its leader among them.
        gpus: GPUs of each pod.
        annotations: further annotations of its pods, such as draw.LOAD_WATTS.
        labels: labels of the set and its pods.
    """
    pods = {
        "metadata": {"labels": dict(labels or {}), "annotations": {**_DELAYS, **(annotations or {})}},
        "spec": {
            "nodeSelector": {POOL: namespace},
            "containers": [{"name": "server", "image": "vllm", "resources": _gpus(gpus)}],
        },
    }
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels or {})},
        "spec": {"replicas": groups, "leaderWorkerTemplate": {"size": size, "workerTemplate": pods}},
    }
