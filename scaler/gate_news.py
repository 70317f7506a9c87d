"""Events on pods: who waits at the power gate, and who slipped past it. Each is told once, a few with each decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from scaler.events import admitted_ungated, waiting_for_watts
from scaler.gate_queue import alive, at_gate
from scaler.gates import Queue
from wattkeeper.api.admission import ADMISSION_ANNOTATION, concerned
from wattkeeper.api.readings import ServiceKey
from wattkeeper.cluster.interface import EventRecord, View
from wattkeeper.cluster.objects import Pod
from wattkeeper.recommender.pods import service_of
from wattkeeper.recommender.result import StepResult

MOST_TOLD: Final = 5
"""With each decision. A fleet that meets the gate for the first time has thousands of pods to tell of, and Events are
rationed: those on budgets must come through."""


class GateNews:
    """Knows what was told."""

    def __init__(self, view: View) -> None:
        self._slipped: dict[ServiceKey, dict[str, Pod]] = {}
        self._told_waiting: dict[str, str] = {}
        self._told_slipped: set[str] = set()
        view.subscribe(Pod, self._changed)

    def events(self, result: StepResult, queues: Mapping[ServiceKey, Queue]) -> tuple[EventRecord, ...]:
        """Returns what is new; call it once for each decision that is published."""
        return tuple(islice(self._all(result, queues), MOST_TOLD)) if result.warm else ()

    def _all(self, result: StepResult, queues: Mapping[ServiceKey, Queue]) -> Iterator[EventRecord]:
        gate, keys = result.gate, result.services.keys
        gated: list[int] = gate.gated.nonzero()[0].tolist()
        for row in gated:
            queue, binding = queues.get(keys[row]), int(gate.binding[row])
            budget = result.plan.domains[binding] if binding >= 0 else ""
            for pod in queue.pods if queue else ():
                if self._told_waiting.get(pod.metadata.uid) != budget:
                    self._told_waiting[pod.metadata.uid] = budget
                    yield waiting_for_watts(pod, budget, float(gate.missing_watts[row]), int(result.plan.grants[row]))
            for uid, pod in self._slipped.get(keys[row], {}).items():
                if uid not in self._told_slipped:
                    self._told_slipped.add(uid)
                    yield admitted_ungated(pod)

    def _changed(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        if pod is None:
            return
        uid = pod.metadata.uid
        here = new is not None and alive(new)
        waits = here and at_gate(pod)
        if not waits:
            self._told_waiting.pop(uid, None)
        if not here:
            self._told_slipped.discard(uid)
        if ADMISSION_ANNOTATION in pod.metadata.annotations or not concerned(pod.metadata.labels):
            return
        service = service_of(pod)
        if service is None:
            return
        if here and not waits:
            self._slipped.setdefault(service, {})[uid] = pod
        elif uid in (others := self._slipped.get(service, {})):
            del others[uid]
            if not others:
                del self._slipped[service]
