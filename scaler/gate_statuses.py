"""What a PowerRecommendation says about its service's pods at the power gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from scaler.gates import Queue
from wattkeeper.api.conditions import Finding, holds
from wattkeeper.api.instants import format_instant
from wattkeeper.api.power_recommendation import PowerRecommendation, PowerRecommendationStatus, WaitingPod
from wattkeeper.recommender.result import StepResult

# Watts follow the model a little every tick; a figure stands until it is off by more than this share.
_WATTS_SHARE: Final = 0.1
_REMEDY: Final = "Raise its limit, lower the minReplicas or the priority of others that draw from it, or wait for them."


class GateStatus:
    """One service's part of a decision."""

    def __init__(self, result: StepResult, row: int, queue: Queue | None, before: PowerRecommendation | None) -> None:
        """Takes what there is to say.

        Args:
            result: a decision.
            row: the service's.
            queue: who goes on waiting after it, None for nobody.
            before: the recommendation that there is; figures that moved little are kept from it.
        """
        gate = result.gate
        binding = int(gate.binding[row])
        self._gated = bool(gate.gated[row])
        self._queue = queue
        self._granted = int(result.plan.grants[row])
        self._stale = bool(result.services.stale[row])
        self._blocked = bool(gate.rollout_blocked[row])
        self._slipped = int(gate.slipped[row])
        self._budget = result.plan.domains[binding] if binding >= 0 else ""
        said = before.status if before is not None else PowerRecommendationStatus()
        self._watts = _steady(said.waiting_pods, self._budget, float(round(float(gate.missing_watts[row]))))
        self._blocked_since = _since(said, "RolloutBlocked") or format_instant(result.now)

    @property
    def waiting_pods(self) -> tuple[WaitingPod, ...]:
        """The pods that wait, the oldest first."""
        pods = self._queue.pods if self._queue else ()
        return tuple(
            WaitingPod(
                name=pod.metadata.name,
                since=pod.metadata.creation_timestamp,
                budget=self._budget,
                missing_watts=self._watts,
            )
            for pod in pods
        )

    @property
    def why(self) -> str:
        """A sentence: what keeps the next pod at the gate."""
        if self._budget:
            return f"PowerBudget {self._budget} lacks {self._watts:.0f} W for the next replica."
        return f"All {self._granted} replicas that are granted are out of the gate."

    def findings(self) -> tuple[Finding, ...]:
        """Returns what conditions say; nothing of a service whose pods do not wait."""
        if not self._gated:
            return ()
        return self._waiting_finding(), self._rollout_finding(), self._slipped_finding()

    def _waiting_finding(self) -> Finding:
        if self._queue is None:
            return Finding(type="PodsWaiting", holds=False, reason="NoneWaiting")
        count, since = self._queue.count, self._queue.pods[0].metadata.creation_timestamp
        verb = "pod waits" if count == 1 else "pods wait"
        return Finding(
            type="PodsWaiting",
            holds=True,
            reason="BudgetBinds" if self._budget else "GrantUsedUp",
            message=f"{count} {verb} for watts since {since}. {self.why}",
        )

    def _rollout_finding(self) -> Finding:
        if not self._blocked:
            return Finding(type="RolloutBlocked", holds=False, reason="NotBlocked")
        need = f"The rollout needs one replica more since {self._blocked_since}, and"
        if self._budget:
            why = f"{need} PowerBudget {self._budget} lacks {self._watts:.0f} W for it. {_REMEDY}"
            return Finding(type="RolloutBlocked", holds=True, reason="BudgetBinds", message=why)
        if self._stale:
            why = f"{need} power readings are too old to start one: see the budgets' TelemetryStale."
            return Finding(type="RolloutBlocked", holds=True, reason="ReadingsStale", message=why)
        why = f"{need} no watts can be freed for it. {_REMEDY}"
        return Finding(type="RolloutBlocked", holds=True, reason="NoWatts", message=why)

    def _slipped_finding(self) -> Finding:
        if not self._slipped:
            return Finding(type="PodsSlipped", holds=False, reason="NoneSlipped")
        pods = "1 pod" if self._slipped == 1 else f"{self._slipped} pods"
        return Finding(
            type="PodsSlipped",
            holds=True,
            reason="AdmittedUngated",
            message=f"{pods} started without passing the admission plugin. Their watts are charged like any other's.",
        )


def waiting_differs(old: Sequence[WaitingPod], new: Sequence[WaitingPod]) -> bool:
    """Says whether other pods wait, or for something else: watts that drift alone do not count."""
    return [(one.name, one.budget) for one in old] != [(one.name, one.budget) for one in new] or any(
        watts_moved(one.missing_watts, other.missing_watts) for one, other in zip(old, new, strict=True)
    )


def watts_moved(old: float, new: float) -> bool:
    """Says whether watts have moved by more than the model lets them drift."""
    return abs(old - new) > _WATTS_SHARE * max(old, new)


def _steady(said: Sequence[WaitingPod], budget: str, watts: float) -> float:
    """Returns the figure that is said already where it is still about right: messages must not change every tick."""
    for one in said:
        if one.budget == budget and not watts_moved(one.missing_watts, watts):
            return one.missing_watts
    return watts


def _since(said: PowerRecommendationStatus, condition: str) -> str:
    if not holds(said.conditions, condition):
        return ""
    return next(one.last_transition_time for one in said.conditions if one.type == condition)
