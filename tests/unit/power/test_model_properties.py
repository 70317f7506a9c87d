"""What holds for any readings."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, cast

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tests.random_worlds import worlds
from tests.unit.power.rows import NOW, budget_rows, floats, node_rows, pod_rows, readings, service_rows
from wattkeeper.api.readings import Floats, Ints, Readings
from wattkeeper.power.charges import Charges
from wattkeeper.power.model import PowerModel
from wattkeeper.power.settings import ModelSettings

KINDS = ("NVIDIA-H100-80GB-HBM3x8", "NVIDIA-L4x2", "cpu")
QUICK = ModelSettings(confident_samples=5.0, confident_seconds=60.0, lowering_half_life_seconds=15.0)
NODES, PODS, SERVICES, BUDGETS = 4, 8, 3, 2
UPPER = ("node_upper_watts", "unmanaged_upper_watts", "pending_unmanaged_watts", "replica_upper_watts")
EXPECTED = ("node", "unmanaged", "replica", "pod")

seeds = st.integers(0, 2**32 - 1)
poison = st.sampled_from([np.nan, np.inf, -np.inf, -1.0, 0.0, 1e300, 9_000.0])


def cluster(seed: int) -> Readings:
    """Some cluster with everything in it: three kinds, two domains that overlap, pods of all phases."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, NODES)
    node = rng.integers(-1, NODES, PODS)
    return readings(
        node_rows(
            NODES,
            kind=kind,
            kind_names=KINDS,
            gpus=np.array([8, 2, 0])[kind],
            domains=np.stack([rng.integers(0, BUDGETS, NODES), np.where(rng.random(NODES) < 0.3, 1, -1)], axis=1),
            platform_watts=np.where(rng.random(NODES) < 0.5, rng.uniform(2_000.0, 6_000.0, NODES), np.nan),
            platform_age_seconds=floats(5.0, NODES),
            gpu_limit_watts=np.where(rng.random(NODES) < 0.5, np.array([8 * 500.0, 2 * 60.0, 0.0])[kind], np.nan),
        ),
        pod_rows(
            PODS,
            node=node,
            service=rng.integers(-1, SERVICES, PODS),
            phase=np.where(node < 0, 0, rng.integers(1, 4, PODS)),
            gpus=rng.integers(0, 3, PODS).astype(np.float64),
        ),
        service_rows(
            SERVICES,
            kinds=3,
            domains=BUDGETS,
            gpus=rng.integers(0, 3, SERVICES).astype(np.float64),
            prior_watts=np.where(rng.random(SERVICES) < 0.5, 500.0, np.nan),
            pods_per_replica=rng.integers(1, 3, SERVICES),
        ),
        budget_rows(BUDGETS, meter=rng.integers(0, 3, BUDGETS)),
    )


def drawing(seen: Readings, seed: int) -> Readings:
    """The same cluster as it draws at some instant."""
    rng = np.random.default_rng(seed)
    return replace(
        seen,
        nodes=replace(seen.nodes, cpu_watts=rng.uniform(150, 900, NODES), gpu_watts=rng.uniform(100, 5_000, NODES)),
        pods=replace(seen.pods, cpu_watts=rng.uniform(0, 90, PODS), gpu_watts=rng.uniform(0, 700, PODS)),
        services=replace(seen.services, load=rng.uniform(0, 1.2, SERVICES)),
    )


def taught(seen: Readings, seed: int, ticks: int = 8) -> tuple[PowerModel, float]:
    model, now = PowerModel(QUICK), NOW
    for tick in range(ticks):
        now += 15.0
        model.observe(drawing(seen, seed + tick), now)
    return model, now


def uppers(charges: Charges) -> dict[str, Floats]:
    return {name: getattr(charges, name) for name in (*UPPER, "pod_upper_watts", "residual_watts")}


def assert_sane(charges: Charges) -> None:
    for field in fields(charges):
        values = getattr(charges, field.name)
        if field.name != "meter_watts":
            assert np.isfinite(values).all(), field.name
        assert not (values < 0).any(), field.name
    for name in EXPECTED:
        upper, expected = getattr(charges, f"{name}_upper_watts"), getattr(charges, f"{name}_expected_watts")
        assert (upper >= expected - 1e-9).all(), name


def spoiled(rows: Any, rng: np.random.Generator, value: float, names: tuple[str, ...]) -> Any:
    changed: dict[str, Floats] = {}
    for name in names:
        column = np.array(getattr(rows, name), dtype=np.float64)
        column[rng.random(len(column)) < 0.4] = value
        changed[name] = column
    return replace(rows, **changed)


def spoil(seen: Readings, seed: int, value: float) -> Readings:
    """Puts a value that means nothing into two of five of all measured numbers."""
    rng = np.random.default_rng(seed)
    watts = ("cpu_watts", "gpu_watts", "cpu_idle_watts", "gpu_idle_watts", "gpu_limit_watts", "platform_watts")
    ages = ("cpu_age_seconds", "gpu_age_seconds", "platform_age_seconds", "interval_seconds")
    return replace(
        seen,
        nodes=spoiled(seen.nodes, rng, value, (*watts, *ages)),
        pods=spoiled(seen.pods, rng, value, ("cpu_watts", "gpu_watts", "age_seconds", "gpus", "cpu_cores", "since")),
        services=spoiled(seen.services, rng, value, ("load", "prior_watts", "gpus", "cpu_cores")),
        budgets=spoiled(seen.budgets, rng, value, ("meter_watts", "meter_age_seconds", "limit_watts")),
    )


@worlds(30)
@given(seed=seeds, ticks=st.integers(0, 10))
def test_upper_bounds_are_at_least_what_is_expected(seed: int, ticks: int) -> None:
    seen = cluster(seed)
    model, now = taught(seen, seed, ticks)
    assert_sane(model.charges(drawing(seen, seed), now + 15.0))


@worlds(50)
@given(seed=seeds, value=poison, ticks=st.integers(0, 5))
def test_values_that_mean_nothing_never_spread(seed: int, value: float, ticks: int) -> None:
    seen = cluster(seed)
    model, now = taught(seen, seed, ticks)
    for tick in range(3):
        now += 15.0
        bad = spoil(drawing(seen, seed + tick), seed + tick, value)
        model.observe(bad, now)
        assert_sane(model.charges(bad, now))
    model.observe(seen, now + 15.0)
    assert_sane(model.charges(seen, now + 15.0))


@worlds(50)
@given(seed=seeds, gone=st.lists(st.booleans(), min_size=NODES, max_size=NODES), ticks=st.integers(1, 70))
@example(seed=1836503, gone=[True] * NODES, ticks=1)
def test_readings_that_stop_lower_no_charge(seed: int, gone: list[bool], ticks: int) -> None:
    seen = cluster(seed)
    model, now = taught(seen, seed)
    last = drawing(seen, seed + 7)
    before = model.charges(last, now)
    lost = np.array(gone)
    pods = np.where(last.pods.node >= 0, lost[last.pods.node], False)
    nan = replace(
        last,
        nodes=replace(
            last.nodes,
            cpu_watts=np.where(lost, np.nan, last.nodes.cpu_watts),
            gpu_watts=np.where(lost, np.nan, last.nodes.gpu_watts),
            gpu_limit_watts=np.where(lost, np.nan, last.nodes.gpu_limit_watts),
            platform_watts=np.where(lost, np.nan, last.nodes.platform_watts),
        ),
        pods=replace(
            last.pods,
            cpu_watts=np.where(pods, np.nan, last.pods.cpu_watts),
            gpu_watts=np.where(pods, np.nan, last.pods.gpu_watts),
        ),
    )
    for _ in range(ticks):
        now += 15.0
        model.observe(nan, now)
    after = model.charges(nan, now)
    assert (after.node_upper_watts[:, lost] >= before.node_upper_watts[:, lost] - 1e-6).all()
    assert (after.pod_upper_watts[:, pods] >= before.pod_upper_watts[:, pods] - 1e-6).all()
    alone = lost & ~np.isin(np.arange(NODES), last.pods.node[~pods])
    assert (after.unmanaged_upper_watts[:, alone] >= before.unmanaged_upper_watts[:, alone] - 1e-6).all()
    if lost.all():
        for name, values in uppers(after).items():
            assert (values >= uppers(before)[name] - 1e-6).all(), name


@worlds(30)
@given(seed=seeds)
def test_a_checkpoint_gives_the_same_charges(seed: int) -> None:
    seen = cluster(seed)
    model, now = taught(seen, seed)
    last = drawing(seen, seed + 7)
    again = PowerModel.load(model.dump(), QUICK)
    for time in (now, now + 15.0, now + 500.0):
        before, after = model.charges(last, time), again.charges(last, time)
        for field in fields(before):
            np.testing.assert_allclose(getattr(after, field.name), getattr(before, field.name), err_msg=field.name)


def rows_taken(
    rows: Any, order: Ints, shared: tuple[str, ...] = ("kind_names", "places", "landings", "row_by_uid")
) -> Any:
    changed: dict[str, Any] = {}
    for field in fields(rows):
        column = getattr(rows, field.name)
        if field.name in shared:
            continue
        if isinstance(column, tuple):
            names = cast("tuple[object, ...]", column)
            changed[field.name] = tuple(names[at] for at in order)
        else:
            changed[field.name] = column[order]
    return replace(rows, **changed)


@worlds(30)
@given(seed=seeds)
def test_the_order_of_rows_is_of_no_account(seed: int) -> None:
    seen = cluster(seed)
    model, now = taught(seen, seed)
    last = drawing(seen, seed + 7)
    rng = np.random.default_rng(seed)
    nodes, pods, services = (rng.permutation(count) for count in (NODES, PODS, SERVICES))
    taken = rows_taken(last.pods, pods)
    inverse_node, inverse_service = np.argsort(nodes), np.argsort(services)
    moved = replace(
        last,
        nodes=rows_taken(last.nodes, nodes),
        pods=replace(
            taken,
            node=np.where(taken.node >= 0, inverse_node[taken.node], -1),
            service=np.where(taken.service >= 0, inverse_service[taken.service], -1),
        ),
        services=rows_taken(last.services, services),
    )
    model.observe(moved, now + 15.0)
    other, _ = taught(seen, seed)
    other.observe(last, now + 15.0)
    before, after = other.charges(last, now + 15.0), model.charges(moved, now + 15.0)
    np.testing.assert_allclose(after.node_upper_watts, before.node_upper_watts[:, nodes])
    np.testing.assert_allclose(after.unmanaged_upper_watts, before.unmanaged_upper_watts[:, nodes])
    np.testing.assert_allclose(after.pod_upper_watts, before.pod_upper_watts[:, pods])
    np.testing.assert_allclose(after.replica_upper_watts, before.replica_upper_watts[:, services])
    np.testing.assert_allclose(after.replica_expected_watts, before.replica_expected_watts[:, services])
    np.testing.assert_allclose(after.residual_watts, before.residual_watts)


@worlds(30)
@given(seed=seeds, ticks=st.integers(0, 8))
def test_every_pod_on_a_node_is_charged(seed: int, ticks: int) -> None:
    seen = cluster(seed)
    model, now = taught(seen, seed, ticks)
    nothing = floats(np.nan, PODS)
    unknown = replace(seen, pods=replace(seen.pods, cpu_watts=nothing, gpu_watts=nothing))
    charges = model.charges(unknown, now + 15.0)
    managed = (seen.pods.node >= 0) & (seen.pods.service >= 0)
    assert (charges.pod_upper_watts[1, managed] > 0.0).all()
    others = np.unique(seen.pods.node[(seen.pods.node >= 0) & (seen.pods.service < 0)])
    assert (charges.unmanaged_upper_watts[1, others] > 0.0).all()


@worlds(30)
@given(seed=seeds, ticks=st.integers(0, 8), stated=st.floats(0.0, 5_000.0))
def test_watts_stated_by_a_policy_lower_nothing(seed: int, ticks: int, stated: float) -> None:
    seen = cluster(seed)
    without = replace(seen, services=replace(seen.services, prior_watts=floats(np.nan, SERVICES)))
    model, now = taught(without, seed, ticks)
    said = replace(without, services=replace(without.services, prior_watts=floats(stated, SERVICES)))
    before, after = model.charges(without, now + 15.0), model.charges(said, now + 15.0)
    assert (after.replica_upper_watts >= before.replica_upper_watts - 1e-9).all()
    assert (after.pod_upper_watts >= before.pod_upper_watts - 1e-9).all()


@worlds(30)
@given(seed=seeds, spike=st.floats(1_000.0, 300_000.0))
def test_one_spike_raises_no_bound_of_a_replica(seed: int, spike: float) -> None:
    seen = cluster(seed)
    model, now = taught(seen, seed, 20)
    calm = drawing(seen, seed + 19)
    for _ in range(3):
        now += 15.0
        model.observe(calm, now)
    twin = PowerModel.load(model.dump(), QUICK)
    spiked = replace(calm, pods=replace(calm.pods, gpu_watts=floats(spike, PODS), cpu_watts=floats(spike, PODS)))
    model.observe(spiked, now + 15.0)
    twin.observe(calm, now + 15.0)
    for one in (model, twin):
        one.observe(calm, now + 30.0)
    without, after = twin.charges(calm, now + 30.0), model.charges(calm, now + 30.0)
    # The nodes' fixed draws see the spike too, and move by their bounded step.
    assert (after.replica_upper_watts <= without.replica_upper_watts * 1.06 + 2.0).all()
