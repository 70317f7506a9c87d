"""One decision: readings in, guarded plan out. Synchronous, no IO, no clock: the same calls give the same results.

    model learns -> charges -> sums -> steering -> snapshot -> algorithm -> guard (-> rollouts -> guard)
        (-> migrations -> guard) -> result

An algorithm that fails is replaced by the built-in for the tick, and that by holding still; whatever proposes, the
guard decides.
"""

from __future__ import annotations

import msgspec
import numpy as np

from wattkeeper.algorithms.contract import Algorithm
from wattkeeper.api.readings import Bools, Floats, Ints, Readings, Rung
from wattkeeper.api.snapshot import History
from wattkeeper.guard.advice import with_advice
from wattkeeper.guard.guarded_plan import GuardedPlan
from wattkeeper.power.charges import Charges
from wattkeeper.power.errors import ModelStateError
from wattkeeper.power.ladder import domain_rung
from wattkeeper.power.model import PowerModel
from wattkeeper.recommender.commitments import commitments
from wattkeeper.recommender.corrections import Corrections
from wattkeeper.recommender.deciding import Decision, decide, decide_with_rollouts
from wattkeeper.recommender.demand import DemandWindow, whole_demand
from wattkeeper.recommender.errors import StateUnreadableError
from wattkeeper.recommender.gate import gate_results
from wattkeeper.recommender.grants import GrantLog, told
from wattkeeper.recommender.migrations import Decided, Ground, decide_migrations, nothing_moves, own_replicas
from wattkeeper.recommender.picture import Picture, enforced_snapshot, enforcing, shadow_snapshot
from wattkeeper.recommender.result import (
    BudgetResults,
    GateResults,
    MigrationResults,
    Refusal,
    ServiceResults,
    StepResult,
)
from wattkeeper.recommender.scene import Scene
from wattkeeper.recommender.settings import RecommenderSettings
from wattkeeper.recommender.steering import steer
from wattkeeper.recommender.sums import Sums, build_sums, replica_watts
from wattkeeper.recommender.timeline import Timeline

MIN_STALE_SECONDS = 30.0


class _Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What survives a restart: the power model, and what the algorithm keeps."""

    version: int = 1
    model: bytes
    algorithm: bytes


class Recommender:
    """Decides, tick by tick. Keeps the power model, bounded histories, and the grants of the actuation window."""

    def __init__(self, settings: RecommenderSettings, algorithm: Algorithm) -> None:
        self._settings = settings
        self._algorithm = algorithm
        self._model = PowerModel()
        self._algorithm_state = b""
        self._demand = DemandWindow()
        self._grants = GrantLog(settings.actuation_window_seconds)
        self._times = Timeline(settings.history_ticks)
        self._raw_demand = Timeline(settings.history_ticks)
        self._guarded = Timeline(settings.history_ticks)
        self._meter = Timeline(settings.history_ticks)
        self._over_since: dict[str, float] = {}
        self._corrections = Corrections(settings)
        self._synced_ticks = 0
        self._reserved: frozenset[str] | None = None

    def dump(self) -> bytes:
        """Returns what must survive a restart."""
        return msgspec.msgpack.encode(_Checkpoint(model=self._model.dump(), algorithm=self._algorithm_state))

    def restore(self, state: bytes) -> None:
        """Takes up what dump returned.

        Raises:
            StateUnreadableError: the state is damaged or of another version; everything starts from priors.
        """
        try:
            checkpoint = msgspec.msgpack.decode(state, type=_Checkpoint)
            self._model = PowerModel.load(checkpoint.model)
        except (msgspec.MsgspecError, ModelStateError) as error:
            raise StateUnreadableError(f"the kept power model cannot be read: {error}") from error
        self._algorithm_state = checkpoint.algorithm

    def step(self, readings: Readings, now: float) -> StepResult:
        """Decides once.

        Args:
            readings: one tick's facts and measurements.
            now: Unix seconds, this tick's only time.
        """
        self._synced_ticks = self._synced_ticks + 1 if readings.synced else 0
        warm = self._synced_ticks > self._settings.warm_up_ticks
        enforced = enforcing(readings)
        # What is published for shadow modes is advice: no autoscaler is told it.
        obeyed = zip(readings.services.keys, enforced, strict=True)
        published = {key: readings.published[key] for key, obeys in obeyed if obeys and key in readings.published}
        if readings.synced:
            self._grants.take_over(published, now)
        self._model.observe(readings, now)
        charges = self._model.charges(readings, now)
        sums = build_sums(readings, charges, now)
        rung = domain_rung(charges.node_rung, readings.nodes.domains, len(readings.budgets.names))
        picture, known = self._picture(readings, sums, rung, told(readings.services.keys, published), now, warm=warm)
        everyone = shadow_snapshot(readings, sums, picture, now)
        problems: list[str] = []
        snapshot = enforced_snapshot(everyone, enforced)
        decision = decide_with_rollouts(
            snapshot,
            self._algorithm,
            rolling=readings.services.rolls & enforced,
            replacing=readings.services.replaces,
            granted=picture.commitments.granted,
            warm=warm,
            known=known | ~enforced,
            problems=problems,
        )
        decided, moves = self._with_migrations(readings, sums, picture, decision, known | ~enforced, warm=warm)
        plan = decided.plan
        gate = gate_results(
            readings.services,
            decided.snapshot,
            plan,
            waiting=sums.replicas.waiting,
            avoided=decided.avoided,
            blocked=decision.blocked,
        )
        self._algorithm_state = plan.state
        if not enforced.all():
            advice, _ = decide(everyone, self._algorithm, warm=warm, known=known, problems=[])
            plan = with_advice(plan, advice, enforced)
        # Until something is decided nobody is told anything new: what was granted last stays in force.
        in_force = plan.grants if warm else np.where(picture.previous >= 0, picture.previous, plan.grants)
        self._remember(readings, charges, plan, in_force, enforced, now)
        return self._result(
            readings, charges, sums, picture, known, rung, plan, gate, moves, warm=warm, now=now, problems=problems
        )

    def _with_migrations(
        self, readings: Readings, sums: Sums, picture: Picture, decision: Decision, known: Bools, *, warm: bool
    ) -> tuple[Decided, MigrationResults]:
        """Lets migrations have what is left. A new leader goes on with what was published."""
        decided = Decided(snapshot=decision.snapshot, plan=decision.plan, avoided=picture.avoided)
        if not warm:
            return decided, nothing_moves(len(readings.services.keys))
        migrations, reserved = readings.migrations, self._reserved
        held = migrations.reserved
        if reserved is not None:
            held = np.array([key.uid in reserved for key in migrations.keys], dtype=np.bool_)
        ground = Ground(
            readings=readings,
            unit_watts=sums.unit_watts,
            granted=picture.commitments.granted,
            held=held,
            steer=lambda left: steer(readings, sums, picture.commitments, left),
            again=lambda snapshot: decision.again(snapshot, warm=warm, known=known),
        )
        decided, moves = decide_migrations(decided, ground)
        got = zip(moves.keys, moves.refusal.tolist(), strict=True)
        self._reserved = frozenset(key.uid for key, refusal in got if refusal == Refusal.NONE)
        return decided, moves

    def _picture(
        self, readings: Readings, sums: Sums, rung: Ints, promised: Ints, now: float, *, warm: bool
    ) -> tuple[Picture, Bools]:
        services, replicas = readings.services, sums.replicas
        outstanding = self._grants.outstanding(
            services.keys,
            running=replicas.active + replicas.pending,
            spec_replicas=services.spec_replicas,
            now=now,
        )
        committed = commitments(services, replicas, outstanding, promised, warm=warm)
        raw = self._fresh_demand(readings)
        self._seed_demand(readings, now)
        stabilised = self._demand.stabilised(services.keys, raw, services.stabilization_seconds, now)
        stabilised = self._assumed_demand(readings, stabilised)
        demand, known = whole_demand(
            stabilised,
            self._demand.last_known(),
            active=replicas.active,
            committed=committed.committed,
            floor=services.floor,
            ceiling=services.ceiling,
        )
        # A service that is only told its cap need not say what its traffic is, and cannot while nothing of it runs:
        # then it asks for all it may have. Readings that are lost do not make it ask for more.
        unmeasured_cap = services.cap_only & ~known & (~services.demand_stated | (replicas.active == 0))
        demand = np.where(unmeasured_cap, np.maximum(services.ceiling, services.floor), demand)
        self._times.append(("time",), np.array([now]))
        self._raw_demand.append(services.keys, raw)
        history = History(
            times=self._times.values[:, 0].copy(),
            demand=self._raw_demand.values.copy(),
            guarded_watts=self._guarded.values.copy(),
            meter_watts=self._meter.values.copy(),
        )
        picture = Picture(
            demand=demand,
            commitments=committed,
            avoided=steer(readings, sums, committed),
            previous=self._grants.previous(services.keys),
            frozen=rung >= Rung.FROZEN,
            history=history,
            state=self._algorithm_state,
        )
        return picture, known | unmeasured_cap

    def _fresh_demand(self, readings: Readings) -> Floats:
        limit = max(self._settings.demand_stale_intervals * readings.demand_interval_seconds, MIN_STALE_SECONDS)
        return np.where(readings.services.demand_age_seconds <= limit, readings.services.demand, np.nan)

    def _assumed_demand(self, readings: Readings, stabilised: Floats) -> Floats:
        """Lets gated services ask for what their spec asks for while nothing ever said what their traffic is.

        Without a gate their pods would be there already. At the gate they would wait for a demand that only they can
        report.
        """
        services = readings.services
        never = ~services.demand_stated | np.isnan(self._demand.last_known())
        assumed = services.gated & ~services.cap_only & np.isnan(stabilised) & never
        if not assumed.any():
            return stabilised
        # What a spec asks for because a pod moves is no demand: it would be told, and asked for, again and again.
        own = own_replicas(services.spec_replicas, readings.migrations)
        demand = np.where(assumed, own, stabilised)
        self._demand.assume(demand)
        return demand

    def _seed_demand(self, readings: Readings, now: float) -> None:
        if self._synced_ticks == 1 and readings.published:
            before = [readings.published.get(key) for key in readings.services.keys]
            demand = [float("nan") if one is None or one.demand < 0 else float(one.demand) for one in before]
            self._demand.seed(readings.services.keys, np.array(demand), now)

    def _remember(
        self, readings: Readings, charges: Charges, plan: GuardedPlan, grants: Ints, enforced: Bools, now: float
    ) -> None:
        budgets = readings.budgets
        keys = tuple(key for key, obeyed in zip(readings.services.keys, enforced, strict=True) if obeyed)
        if readings.synced:
            self._grants.record(keys, grants[enforced], now)
        self._guarded.append(budgets.names, plan.guarded_watts)
        self._meter.append(budgets.names, charges.meter_watts)
        over = {name for name, watts in zip(budgets.names, plan.over_watts, strict=True) if watts > 0}
        self._over_since = {name: self._over_since.get(name, now) for name in sorted(over)}

    def _result(
        self,
        readings: Readings,
        charges: Charges,
        sums: Sums,
        picture: Picture,
        known: Bools,
        rung: Ints,
        plan: GuardedPlan,
        gate: GateResults,
        moves: MigrationResults,
        *,
        warm: bool,
        now: float,
        problems: list[str],
    ) -> StepResult:
        services, budgets = readings.services, readings.budgets
        over_since = np.array([self._over_since.get(name, np.nan) for name in budgets.names], dtype=np.float64)
        late = now - over_since > budgets.shed_seconds  # NaN compares as not late.
        unachievable = plan.unachievable | late
        touches = (sums.unit_watts > 0) | (sums.active_watts > 0)
        stale = np.logical_or.reduce(touches[:, picture.frozen], axis=1)
        scene = Scene(
            readings=readings,
            charges=charges,
            plan=plan,
            rung=rung,
            stale=stale,
            active=sums.replicas.active,
            unit_watts=sums.unit_watts,
            now=now,
        )
        corrected = self._corrections.name(scene, warm=warm)
        return StepResult(
            now=now,
            warm=warm,
            plan=plan,
            services=ServiceResults(
                keys=services.keys,
                policies=services.policies,
                mode=services.mode,
                priority=services.priority,
                floor=services.floor,
                ceiling=services.ceiling,
                cap_only=services.cap_only,
                claimed_twice=services.claimed_twice,
                demand=np.where(known, picture.demand, -1),
                active=sums.replicas.active,
                replica_watts=replica_watts(readings, charges),
                stale=stale,
                unachievable=np.logical_or.reduce(touches[:, unachievable], axis=1),
                enforced=enforcing(readings) & (sums.replicas.active <= plan.grants + plan.surges),
            ),
            budgets=BudgetResults(
                limit_watts=budgets.limit_watts,
                guarded_watts=plan.guarded_watts,
                expected_watts=sums.expected_watts,
                residual_watts=charges.residual_watts,
                over_watts=plan.over_watts,
                meter_watts=charges.meter_watts,
                nodes=sums.nodes,
                rung=rung,
                unachievable=unachievable,
                over_since=over_since,
            ),
            gate=gate,
            migrations=moves,
            violations=corrected.of_budgets,
            service_violations=corrected.violations,
            movable_pods=corrected.movable_pods,
            problems=tuple(problems),
        )
