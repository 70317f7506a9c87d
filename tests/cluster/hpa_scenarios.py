"""What `record_hpa` asks of the real HPA: a table of scenarios, each a script of values and changes.

Target is 1 with AverageValue throughout, so that a value of N asks for N replicas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Change:
    """Something that happens at a moment of the script.

    Attributes:
        at_seconds: moment, from the script's beginning.
        value: what the metric says from then on; None leaves it.
        cap: what the second metric says from then on; None leaves it.
        failing: the metrics whose source answers with errors from then on; None leaves that.
        scaled_object: a merge patch for the ScaledObject; None for none.
        autoscaler: a merge patch for the HPA that KEDA made; None for none.
    """

    at_seconds: float
    value: float | None = None
    cap: float | None = None
    failing: tuple[str, ...] | None = None
    scaled_object: Object | None = None
    autoscaler: Object | None = None


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One Deployment, its ScaledObject, and a script.

    Attributes:
        name: names the objects too.
        replicas: the Deployment's replicas before the ScaledObject comes.
        minimum: minReplicaCount.
        maximum: maxReplicaCount.
        behavior: the HPA's behavior, as its API has it.
        script: changes in the order of their moments; the first one sets the value at 0 s.
        end_seconds: when the recording ends.
        polling_seconds: KEDA's pollingInterval; long, unless scaling from zero is what matters.
        cooldown_seconds: KEDA's cooldownPeriod.
        metrics: the triggers' names, `value` or `value` and `cap`.
        formula: KEDA's scalingModifiers formula over the metrics; an empty string for none.
    """

    name: str
    replicas: int
    minimum: int = 1
    maximum: int = 40
    behavior: Object = field(default_factory=dict[str, Any])
    script: Sequence[Change]
    end_seconds: float
    polling_seconds: int = 600
    cooldown_seconds: int = 300
    metrics: tuple[str, ...] = ("value",)
    formula: str = ""


def _direction(
    *policies: tuple[str, int, int], window: int = 0, tolerance: str | None = None, select: str = "Max"
) -> Object:
    """Returns scaleUp or scaleDown: policies are (type, value, period in seconds)."""
    direction: Object = {"stabilizationWindowSeconds": window, "selectPolicy": select}
    if policies:
        direction["policies"] = [
            {"type": kind, "value": value, "periodSeconds": period} for kind, value, period in policies
        ]
    if tolerance is not None:
        direction["tolerance"] = tolerance
    return direction


_ANY = ("Pods", 1000, 15)
"""A policy that never binds: without it the API server's default limits steep rises."""

FREE: Object = {"scaleUp": _direction(_ANY), "scaleDown": _direction(_ANY)}
EXACT: Object = {"scaleUp": _direction(_ANY, tolerance="0"), "scaleDown": _direction(_ANY, tolerance="0")}


def _values(*steps: tuple[float, float]) -> list[Change]:
    return [Change(at_seconds=at, value=value) for at, value in steps]


def _every(seconds: float, *values: float) -> list[Change]:
    return _values(*((index * seconds, value) for index, value in enumerate(values)))


def _paused_at(replicas: str | None) -> Object:
    return {"metadata": {"annotations": {"autoscaling.keda.sh/paused-replicas": replicas}}}


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        name="exact-steps-with-tolerance-zero",
        replicas=1,
        behavior=EXACT,
        script=_every(12, 3, 20, 19, 18, 5, 6, 20, 12),
        end_seconds=96,
    ),
    Scenario(
        name="fractions-round-up-with-tolerance-zero",
        replicas=5,
        behavior=EXACT,
        script=_every(12, 5, 5.01, 6.99, 6, 5.5, 4.999, 0.2),
        end_seconds=84,
    ),
    Scenario(
        name="default-tolerance-at-twenty",
        replicas=20,
        behavior=FREE,
        # 18 and 22 lie on the tolerance's very edge.
        script=_every(12, 20, 21, 22, 22.1, 20, 19, 18, 17.9),
        end_seconds=108,
    ),
    Scenario(
        name="default-tolerance-at-three",
        replicas=3,
        behavior=FREE,
        script=_every(12, 3, 3.2, 3.29, 3.4, 3.7, 3.5, 2.9),
        end_seconds=84,
    ),
    Scenario(
        name="tolerance-up-and-down-differ",
        replicas=20,
        behavior={
            "scaleUp": _direction(_ANY, tolerance="200m"),
            "scaleDown": _direction(_ANY, tolerance="50m"),
        },
        script=_every(12, 20, 23, 24, 25, 24, 23.5, 22),
        end_seconds=84,
    ),
    Scenario(
        name="default-behavior-upwards",
        replicas=1,
        behavior={"scaleDown": _direction(_ANY)},
        script=_every(60, 30, 3),
        end_seconds=80,
    ),
    Scenario(
        name="stabilisation-downwards",
        replicas=10,
        behavior={"scaleUp": _direction(_ANY), "scaleDown": _direction(_ANY, window=25)},
        script=_values((0, 10), (10, 4), (20, 8), (45, 2), (52, 12), (60, 3)),
        end_seconds=105,
    ),
    Scenario(
        name="stabilisation-upwards",
        replicas=2,
        behavior={"scaleUp": _direction(_ANY, window=20), "scaleDown": _direction(_ANY)},
        script=_values((0, 2), (10, 8), (20, 5), (45, 9), (52, 3), (60, 10)),
        end_seconds=95,
    ),
    Scenario(
        name="pods-policy-downwards",
        replicas=20,
        behavior={"scaleUp": _direction(_ANY), "scaleDown": _direction(("Pods", 3, 15))},
        script=_values((0, 20), (8, 5)),
        end_seconds=95,
    ),
    Scenario(
        name="percent-policy-downwards",
        replicas=20,
        behavior={"scaleUp": _direction(_ANY), "scaleDown": _direction(("Percent", 30, 15))},
        script=_values((0, 20), (8, 2)),
        end_seconds=105,
    ),
    Scenario(
        name="percent-policy-upwards",
        replicas=3,
        behavior={"scaleUp": _direction(("Percent", 50, 15)), "scaleDown": _direction(_ANY)},
        script=_values((0, 3), (8, 20)),
        end_seconds=95,
    ),
    Scenario(
        name="smaller-of-two-policies",
        replicas=20,
        behavior={
            "scaleUp": _direction(("Pods", 2, 10), ("Percent", 100, 20), select="Min"),
            "scaleDown": _direction(("Pods", 4, 10), ("Percent", 20, 20), select="Min"),
        },
        script=_values((0, 20), (8, 6), (60, 20)),
        end_seconds=105,
    ),
    Scenario(
        name="larger-of-two-policies",
        replicas=4,
        behavior={
            "scaleUp": _direction(("Pods", 2, 10), ("Percent", 100, 20)),
            "scaleDown": _direction(("Pods", 4, 10), ("Percent", 20, 20)),
        },
        script=_values((0, 4), (8, 24), (60, 4)),
        end_seconds=105,
    ),
    Scenario(
        name="policies-count-both-directions",
        replicas=10,
        behavior={"scaleUp": _direction(("Pods", 4, 30)), "scaleDown": _direction(("Pods", 4, 30))},
        script=_values((0, 10), (8, 14), (18, 6), (40, 20), (75, 1)),
        end_seconds=105,
    ),
    Scenario(
        name="downwards-disabled",
        replicas=4,
        behavior={"scaleUp": _direction(_ANY), "scaleDown": _direction(_ANY, select="Disabled")},
        script=_every(12, 4, 8, 2, 9),
        end_seconds=48,
    ),
    Scenario(
        name="upwards-disabled",
        replicas=8,
        behavior={"scaleUp": _direction(_ANY, select="Disabled"), "scaleDown": _direction(_ANY)},
        script=_every(12, 8, 12, 5, 9),
        end_seconds=48,
    ),
    Scenario(
        name="bounds",
        replicas=6,
        minimum=3,
        maximum=9,
        behavior=EXACT,
        script=_every(12, 6, 50, 1, 0, 7),
        end_seconds=60,
    ),
    Scenario(
        name="starts-above-the-maximum",
        replicas=12,
        minimum=2,
        maximum=5,
        behavior={"scaleUp": _direction(_ANY), "scaleDown": _direction(("Pods", 1, 60), window=60)},
        script=_values((0, 12)),
        end_seconds=30,
    ),
    Scenario(
        name="starts-below-the-minimum",
        replicas=1,
        minimum=4,
        behavior=EXACT,
        script=_values((0, 1)),
        end_seconds=30,
    ),
    Scenario(
        name="the-maximum-moves",
        replicas=12,
        maximum=20,
        behavior={"scaleUp": _direction(_ANY), "scaleDown": _direction(("Pods", 1, 60), window=60)},
        script=[
            Change(at_seconds=0, value=12),
            Change(at_seconds=12, scaled_object={"spec": {"maxReplicaCount": 7}}),
            Change(at_seconds=30, scaled_object={"spec": {"maxReplicaCount": 10}}),
            Change(at_seconds=48, scaled_object={"spec": {"minReplicaCount": 10, "maxReplicaCount": 15}}),
        ],
        end_seconds=66,
    ),
    Scenario(
        name="zero-and-back",
        replicas=2,
        minimum=0,
        behavior=EXACT,
        polling_seconds=5,
        cooldown_seconds=10,
        script=_values((0, 2), (12, 0), (40, 6), (60, 0)),
        end_seconds=90,
    ),
    Scenario(
        name="the-source-fails",
        replicas=6,
        behavior=EXACT,
        script=[
            Change(at_seconds=0, value=6),
            Change(at_seconds=12, failing=("value",)),
            Change(at_seconds=20, value=3),
            Change(at_seconds=36, failing=()),
        ],
        end_seconds=50,
    ),
    Scenario(
        name="the-source-fails-and-the-autoscaler-is-capped",
        replicas=9,
        behavior={"scaleUp": _direction(_ANY), "scaleDown": _direction(("Pods", 1, 60), window=60)},
        script=[
            Change(at_seconds=0, value=9),
            Change(at_seconds=12, failing=("value",)),
            Change(at_seconds=24, autoscaler={"spec": {"maxReplicas": 4}}),
        ],
        end_seconds=45,
    ),
    Scenario(
        name="paused-at-a-number",
        replicas=8,
        behavior=EXACT,
        script=[
            Change(at_seconds=0, value=8),
            Change(at_seconds=12, scaled_object=_paused_at("5")),
            Change(at_seconds=20, value=10),
            Change(at_seconds=30, scaled_object=_paused_at(None)),
        ],
        end_seconds=50,
    ),
    Scenario(
        name="formula-of-demand-and-cap",
        replicas=4,
        behavior=EXACT,
        metrics=("value", "cap"),
        formula="min(value, cap)",
        script=[
            Change(at_seconds=0, value=20, cap=12),
            Change(at_seconds=15, cap=11),
            Change(at_seconds=27, cap=5),
            Change(at_seconds=39, value=3),
            Change(at_seconds=51, value=20, cap=20),
            Change(at_seconds=63, cap=19),
        ],
        end_seconds=75,
    ),
    Scenario(
        name="two-metrics-of-which-one-fails",
        replicas=4,
        behavior=EXACT,
        metrics=("value", "cap"),
        script=[
            Change(at_seconds=0, value=4, cap=6),
            Change(at_seconds=12, value=9),
            Change(at_seconds=24, failing=("cap",)),
            Change(at_seconds=36, value=5),
            Change(at_seconds=48, value=12),
            Change(at_seconds=60, failing=()),
            Change(at_seconds=72, value=2),
        ],
        end_seconds=84,
    ),
)
