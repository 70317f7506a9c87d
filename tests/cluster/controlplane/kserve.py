"""KServe's controllers with their webhooks, as a part of the control plane that tests ask for."""

from __future__ import annotations

import asyncio
import functools
import json
from pathlib import Path

from tests.cluster.controlplane import webhooks
from tests.cluster.controlplane.api import Api, Object
from tests.cluster.controlplane.build import Built
from tests.cluster.controlplane.plane import Part, Plane
from tests.cluster.controlplane.processes import Command, free_ports

NAMESPACE = "kserve"
MANAGER = "kserve-manager"
LLM_MANAGER = "kserve-llmisvc"
MODEL_FORMAT = "tests"
"""The model format of the one ClusterServingRuntime, which runs any image: KWOK pulls none."""


async def start(plane: Plane, built: Built) -> None:
    """Installs KServe in Standard mode, without Istio, Knative or a Gateway, and returns when it works.

    Raises:
        ControlPlaneError: it does not start; the message carries its log's tail.
    """
    config = built.folders["kserve-config"]
    ports: dict[str, int] = dict(zip((MANAGER, LLM_MANAGER), free_ports(2), strict=True))
    async with Api(plane.connection) as api:
        await api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        await api.apply(_configuration(config, plane.prometheus_url))
        # Each controller looks once, at its start, for the kinds that it may own.
        await api.install_definitions(_definitions(plane, built, ports[LLM_MANAGER]))
        await plane.add(
            _part(plane, built, MANAGER, ports[MANAGER], "/mutate-serving-kserve-io-v1beta1-inferenceservice"),
            _part(plane, built, LLM_MANAGER, ports[LLM_MANAGER], "/convert"),
        )
        await _register_webhooks(plane, api, config, ports)
        await asyncio.gather(*(api.apply(one) for one in _settings(config)))


def _definitions(plane: Plane, built: Built, port: int) -> list[Path]:
    # KServe publishes its definitions with more and with fewer schemas; more would cost the API server 8 s of CPU.
    own = built.folders["kserve-config"] / "crd" / "minimal"
    needed = (built.folders[name] for name in ("gateway-crds", "inference-crds", "variant-crds", "kserve-lws-crds"))
    # All but patches and kustomizations, which no group begins, and the Gateway API's policy against downgrades.
    plain = [
        file
        for folder in (*needed, own, own / "clusterstoragecontainer")
        for file in folder.glob("*.*_*.yaml")
        if "_vap_" not in file.name
    ]
    return [*plain, *(_converted(plane, file, port) for file in (own / "llmisvc").glob("*.*_*.yaml"))]


def _converted(plane: Plane, file: Path, port: int) -> Path:
    """Writes a definition with the webhook that converts between its versions; a later change would cost seconds."""
    webhook: Object = {
        "clientConfig": webhooks.client_config("/convert", port, plane.authority),
        "conversionReviewVersions": ["v1"],
    }
    conversion = json.dumps({"strategy": "Webhook", "webhook": webhook})
    copy = plane.folder / file.name
    copy.write_text(file.read_text().replace("\nspec:\n", f"\nspec:\n  conversion: {conversion}\n", 1))
    return copy


def _configuration(config: Path, prometheus_url: str | None) -> Object:
    """Returns KServe's own settings, but for the mode: the default one needs Knative.

    And with what KEDA needs to read the numbers of the Workload Variant Autoscaler, which is not there to tell any.
    """
    (item,) = webhooks.read_objects(config / "configmap" / "inferenceservice.yaml")
    item["metadata"]["namespace"] = NAMESPACE
    item["data"]["deploy"] = json.dumps({"defaultDeploymentMode": "Standard"})
    item["data"]["autoscaling-wva-controller-config"] = json.dumps({"prometheus": {"url": prometheus_url}})
    return item


def _part(plane: Plane, built: Built, name: str, port: int, probed: str) -> Part:
    # They read their certificates from a fixed place below the folder for temporary files.
    folder = plane.folder / name
    plane.authority.issue_folder(name, folder / "k8s-webhook-server" / "serving-certs")
    return Part(
        command=Command(
            name=name,
            arguments=(
                str(built.programs[name]),
                f"--kubeconfig={plane.kubeconfig}",
                "--metrics-addr=0",
                "--health-probe-addr=0",
                # They listen on all addresses and cannot be told otherwise. A network namespace hides it.
                f"--webhook-port={port}",
            ),
            environment={"POD_NAMESPACE": NAMESPACE, "TMPDIR": str(folder)},
        ),
        serves=functools.partial(webhooks.serves, probed, port, plane.authority),
    )


async def _register_webhooks(plane: Plane, api: Api, config: Path, ports: dict[str, int]) -> None:
    files = {
        MANAGER: config / "webhook" / "manifests.yaml",
        LLM_MANAGER: config / "webhook" / "llmisvc" / "manifests.yaml",
    }
    for name, file in files.items():
        for item in webhooks.read_objects(file):
            await api.apply(webhooks.by_url(item, ports[name], plane.authority))


def _settings(config: Path) -> list[Object]:
    """Returns the well-known templates of LLMInferenceServices, the downloader of models, and our runtime."""
    (storage,) = webhooks.read_objects(config / "storagecontainers" / "default.yaml")
    templates = [
        one for file in (config / "llmisvcconfig").glob("config-*.yaml") for one in webhooks.read_objects(file)
    ]
    for one in templates:
        one["metadata"]["namespace"] = NAMESPACE
    runtime: Object = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterServingRuntime",
        "metadata": {"name": "wattkeeper-tests"},
        "spec": {
            "supportedModelFormats": [{"name": MODEL_FORMAT, "version": "1", "autoSelect": True}],
            "containers": [{"name": "kserve-container", "image": "vllm"}],
        },
    }
    return [storage, *templates, runtime]
