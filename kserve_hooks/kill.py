"""Mode Kill: pods that the leader names go, by the replicas that fall; the others are evicted, one at a time.

A killed pod of a Deployment comes back, and waits at the power gate. So replicas fall through their owner, with the
named pods marked to go first. An eviction is for what that did not end: a pod that is still there when its violation
has lasted long enough, that slipped past the gate, or that generates too little. What has no effect is given up.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from kserve_hooks.capped import Capped
from kserve_hooks.costs import put_back_finding, waited, weigh
from kserve_hooks.disruptions import Claim, Disruptions, Refusal, key_of
from kserve_hooks.marks import LATE_SECONDS, Marks
from kserve_hooks.pod_actions import Evict, PodWrite, SetDeletionCost
from kserve_hooks.pods import ends
from kserve_hooks.replacing import next_outdated, replaces
from kserve_hooks.reverts import RevertOptions, Reverts
from kserve_hooks.stuck import stuck_among, with_stuck
from kserve_hooks.violating import (
    ROLLOUT,
    amount_of,
    duration_seconds,
    effect_of,
    in_turn,
    in_words,
    is_due,
    is_for,
    named_pods,
    nobody_decides,
)
from wattkeeper.api.conditions import Finding
from wattkeeper.api.instants import format_instant
from wattkeeper.api.power_migration import FINISHED, PowerMigration
from wattkeeper.api.power_recommendation import Kill, PodEviction, ViolatingPod, Violation
from wattkeeper.cluster.interface import View
from wattkeeper.cluster.objects import Pod
from wattkeeper.recommender.pods import is_stuck
from wattkeeper.recommender.templates import outdated_templates

NOTHING_NOTED: Final = Kill()
MARKED: Final = ("Budget", "Replicas")
"""Types of violations that a lower number of replicas ends."""
_SHOWN_SECONDS: Final = 10.0
"""A view that does not show an eviction after this shows that there was none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KillOptions:
    """When it is enough.

    Attributes:
        limit: so many evictions in a row without effect, and a service's pods are evicted no more.
        settle_seconds: how long after an evicted pod is gone its effect shows at the latest, beside the violation's own
            duration.
    """

    limit: int = 3
    settle_seconds: float = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Killing:
    """What one service's pods are made to do.

    Attributes:
        note: what is noted from now on, None for nothing.
        costs, eviction: what to write, as far as its note shows already.
        findings: why pods that have to go stay.
        awaited: ceilings come no lower until costs show.
    """

    note: Kill | None = None
    costs: tuple[SetDeletionCost, ...] = ()
    eviction: Evict | None = None
    findings: tuple[Finding, ...] = ()
    awaited: bool = False

    @property
    def writes(self) -> tuple[PodWrite, ...]:
        """What to write, in order."""
        return (*self.costs, *(() if self.eviction is None else (self.eviction,)))

    @property
    def blocked(self) -> bool:
        """Says whether a pod that has to go stays."""
        return any(one.type in ("KillBlocked", "ReplaceBlocked") for one in self.findings)

    def refused(self, message: str) -> Killing:
        """Returns this without its writes: they were refused lately, with a message."""
        finding = Finding(type="KillBlocked", holds=True, reason="WriteRefused", message=message)
        others = (one for one in self.findings if one.type != finding.type)
        return Killing(note=self.note, findings=(finding, *others))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    note: Kill
    eviction: Evict | None = None
    findings: tuple[Finding, ...] = ()


class Kills:
    """Plans for one term of leadership: what it remembers only delays what it does."""

    def __init__(self, view: View, disruptions: Disruptions, options: KillOptions, reverts: RevertOptions) -> None:
        """Takes what plans are made from.

        Args:
            view: the caches.
            disruptions: who may be made to go.
            options: when it is enough.
            reverts: when somebody has put deletion costs back often enough.
        """
        self._view = view
        self._disruptions = disruptions
        self._options = options
        self._reverts = reverts
        self._marks = Marks()
        self._evicted: dict[str, float] = {}
        # Since when evicted pods are gone, by UID: in this pass and the one before it.
        self._gone: dict[str, float] = {}
        self._gone_before: dict[str, float] = {}
        self._moving: frozenset[str] = frozenset()

    def killing(self, one: Capped, now: float, *, fresh: bool, told: bool) -> Killing:
        """Returns what a service's pods are made to do.

        Args:
            one: the service.
            now: Unix seconds.
            fresh: somebody has decided lately: on old decisions nothing happens.
            told: a budget says so. Without any, nobody may decide any more: what was begun is taken back, and no more.
        """
        note = _noted(one)
        if one.enforced and not fresh:
            return _killing(note)
        violations = in_turn(one) if one.may("Kill") and told else []
        replacing = replaces(one) and told
        unsaid = () if told else nobody_decides(one, now)
        if note == NOTHING_NOTED and not violations and not replacing:
            return Killing(findings=unsaid)
        service, pods = key_of(one.recommendation), self._disruptions.pods
        marked: dict[str, Pod] = {}
        if service.kind == "Deployment":
            for violation in violations:
                named = named_pods(violation, service, pods) if violation.type in MARKED else ()
                marked |= {pod.metadata.uid: pod for _, pod in named if pod.metadata.uid not in self._moving}
        note = self._without_stuck(note, now)
        costs = weigh(
            tuple(marked.values()),
            pods,
            service,
            note.costs,
            self._marks,
            now,
            reverts=Reverts.of_costs(note),
            options=self._reverts,
        )
        step = self._step(one, note, violations, now)
        if step.note.evicted is None or step.note.evicted.reason == ROLLOUT:
            step = self._replaced(one, step, now) if replacing else _without_rollout(step)
        count, at = costs.reverts.count, costs.reverts.stamp()
        findings, stuck = step.findings, stuck_among(pods.of(service), now)
        findings = with_stuck(findings, "KillBlocked", stuck if violations else ())
        findings = with_stuck(findings, "ReplaceBlocked", stuck if replacing else ())
        made = _killing(replace(step.note, costs=costs.notes, reverts=count, reverted_at=at))
        said = (put_back_finding(service, costs.reverts, self._reverts, now),) if count else ()
        return dataclasses.replace(
            made,
            costs=costs.writes,
            eviction=step.eviction,
            findings=(*unsaid, *findings, *said),
            awaited=costs.awaited,
        )

    def released(self, one: Capped, now: float) -> Killing:
        """Returns what puts deletion costs back, and makes no pod go."""
        note = _noted(one)
        if note == NOTHING_NOTED:
            return Killing()
        # Who led before has not written for as long as its Lease lasted.
        pods, service = self._disruptions.pods, key_of(one.recommendation)
        costs = weigh((), pods, service, note.costs, self._marks, now, options=self._reverts, late_seconds=0.0)
        return dataclasses.replace(_killing(Kill(costs=costs.notes)), costs=costs.writes)

    def sends(self, action: PodWrite, now: float) -> None:
        """Notes a write that is about to be sent."""
        if isinstance(action, Evict):
            self._evicted[action.claim.pod.metadata.uid] = now
        else:
            self._marks.sends(action, now)

    def wrote(self, action: SetDeletionCost, now: float) -> None:
        """Notes a deletion cost that the API server has taken."""
        self._marks.wrote(action, now)

    def spared(self, claim: Claim) -> None:
        """Notes that the API server has not evicted a pod."""
        self._evicted.pop(claim.pod.metadata.uid, None)

    def begin(self, now: float) -> None:
        """Begins a pass: forgets writes of long ago, and looks which pods migrations move, that say when they go."""
        self._moving = frozenset(
            one.spec.pod.uid
            for one in self._view.all(PowerMigration).values()
            if one.status.phase and one.status.phase not in FINISHED
        )
        self._marks.begin(now)
        self._evicted = {uid: at for uid, at in self._evicted.items() if now - at < LATE_SECONDS}
        self._gone_before, self._gone = self._gone, {}

    def _without_stuck(self, note: Kill, now: float) -> Kill:
        """Returns the note without an eviction whose pod does not come to its end: others must not wait for it.

        As long as it is there it has lessened nothing, and so counts. Else all pods of a lost rack would be evicted.
        """
        last = note.evicted
        pod = None if last is None else self._disruptions.pods.by_uid(last.uid)
        if last is None or pod is None or not is_stuck(pod, now):
            return note
        count = note.without_effect + (last.reason != ROLLOUT)
        return replace(note, evicted=None, without_effect=count)

    def _step(self, one: Capped, note: Kill, violations: list[Violation], now: float) -> _Step:
        """Returns the next step of evicting for violations: judge the last one, do what is noted, or note another."""
        last = note.evicted
        if last is not None and last.reason == ROLLOUT:
            return _Step(note=replace(note, without_effect=note.without_effect if violations else 0))
        if not violations:
            return _Step(note=replace(note, evicted=None, without_effect=0))
        if last is not None:
            pod = self._disruptions.pods.by_uid(last.uid)
            if pod is not None:
                return self._again(one, note, last, pod, violations, now)
            note = self._judged(one, note, last, now)
            if note.evicted is not None:
                return _Step(note=note)
        due = [each for each in violations if is_due(one, each, now)]
        if due and note.without_effect >= self._options.limit:
            return _Step(note=note, findings=(_stopped(due[0], note.without_effect),))
        return self._first(one, note, due, now)

    def _again(
        self, one: Capped, note: Kill, last: PodEviction, pod: Pod, violations: list[Violation], now: float
    ) -> _Step:
        """Does what is noted, where it still has to be done."""
        if ends(pod) or now - self._evicted.get(last.uid, 0.0) < _SHOWN_SECONDS:
            return _Step(note=note)
        named = (each for each in violations if any(pod.uid == last.uid for pod in each.pods))
        found = next((each for each in named if is_for(each, last) and is_due(one, each, now)), None)
        if found is None:
            return _Step(note=replace(note, evicted=None))
        claim = self._disruptions.claim(one, pod, budget=_budget(one, found), now=now)
        if isinstance(claim, Refusal):
            return _Step(note=replace(note, evicted=None), findings=(_refused(found, pod, claim),))
        return _Step(note=note, eviction=Evict(claim=claim))

    def _judged(self, one: Capped, note: Kill, last: PodEviction, now: float) -> Kill:
        """Returns the note once the effect of the last eviction is known, and as it is before."""
        # A pod draws until its containers have exited, which may take it minutes.
        gone = self._gone[last.uid] = self._gone_before.get(last.uid, now)
        settle = self._options.settle_seconds
        # A pod that has taken another one's place needs its time before it can violate anything.
        performance = last.reason == "Performance"
        if performance:
            found = next((each for each in in_turn(one) if is_for(each, last)), None)
            settle += 0.0 if found is None else duration_seconds(one, found)
        effect = effect_of(one, last)
        if now - gone < settle and (performance or effect != "yes"):
            return note
        count = {"yes": 0, "no": note.without_effect + 1, "unknown": note.without_effect}[effect]
        return replace(note, evicted=None, without_effect=count)

    def _first(self, one: Capped, note: Kill, due: list[Violation], now: float) -> _Step:
        """Notes the first pod that may be evicted, or says why the first one that has to be may not."""
        service, pods = key_of(one.recommendation), self._disruptions.pods
        why: Finding | None = None
        for violation in due:
            for named, pod in named_pods(violation, service, pods):
                if named.uid in self._moving or not _waited(one, note, violation, named.uid, now):
                    continue
                budget = _budget(one, violation)
                claim = self._disruptions.claim(one, pod, budget=budget, now=now)
                if isinstance(claim, Claim):
                    evicted = _eviction(one, violation, named, now)
                    return _Step(note=replace(note, evicted=evicted))
                why = why or _refused(violation, pod, claim)
                if claim.reason not in ("Protected", "FloorReached"):
                    break  # It is not about this very pod.
        return _Step(note=note, findings=() if why is None else (why,))

    def _replaced(self, one: Capped, step: _Step, now: float) -> _Step:
        """Adds what a rollout needs that lacks the watts of one replica more."""
        note, pods = step.note, self._disruptions.pods.of(key_of(one.recommendation))
        last = note.evicted
        old = tuple(sorted(outdated_templates(pods, note.outdated)))
        if last is not None:
            pod = self._disruptions.pods.by_uid(last.uid)
            if pod is None:
                return dataclasses.replace(step, note=replace(note, evicted=None, outdated=old))
            if ends(pod) or now - self._evicted.get(last.uid, 0.0) < _SHOWN_SECONDS:
                return step
            claim = self._disruptions.claim(one, pod, budget=_binding(one), now=now, rolling=True)
            if isinstance(claim, Refusal):
                kept = replace(note, evicted=None)
                return _Step(note=kept, findings=(*step.findings, _not_replaced(pod, claim)))
            return dataclasses.replace(step, eviction=Evict(claim=claim))
        pod = next_outdated(one, [pod for pod in pods if not is_stuck(pod, now)], old)
        if pod is None or step.eviction is not None:
            return dataclasses.replace(step, note=replace(note, outdated=note.outdated if old else ()))
        claim = self._disruptions.claim(one, pod, budget=_binding(one), now=now, rolling=True)
        if isinstance(claim, Refusal):
            return dataclasses.replace(step, findings=(*step.findings, _not_replaced(pod, claim)))
        meta = pod.metadata
        evicted = PodEviction(name=meta.name, uid=meta.uid, reason=ROLLOUT, at=format_instant(now))
        return dataclasses.replace(step, note=replace(note, evicted=evicted, outdated=old))


def _noted(one: Capped) -> Kill:
    actuation = one.actuation
    return NOTHING_NOTED if actuation is None or actuation.kill is None else actuation.kill


def _killing(note: Kill) -> Killing:
    return Killing(note=None if note == NOTHING_NOTED else note)


def _without_rollout(step: _Step) -> _Step:
    """Returns a step, which evicts for no violation, without what a rollout had begun."""
    return dataclasses.replace(step, note=replace(step.note, evicted=None, outdated=()))


def _waited(one: Capped, note: Kill, violation: Violation, uid: str, now: float) -> bool:
    """Says whether a pod has had its time to go by itself."""
    if violation.type not in MARKED or one.recommendation.spec.scale_target_ref.kind != "Deployment":
        return True
    marked = waited(note.costs, uid, now)
    return marked >= duration_seconds(one, violation)


def _eviction(one: Capped, violation: Violation, named: ViolatingPod, now: float) -> PodEviction:
    return PodEviction(
        name=named.name,
        uid=named.uid,
        reason=violation.type,
        budget=violation.budget,
        amount=amount_of(one, violation),
        watts=named.watts,
        at=format_instant(now),
    )


def _budget(one: Capped, violation: Violation) -> str:
    return violation.budget or _binding(one)


def _binding(one: Capped) -> str:
    return one.recommendation.status.binding_budget


def _refused(violation: Violation, pod: Pod, refusal: Refusal) -> Finding:
    why = in_words(violation.type, violation.budget)
    message = f"Pod {pod.metadata.name} has to go ({why}), and stays: {refusal.message}"
    return Finding(type="KillBlocked", holds=True, reason=refusal.reason, message=message)


def _not_replaced(pod: Pod, refusal: Refusal) -> Finding:
    message = f"The rollout lacks watts, and pod {pod.metadata.name} of its old template stays: {refusal.message}"
    return Finding(type="ReplaceBlocked", holds=True, reason=refusal.reason, message=message)


def _stopped(violation: Violation, count: int) -> Finding:
    why = in_words(violation.type, violation.budget)
    message = (
        f"{count} evictions in a row have lessened nothing ({why}): no pod is evicted until that is over. Look at what "
        "makes new pods start beside the gate, and at what else draws from the budget."
    )
    return Finding(type="KillBlocked", holds=True, reason="NoEffect", message=message)
