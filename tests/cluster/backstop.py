"""The backstop as the chart installs it, and recommendations as a leader leaves them behind."""

from __future__ import annotations

from collections.abc import Mapping

from tests.cluster.chart import rendered_chart
from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.errors import ApiError

POLICIES = "admissionregistration.k8s.io/v1"
POLICY = "ValidatingAdmissionPolicy"
BINDING = "ValidatingAdmissionPolicyBinding"
GROUP = "wattkeeper.dev/v1alpha1"
_CANARY = "canary"


async def install_policies(bench: Bench, suffix: str, values: Mapping[str, object]) -> str:
    """Applies the chart's policy and binding whose names end so, of a release of the test's own; returns their name."""
    name = ""
    for item in rendered_chart(release=bench.namespace, namespace=bench.namespace, values=values):
        if item["kind"] in (POLICY, BINDING) and item["metadata"]["name"].endswith(suffix):
            name = item["metadata"]["name"]
            await bench.apply(item)
    return name


async def install_backstop(bench: Bench, **values: object) -> str:
    """Applies the backstop and waits until the API server goes by it, and by recommendations; returns its name.

    It counts in the test's own namespace alone: the API server goes by another test's for a moment after its end.
    """
    here = {"matchLabels": {"kubernetes.io/metadata.name": bench.namespace}}
    backstop = {"enabled": True, "namespaceSelector": here, **values}
    name = await install_policies(bench, "-backstop", {"backstop": backstop})
    await bench.deploy(bench.deployment(_CANARY, replicas=0, gpus=0), wait=False)
    await recommend(bench, _CANARY, cap=0)
    await wait_refused(bench, _CANARY, 1)
    return name


async def recommend(
    bench: Bench, name: str, *, cap: int, kind: str = "Deployment", mode: str = "Scale", reason: str = "BudgetBinds"
) -> None:
    """Writes the recommendation of a service; nobody of Wattkeeper's runs, so it stays."""
    group = "apps/v1" if kind == "Deployment" else "leaderworkerset.x-k8s.io/v1"
    target = {"kind": kind, "name": name, "apiVersion": group}
    item: Object = {
        "apiVersion": GROUP,
        "kind": "PowerRecommendation",
        "metadata": {"name": f"{kind.lower()}-{name}", "namespace": bench.namespace},
        "spec": {"scaleTargetRef": target, "policy": name},
    }
    await bench.apply(item)
    status = {
        "mode": mode,
        "target": {"replicas": cap, "watts": cap * 700},
        "reason": reason,
        "message": f"{cap} of 9 replicas: PowerBudget rack-a lacks 900 W for the rest.",
        "bindingBudget": "rack-a",
    }
    await bench.api.apply({**item, "status": status}, sub="status")


async def scaled(bench: Bench, name: str, replicas: int, *, dry: bool = False) -> str:
    """Asks for replicas of a Deployment, and returns why they were refused; "" where they were not."""
    path = await bench.api.path("apps/v1", "Deployment", namespace=bench.namespace, name=name, sub="scale")
    change: Object = {"spec": {"replicas": replicas}}
    query = {"dryRun": "All"} if dry else None
    try:
        await bench.api.request("PATCH", path, change, content_type="application/merge-patch+json", query=query)
    except ApiError as error:
        if error.reason != "Forbidden":
            raise
        return str(error)
    return ""


async def wait_refused(bench: Bench, name: str, replicas: int) -> None:
    """Waits until the API server refuses a number of replicas: it hears of policies and recommendations late."""

    async def refused() -> bool:
        return bool(await scaled(bench, name, replicas, dry=True))

    await bench.wait_for(refused, what=f"{replicas} replicas of {name} are refused")


async def wait_free(bench: Bench, name: str, replicas: int) -> None:
    """Waits until the API server takes a number of replicas."""

    async def free() -> bool:
        return not await scaled(bench, name, replicas, dry=True)

    await bench.wait_for(free, what=f"{replicas} replicas of {name} are not refused")
