"""The admission plugin on the real control plane: requests, the gate and steering, on pods that controllers make.

Its processes run under the chart's own account, the API server asks them as the chart's webhooks say, and the leader of
the closed loop opens the gates.
"""

from __future__ import annotations

from tests.cluster.admission import AdmissionPlugin
from tests.cluster.controlplane.api import Object, holds
from tests.cluster.controlplane.bench import Bench
from tests.cluster.loop import Loop
from wattkeeper.api.admission import ADMISSION_ANNOTATION, CAPPED_LABEL, POWER_GATE, PREDICTED_WATTS_ANNOTATION

PLENTY = 1_000_000.0
CAPPED = {CAPPED_LABEL: "true"}


def gated(pod: Object) -> bool:
    return {"name": POWER_GATE} in pod["spec"].get("schedulingGates", [])


def note(pod: Object, name: str = ADMISSION_ANNOTATION) -> str:
    return pod["metadata"].get("annotations", {}).get(name, "")


async def wait_pods(bench: Bench, selector: str, *, out: int, waiting: int = 0) -> tuple[list[Object], list[Object]]:
    """Waits until so many pods with a label run and so many wait at the gate, and returns both."""

    async def there() -> tuple[list[Object], list[Object]] | None:
        found = await bench.api.list("v1", "Pod", namespace=bench.namespace, selector=selector)
        ready = [one for one in found if holds(one, "Ready")]
        held = [one for one in found if gated(one)]
        return (ready, held) if (len(ready), len(held), len(found)) == (out, waiting, out + waiting) else None

    found = await bench.wait_for(there, what=f"{out} pods with {selector} run and {waiting} wait", timeout_seconds=60)
    assert found is not None
    return found


async def test_pods_of_a_plain_deployment_wait_for_their_watts(loop: Loop, admission: AdmissionPlugin) -> None:
    bench = loop.bench
    await loop.nodes(1)
    budget = await loop.budget("all", PLENTY)
    await admission.opt_in(bench.api, bench.namespace)
    await loop.policy("chat")
    await loop.set_demand("chat", 1)
    await bench.deploy(bench.deployment("chat", labels=CAPPED))
    (first,), _ = await wait_pods(bench, "app=chat", out=1)
    assert "waits for watts" in note(first)
    await loop.wait_grant("chat", 1)
    await loop.set_limit(budget, await loop.limit_for(budget, "chat", 1))
    await loop.set_demand("chat", 2)
    await bench.scale("chat", 2)
    _, (second,) = await wait_pods(bench, "app=chat", out=1, waiting=1)
    watts = await loop.replica_watts("chat")
    assert abs(int(note(second, PREDICTED_WATTS_ANNOTATION)) - watts) <= 0.1 * watts
    await loop.set_limit(budget, PLENTY)
    await wait_pods(bench, "app=chat", out=2)


async def test_a_namespace_that_nobody_opted_in_is_not_even_asked_about(loop: Loop, admission: AdmissionPlugin) -> None:
    bench = loop.bench
    await loop.nodes(1)
    await loop.budget("all", PLENTY)
    await loop.policy("chat")
    asked = await admission.reviews()
    await bench.deploy(bench.deployment("chat", labels=CAPPED))
    (pod,) = await bench.pods("chat")
    assert await admission.reviews() == asked
    assert note(pod) == ""
    assert not gated(pod)
