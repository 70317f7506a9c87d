"""What goes wrong in a run, and when: drawn from a seed, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from tests.faults.scene import BY_KSERVE, NODES_PER_RACK, PROTECTIONS, RACK_WATTS, RACKS, ROW, ROW_WATTS, SERVICES
from tests.faults.weather import API_FAULTS, MOODS

RUN_SECONDS: Final = 780
CALM_FROM_SECONDS: Final = 520
"""By then everything that was broken is whole again."""
_FIRST_SECONDS: Final = 70

Kind = Literal[
    "budget",
    "rack full",
    "kepler lost",
    "exporter down",
    "counters frozen",
    "counters spike",
    "scaler killed",
    "scaler stopped",
    "all scalers killed",
    "actuator killed",
    "actuator stopped",
    "admission killed",
    "webhook down",
    "api",
    "view frozen",
    "view late",
    "keda cut",
    "actuator cut",
    "demand",
    "node lost",
    "user scales",
    "user edits",
    "policy gone",
    "rollout",
    "pods hang",
    "pdb forbids",
    "pdb tight",
    "pdb doubled",
    "pdb flaps",
    "algorithm",
    "state torn",
]
_WEIGHTS: Final[dict[Kind, float]] = {
    "budget": 5.0,
    "rack full": 2.0,
    "kepler lost": 2.0,
    "exporter down": 1.5,
    "counters frozen": 1.0,
    "counters spike": 1.0,
    "scaler killed": 2.0,
    "scaler stopped": 1.0,
    "all scalers killed": 1.0,
    "actuator killed": 2.0,
    "actuator stopped": 1.0,
    "admission killed": 0.5,
    "webhook down": 1.5,
    "api": 3.0,
    "view frozen": 2.0,
    "view late": 1.0,
    "keda cut": 2.0,
    "actuator cut": 1.0,
    "demand": 3.0,
    "node lost": 1.5,
    "user scales": 2.0,
    "user edits": 1.5,
    "policy gone": 1.5,
    "rollout": 2.0,
    "pods hang": 1.5,
    "pdb forbids": 1.0,
    "pdb tight": 1.5,
    "pdb doubled": 0.5,
    "pdb flaps": 1.5,
    "algorithm": 1.5,
    "state torn": 0.5,
}
# What is worst together: the others come while the first goes on.
_THEMES: Final[tuple[tuple[Kind, ...], ...]] = (
    ("rack full", "actuator killed"),
    ("rack full", "scaler killed"),
    ("rack full", "api"),
    ("keda cut", "budget"),
    ("keda cut", "actuator killed"),
    ("all scalers killed", "budget"),
    ("kepler lost", "demand"),
    ("kepler lost", "scaler killed"),
    ("webhook down", "rollout"),
    ("webhook down", "demand"),
    ("scaler killed", "budget"),
    ("view frozen", "budget"),
    ("view frozen", "rollout"),
    ("api", "budget"),
    ("api", "scaler killed"),
    ("api", "actuator killed"),
    ("algorithm", "budget"),
    ("algorithm", "demand"),
    ("pods hang", "budget"),
    ("pdb forbids", "budget"),
    ("pdb tight", "budget"),
    ("pdb doubled", "budget"),
    ("view late", "budget"),
    ("pdb flaps", "budget", "budget"),
    ("budget", "rollout"),
    ("budget", "node lost"),
    ("budget", "user scales"),
    ("budget", "user edits"),
    ("budget", "policy gone"),
    ("policy gone", "actuator killed"),
    ("policy gone", "scaler killed"),
    ("view late", "policy gone"),
    ("actuator killed", "budget"),
)
# In so many seeds an eviction can be asked for that a PodDisruptionBudget does not allow any more.
_LATE_PROTECTION_SHARE: Final = 0.4
# The twin rolls no groups.
_ROLLED: Final = tuple(one.name for one in SERVICES if one.size == 1)
_KSERVES: Final = tuple(one.name for one in SERVICES if one.inference_service)
_EDITED: Final = tuple(one.name for one in SERVICES if one.scaled in BY_KSERVE)
_PROCESSES: Final = ("scaler-0", "scaler-1", "actuator-0", "actuator-1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One thing that happens.

    Attributes:
        at, until: seconds since the run began.
        target: of what: a budget, rack, process, service, PodDisruptionBudget, exporter or node.
        how: the variant, where there are several.
        amount: watts, replicas, pods, seconds, a share or a factor.
    """

    at: int
    until: int
    kind: Kind
    target: str = ""
    how: str = ""
    amount: float = 0.0

    def __str__(self) -> str:
        """Returns a line for people."""
        what = " ".join(part for part in (self.kind, self.target, self.how) if part)
        return f"{self.at:>4} s to {self.until:>3} s: {what}" + (f" {self.amount:g}" if self.amount else "")


def draw(seed: int) -> tuple[Fault, ...]:
    """Returns the faults of a seed, in the order in which they begin."""
    random = np.random.default_rng([seed, 67])
    kinds = list(_WEIGHTS)
    shares = np.array(list(_WEIGHTS.values()))
    drawn = random.choice(len(kinds), size=int(random.integers(4, 11)), p=shares / shares.sum())
    faults = [_fault(kinds[int(one)], random, _FIRST_SECONDS, CALM_FROM_SECONDS - 60) for one in drawn]
    for _ in range(int(random.integers(1, 4))):
        first, *others = _THEMES[int(random.integers(len(_THEMES)))]
        begins = _fault(first, random, _FIRST_SECONDS, _FIRST_SECONDS + 190)
        # Longer than what a budget has to come inside.
        lasts = replace(begins, until=begins.at + int(random.integers(100, 260)))
        faults += [lasts, *(_fault(one, random, lasts.at + 5, lasts.at + 60) for one in others)]
    if random.random() < _LATE_PROTECTION_SHARE:
        faults += _late_protection(random)
    return tuple(sorted(faults, key=lambda one: (one.at, one.kind, one.target)))


def _late_protection(random: np.random.Generator) -> list[Fault]:
    """Returns a PodDisruptionBudget that forbids now and then, seen late, while pods that it is about have to go."""
    at = int(random.integers(_FIRST_SECONDS, CALM_FROM_SECONDS - 200))
    rack, share = str(random.choice(["rack-b", "rack-c"])), float(random.uniform(0.46, 0.58))
    return [
        Fault(at=at, until=at + 180, kind="pdb flaps", target="answers"),
        Fault(at=at + 1, until=at + 180, kind="view late", amount=float(random.choice([4.0, 8.0]))),
        Fault(at=at + 10, until=at + 11, kind="budget", target=rack, amount=float(round(share * RACK_WATTS, -2))),
    ]


def _fault(kind: Kind, random: np.random.Generator, first: int, last: int) -> Fault:
    at = int(random.integers(first, last))
    until = min(at + int(random.integers(10, 150)), CALM_FROM_SECONDS)
    service = str(random.choice([one.name for one in SERVICES]))
    rack = str(random.choice(RACKS))
    target, how, amount = "", "", 0.0
    match kind:
        case "budget":
            target = str(random.choice([*RACKS, ROW]))
            amount = float(round(float(random.uniform(0.43, 0.88)) * (ROW_WATTS if target == ROW else RACK_WATTS), -2))
        case "rack full":
            target, amount = rack, float(round(random.uniform(1.0, 1.07), 3))
        case "kepler lost" | "counters frozen" | "counters spike":
            target = rack
        case "exporter down":
            target = str(random.choice(["kepler", "dcgm", "vllm"]))
        case "scaler killed" | "scaler stopped":
            target = f"scaler-{random.integers(0, 2)}"
        case "actuator killed" | "actuator stopped":
            target = f"actuator-{random.integers(0, 2)}"
        case "api":
            target, how = str(random.choice(_PROCESSES)), str(random.choice(API_FAULTS))
            amount = float(random.choice([0.1, 0.3, 0.6, 1.0]))
        case "view frozen":
            target = str(random.choice(_PROCESSES))
        case "demand":
            target, amount = service, float(random.choice([0.0, 0.3, 1.8, 2.5, 4.0]))
        case "node lost":
            target = f"{rack}-{random.integers(1, NODES_PER_RACK + 1)}"
        case "user scales":
            target, amount = service, float(random.integers(0, 9))
        case "user edits":
            # More than a policy lets any of them have: else a user's number could be one of the actuator's own.
            target, amount = str(random.choice(_EDITED)), float(random.choice([0, 7, 8, 9]))
        case "policy gone":
            target = str(random.choice(_KSERVES))
        case "pods hang":
            target = service
        case "rollout":
            target = str(random.choice(_ROLLED))
        case "view late":
            amount = float(random.choice([2.0, 4.0, 8.0]))
        case "pdb forbids" | "pdb tight" | "pdb doubled" | "pdb flaps":
            target = str(random.choice(list(PROTECTIONS)))
            amount = float(random.integers(1, 6)) if kind == "pdb tight" else 0.0
        case "algorithm":
            how = str(random.choice(MOODS))
        case _:
            pass
    return Fault(at=at, until=until, kind=kind, target=target, how=how, amount=amount)
