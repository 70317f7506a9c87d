"""A fluid model of LLM serving: requests arrive, wait, run in batches, and finish or fail.

A replica with a batch of b requests yields tokens at its model's curve, shared by the batch; lengths are memoryless, so
a second takes the same share of every running request to its end. Requests wait in line for a place in a batch: late
ones count as served but not as good, those whose patience ends, and those that run in a killed pod, fail.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from wattkeeper.api.readings import Floats
from wattkeeper.simulation.fleet import FleetRows
from wattkeeper.simulation.models import PROMPT_TOKENS_PER_GENERATED
from wattkeeper.simulation.traffic import Traffic

# Rows of the state: requests that are good or late, generated tokens that they will have, work left.
_GOOD, _LATE, _GOOD_TOKENS, _LATE_TOKENS, _WORK = range(5)
_DRAINED_REQUESTS: Final = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceLevel:
    """What users of a service accept.

    Attributes:
        wait_seconds: a request that waits longer for its batch is late.
        patience_seconds: a request that waits longer is given up.
    """

    wait_seconds: float
    patience_seconds: float


@dataclass(kw_only=True, slots=True)
class _Cohort:
    arrived: float
    requests: float
    tokens: float
    work: float


class Serving:
    """Requests and tokens of S services on P pods.

    Attributes:
        offered_tokens, good_tokens, late_tokens, failed_tokens: float64[S], generated tokens so far.
    """

    def __init__(self, traffic: tuple[Traffic, ...], levels: tuple[ServiceLevel, ...], start: float) -> None:
        count = len(traffic)
        self._traffic = traffic
        self._levels = levels
        self._start = start
        self._queues: tuple[deque[_Cohort], ...] = tuple(deque() for _ in traffic)
        self._state = np.zeros((5, 0))
        self.offered_tokens = np.zeros(count)
        self.good_tokens = np.zeros(count)
        self.late_tokens = np.zeros(count)
        self.failed_tokens = np.zeros(count)
        self._produced = np.zeros(0)

    def align(self, old: FleetRows | None, new: FleetRows) -> None:
        """Takes up another set of pods. What ran in pods that are gone has failed."""
        column = {} if old is None else {uid: place for place, uid in enumerate(old.uids)}
        state, produced = np.zeros((5, len(new.uids))), np.zeros(len(new.uids))
        for place, uid in enumerate(new.uids):
            before = column.pop(uid, None)
            if before is not None:
                state[:, place], produced[place] = self._state[:, before], self._produced[before]
        if old is not None:
            for before in column.values():
                lost = self._state[_GOOD_TOKENS, before] + self._state[_LATE_TOKENS, before]
                self.failed_tokens[old.service[before]] += lost
        self._state, self._produced = state, produced

    @property
    def batches(self) -> Floats:
        """float64[P], requests running in each pod."""
        return self._state[_GOOD] + self._state[_LATE]

    @property
    def produced(self) -> Floats:
        """float64[P], tokens that each pod has generated so far."""
        return self._produced

    def waiting(self, service: int) -> float:
        """Returns requests of a service that wait for a place in a batch."""
        return sum(cohort.requests for cohort in self._queues[service])

    def step(self, rows: FleetRows, now: float, seconds: float) -> None:
        """Lets a second pass: work, then arrivals, then places in batches."""
        state = self._state
        batches = state[_GOOD] + state[_LATE]
        rate = np.where(rows.loading, 0.0, rows.peak * batches / (batches + rows.half))
        work = state[_WORK]
        share = np.divide(np.minimum(rate * seconds, work), work, out=np.zeros_like(work), where=work > 1e-9)
        done = state * share
        state -= done
        self._produced += done[_GOOD_TOKENS] + done[_LATE_TOKENS]
        count = len(self._queues)
        self.good_tokens += np.bincount(rows.service, weights=done[_GOOD_TOKENS], minlength=count)
        self.late_tokens += np.bincount(rows.service, weights=done[_LATE_TOKENS], minlength=count)
        self._arrive(now)
        free = np.where(rows.serving, np.maximum(rows.max_batch - state[_GOOD] - state[_LATE], 0.0), 0.0)
        for service in range(count):
            self._give_up(service, now)
            self._admit(service, np.where(rows.service == service, free, 0.0), now)

    def drained(self, rows: FleetRows) -> list[str]:
        """Returns UIDs of draining pods that have nothing left to finish. What is left of a request counts as done."""
        idle = ~rows.loading & ~rows.serving & (self.batches < _DRAINED_REQUESTS)
        for place in np.flatnonzero(idle).tolist():
            self.good_tokens[rows.service[place]] += self._state[_GOOD_TOKENS, place]
            self.late_tokens[rows.service[place]] += self._state[_LATE_TOKENS, place]
            self._state[:, place] = 0.0
        return [rows.uids[place] for place in np.flatnonzero(idle).tolist()]

    def _arrive(self, now: float) -> None:
        second = int(now - self._start)
        for service, traffic in enumerate(self._traffic):
            if 0 <= second < len(traffic.requests) and traffic.requests[second] > 0:
                tokens = float(traffic.generated_tokens[second])
                work = tokens + float(traffic.prompt_tokens[second]) / PROMPT_TOKENS_PER_GENERATED
                cohort = _Cohort(
                    arrived=now, requests=float(traffic.requests[second]), tokens=tokens, work=max(work, 1.0)
                )
                self._queues[service].append(cohort)
                self.offered_tokens[service] += tokens

    def _give_up(self, service: int, now: float) -> None:
        queue, patience = self._queues[service], self._levels[service].patience_seconds
        while queue and now - queue[0].arrived > patience:
            self.failed_tokens[service] += queue.popleft().tokens

    def _admit(self, service: int, free: Floats, now: float) -> None:
        queue, places = self._queues[service], float(free.sum())
        if places <= 0.0 or not queue:
            return
        share = free / places
        while queue and places > 1e-9:
            cohort = queue[0]
            part = min(1.0, places / cohort.requests)
            late = now - cohort.arrived > self._levels[service].wait_seconds
            self._state[_LATE if late else _GOOD] += share * cohort.requests * part
            self._state[_LATE_TOKENS if late else _GOOD_TOKENS] += share * cohort.tokens * part
            self._state[_WORK] += share * cohort.work * part
            places -= cohort.requests * part
            if part >= 1.0:
                queue.popleft()
            else:
                cohort.requests *= 1.0 - part
                cohort.tokens *= 1.0 - part
                cohort.work *= 1.0 - part
