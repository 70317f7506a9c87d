"""KServe's services: what users had is never lost and comes back, ceilings come down and rise on no old word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from typing_extensions import override

from tests.faults.processes import STALE_SECONDS
from tests.faults.scene import BY_KSERVE, MAXIMUM, MINIMUM, NAMESPACE, SERVICES, SceneService
from tests.faults.witness import Call, Check, Witness, replicas_of
from wattkeeper.api.instants import parse_instant
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.api.power_recommendation import ActuatedField, Actuation, PowerRecommendation, recommendation_name
from wattkeeper.cluster.actuation import is_ours
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.kserve import InferenceService, read_field
from wattkeeper.cluster.objects import ScaledObject
from wattkeeper.simulation.kserve import bounds_of

_KSERVES: Final = tuple(one for one in SERVICES if one.inference_service)
_SCALED: Final = tuple(one for one in _KSERVES if one.scaled in BY_KSERVE)
# A finalizer and a note, the field, the finalizer: a pass of two seconds each. Then KServe's second.
_WRITTEN_WITHIN_SECONDS: Final = 10.0
# Pods that have to go are marked first.
_MARKED_WITHIN_SECONDS: Final = 12.0
# An HPA's sync, and KEDA's poll before it.
_FOLLOWED_WITHIN_SECONDS: Final = 32.0
# A Lease of 15 s, and 10 s of warming up; a write that failed is tried again after 15 s at the latest.
_AFTER_HINDRANCES_SECONDS: Final = 45.0
_REVERTS: Final = 3


class UsersBoundsAreKept(Check):
    """Whatever differs from what a user wrote is noted with what that was, and is back once no policy caps it."""

    text = "4 What users of KServe had is never lost, and is restored once the policy goes"

    def __init__(self, witness: Witness) -> None:
        super().__init__(witness)
        self._capped_at: dict[str, float] = {}

    @override
    def second(self, now: float) -> None:
        view = self.witness.cluster.view
        for one in _KSERVES:
            self._noted(one)
            if view.get(PowerCappingPolicy, NAMESPACE, one.name) is not None:
                self._capped_at[one.name] = now
            elif (
                now - self._capped_at.get(one.name, now) > _WRITTEN_WITHIN_SECONDS
                and now - hindered(self.witness) > _AFTER_HINDRANCES_SECONDS
            ):
                self._restored(one)

    def _noted(self, one: SceneService) -> None:
        for path, wished, found in self._bounds(one):
            note = next((each for each in _notes(self.witness, one) if each.field == path), None)
            if found != wished and (note is None or note.original != wished):
                said = "nothing notes it" if note is None else f"{note.original} is noted"
                self.fail(f"{path} of {one.name} is {found}, its user wrote {wished}, and {said}")

    def _restored(self, one: SceneService) -> None:
        self.witness.counts["seconds as users had it"] += 1
        for path, wished, found in self._bounds(one):
            if found != wished:
                self.fail(f"{path} of {one.name} is {found} without a policy, and its user wrote {wished}")
        for scaled in self.witness.cluster.view.all(ScaledObject).values():
            if is_ours(scaled) and scaled.spec.scale_target_ref.name == one.name:
                self.fail(f"ScaledObject {scaled.metadata.name} is still there without a policy")

    def _bounds(self, one: SceneService) -> Iterator[tuple[str, int, int | None]]:
        found = _service(self.witness.cluster.view, one)
        if found is not None:
            for path, wished in self.witness.wished.get(one.name, {}).items():
                yield path, wished, read_field(found, path)


class CeilingsFollow(Check):
    """KServe's own autoscalers: the maximum is what was told, or lower, soon after, and so are the replicas."""

    text = "6 Ceilings of KServe's services come down at once, and are never written as 0"

    @override
    def calling(self, call: Call) -> None:
        if call.verb != "set_replica_fields":
            return
        service, fields = call.args
        found = read_field(service, MAXIMUM)
        most = fields.get(MAXIMUM, found)
        least = fields.get(MINIMUM, read_field(service, MINIMUM))
        if MAXIMUM in fields and most == 0:
            self.fail(f"{call.process} writes 0 as {MAXIMUM} of {call.service}, which KServe reads as unset")
        if most is not None and least is not None and least > most:
            self.fail(f"{call.process} gives {call.service} {least} replicas at least and {most} at most")
        capped = self.witness.cluster.view.get(PowerCappingPolicy, NAMESPACE, call.service) is not None
        if capped and (most or 0) > (found or 0) and _age(self.witness) > STALE_SECONDS + 1.0:
            self.fail(f"{call.process} raises the ceiling of {call.service}, and nobody has decided lately")

    @override
    def second(self, now: float) -> None:
        view = self.witness.cluster.view
        for one in _SCALED:
            found, told = _service(view, one), self.witness.published.get(one.name)
            policy = view.get(PowerCappingPolicy, NAMESPACE, one.name)
            if found is None or not told or policy is None or _given_up(self.witness, one):
                continue
            since, target = told[-1]
            after = max(since, self._changed(one.name), hindered(self.witness) + _AFTER_HINDRANCES_SECONDS)
            late = now - after - _WRITTEN_WITHIN_SECONDS - _MARKED_WITHIN_SECONDS
            floor = 1 if one.consents else one.bounds[0]
            most, allowed = bounds_of(found)[1], max(target, floor)
            if late > 0 and most > allowed:
                self.fail(f"{one.name} may still have {most} replicas, and was told {target}")
            there = replicas_of(self.witness.cluster, one.name)
            if late > _FOLLOWED_WITHIN_SECONDS and there > allowed:
                self.fail(f"{one.name} still has {there} replicas, and was told {target}")

    def _changed(self, name: str) -> float:
        """Returns when a user last changed what its replicas follow."""
        changes = (f"{what} {name}" for what in ("edited", "capped", "scaled"))
        return max(self.witness.disturbed.get(one, float("-inf")) for one in changes)


def hindered(witness: Witness) -> float:
    """Returns when something last kept actuators from acting."""
    return max(
        (
            at
            for what, at in witness.disturbed.items()
            if what == "actuators" or what.startswith(("api actuator", "view actuator", "ended actuator"))
        ),
        default=float("-inf"),
    )


def _service(view: View, one: SceneService) -> InferenceService | None:
    return view.get(InferenceService, NAMESPACE, one.inference_service)


def _actuation(witness: Witness, one: SceneService) -> Actuation | None:
    name = recommendation_name("Deployment", one.name)
    found = witness.cluster.view.get(PowerRecommendation, NAMESPACE, name)
    return None if found is None else found.status.actuation


def _notes(witness: Witness, one: SceneService) -> tuple[ActuatedField, ...]:
    noted = _actuation(witness, one)
    return () if noted is None else noted.fields


def _given_up(witness: Witness, one: SceneService) -> bool:
    """Says whether somebody has put a ceiling back so often that the actuator leaves it."""
    noted = _actuation(witness, one)
    return noted is not None and noted.reverts >= _REVERTS


def _age(witness: Witness) -> float:
    """Returns how old the newest decision is, in seconds."""
    budgets = witness.cluster.view.all(PowerBudget).values()
    newest = max((parse_instant(one.status.last_evaluated) or 0.0 for one in budgets), default=0.0)
    return witness.clock.now() - newest
