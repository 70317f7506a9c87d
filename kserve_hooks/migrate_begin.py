"""Whether a pod's migration may begin, whoever asks for it."""

from __future__ import annotations

from dataclasses import dataclass

from kserve_hooks.capped import Capped
from kserve_hooks.disruptions import Disruptions, key_of
from kserve_hooks.migrate_facts import may_move
from kserve_hooks.migrate_levers import asks_for_number, missing_lever
from kserve_hooks.outage import Outage
from kserve_hooks.pods import ends, is_ready
from kserve_hooks.scaled_objects import TriggerOptions
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.cluster.interface import View
from wattkeeper.recommender.pods import is_stuck


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Why no migration begins.

    Attributes:
        message: for people. It does not change while nothing else does.
        passes: it is only a matter of a little time.
    """

    reason: str
    message: str
    passes: bool = False


class Entrance:
    """Looks at whatever could forbid a migration, as the view of one pass shows it."""

    def __init__(self, view: View, disruptions: Disruptions, trigger: TriggerOptions, scaler: Outage) -> None:
        """Takes what answers are made from.

        Args:
            view: the caches.
            disruptions: who may be made to go.
            trigger: how triggers of ours look.
            scaler: whether the scaler answers.
        """
        self._scaler = scaler
        self._view = view
        self._disruptions = disruptions
        self._trigger = trigger

    def refused(self, capped: Capped | None, uid: str, budget: str, now: float) -> Refused | None:
        """Returns why a pod's migration does not begin, None where it may.

        Args:
            capped: the service that the pod is said to be of.
            uid: the pod's.
            budget: whose nodes it shall leave.
            now: Unix seconds.
        """
        if capped is None or not may_move(capped):
            return Refused(reason="ModeForbids", message="No policy in mode Migrate or Kill caps the service.")
        watts = self._inside(capped, budget)
        if watts is not None:
            return watts
        pods = [pod for pod in self._disruptions.pods.of(key_of(capped.recommendation)) if not is_stuck(pod, now)]
        pod = next((one for one in pods if one.metadata.uid == uid), None)
        if pod is None or ends(pod):
            return Refused(reason="PodGone", message="No pod of the service has this name and UID any more.")
        lever = missing_lever(capped, len(pods), self._trigger)
        if lever is not None:
            return Refused(reason=lever.reason, message=lever.message)
        if asks_for_number(capped) and self._scaler.answering == "no":
            message = (
                "KEDA cannot ask Wattkeeper's scaler, so nobody would make one pod more: nothing moves until it can."
            )
            return Refused(reason="ScalerUnreachable", message=message)
        replicas = 0 if capped.workload is None else capped.workload.spec.replicas
        # Nothing goes yet, so this takes no disruption from others. The floor does not forbid: the old pod goes only
        # once there is one more.
        forbidden = self._disruptions.forbids(capped, pod, budget=budget, now=now)
        if forbidden is not None and forbidden.reason != "FloorReached":
            passes = forbidden.reason in ("RateLimited", "ApiServerBusy", "EvictionFailed")
            return Refused(reason=forbidden.reason, message=forbidden.message, passes=passes)
        if len(pods) != replicas or not all(map(is_ready, pods)):
            message = "Not as many pods are ready as the service shall have: a pod moves only while all are well."
            return Refused(reason="PodsNotReady", message=message)
        return None

    def _inside(self, capped: Capped, name: str) -> Refused | None:
        """Returns why the watts forbid it: a budget that is over its limit sheds first."""
        budget = self._view.get(PowerBudget, "", name)
        if budget is None:
            return Refused(reason="BudgetUnknown", message=f"There is no PowerBudget {name}.")
        violated = {one.budget for one in capped.recommendation.status.violations if one.type == "Budget"}
        over = min(violated) if violated else (name if budget.status.over_watts > 0 else "")
        if over:
            message = f"PowerBudget {over} is over its limit: it sheds before anything moves."
            return Refused(reason="BudgetExceeded", message=message)
        return None
