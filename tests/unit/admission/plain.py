"""What the API server's own LimitRanger and ResourceQuota say about a pod, written plainly after their sources.

kubernetes v1.36: plugin/pkg/admission/limitranger/admission.go (PodValidateLimitFunc) and
pkg/quota/v1/evaluator/core/pods.go; a pod's sum is that of component-helpers/resource (AggregateContainerRequests).
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

Amounts = Mapping[str, str]


def number(text: str) -> Fraction:
    for unit, factor in (("m", Fraction(1, 1000)), ("Ki", Fraction(2**10)), ("Mi", Fraction(2**20))):
        if text.endswith(unit):
            return Fraction(text.removesuffix(unit)) * factor
    return Fraction(text.removesuffix("Gi")) * 2**30 if text.endswith("Gi") else Fraction(text)


def own(container: Mapping[str, Any], part: str, resource: str) -> Fraction | None:
    resources: Mapping[str, Any] = container.get("resources") or {}
    given: Mapping[str, str] = resources.get(part) or {}
    text = given.get(resource)
    if text is None and part == "requests":
        return own(container, "limits", resource)
    return None if text is None else number(text)


def pod_sum(pod: Mapping[str, Any], part: str, resource: str) -> Fraction | None:
    """Returns the pod's request or limit; None where no container has one."""
    spec = pod["spec"]
    everyone = [*spec["containers"], *spec.get("initContainers", ())]
    if all(own(container, part, resource) is None for container in everyone):
        return None

    def value(container: Mapping[str, Any]) -> Fraction:
        return own(container, part, resource) or Fraction(0)

    running = sum(map(value, spec["containers"]), Fraction(0))
    sidecars, starting = Fraction(0), Fraction(0)
    for container in spec.get("initContainers", ()):
        if container.get("restartPolicy") == "Always":
            sidecars += value(container)
            starting = max(starting, sidecars)
        else:
            starting = max(starting, sidecars + value(container))
    return max(running + sidecars, starting)


def within(item: Mapping[str, Amounts], resource: str, request: Fraction | None, limit: Fraction | None) -> bool:
    """Says whether a LimitRange's entry allows a request and a limit."""
    least, most = item.get("min", {}).get(resource), item.get("max", {}).get(resource)
    if least is not None:
        if request is None or request < number(least):
            return False
        if limit is not None and limit < number(least):
            return False
    if most is not None:
        if limit is None or limit > number(most):
            return False
        if request is not None and request > number(most):
            return False
    ratio = item.get("maxLimitRequestRatio", {}).get(resource)
    if ratio is None:
        return True
    return bool(request and limit) and (limit or 0) / (request or 1) <= number(ratio)


def admitted(
    pod: Mapping[str, Any],
    resource: str,
    *,
    of_container: Mapping[str, Amounts],
    of_pod: Mapping[str, Amounts],
    left: Amounts,
) -> bool:
    """Says whether a pod passes, given a LimitRange's two entries and what a ResourceQuota has left."""
    spec = pod["spec"]
    for container in [*spec["containers"], *spec.get("initContainers", ())]:
        request, limit = own(container, "requests", resource), own(container, "limits", resource)
        if request is not None and limit is not None and request > limit:
            return False
        if not within(of_container, resource, request, limit):
            return False
    request, limit = pod_sum(pod, "requests", resource), pod_sum(pod, "limits", resource)
    if not within(of_pod, resource, request, limit):
        return False
    for name, value in (("requests", request), ("limits", limit)):
        most = left.get(f"{name}.{resource}")
        if most is not None and (value is None or value > number(most)):
            return False
    return True
