from __future__ import annotations

import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admission.errors import UsageUnreadableError
from admission.histogram import CPU_BUCKETS, SparseWeights
from admission.usage_checkpoint import STEPS, decode, encode
from admission.usage_model import UsageModel
from tests.unit.admission.samples import NOW, SERVICE
from tests.unit.admission.usage_samples import DAY, GIB, known, learned, sample
from wattkeeper.api.readings import ServiceKey


def busy() -> UsageModel:
    """Three services, one of two containers, three pods each, over two days."""
    random = np.random.default_rng(1)
    model = UsageModel()
    for hour in range(48):
        time = NOW + 3_600.0 * hour
        cores, memory = random.lognormal(0.0, 0.5, 18), random.lognormal(22.0, 0.5, 18)
        model.add(
            [
                sample(
                    time=time,
                    cores=float(cores[n]),
                    memory=float(memory[n]),
                    pod=f"uid-{n // 2}",
                    container=("main", "sidecar")[n % 2],
                    service=ServiceKey("chat", "Deployment", f"llm-{n // 6}"),
                    loading=hour == 0,
                    minutes=60.0,
                )
                for n in range(18)
            ],
            time,
        )
    return model


def restarted(model: UsageModel, now: float = NOW + 2 * DAY) -> UsageModel:
    return UsageModel.restored(decode(encode(model.state())), now)


def estimates(model: UsageModel) -> list[object]:
    return [
        known(model, container, ServiceKey("chat", "Deployment", f"llm-{n}"))
        for n in range(3)
        for container in ("main", "sidecar")
    ]


def rows(sparse: SparseWeights) -> list[list[float]]:
    dense = np.zeros((len(sparse.counts), CPU_BUCKETS.count))
    dense[np.repeat(np.arange(len(sparse.counts)), sparse.counts), sparse.buckets] = sparse.weights
    return dense.tolist()


def test_a_restart_gives_the_same_estimates() -> None:
    model = busy()
    assert estimates(restarted(model)) == estimates(model)


def test_what_comes_after_a_restart_teaches_the_same_as_without_one() -> None:
    model = busy()
    again = restarted(model)
    for one in (model, again):
        # The same window's peak rises, another pod's stays, and a new pod comes.
        time = NOW + 2 * DAY - 1_800.0
        service = ServiceKey("chat", "Deployment", "llm-0")
        for pod, memory in (("uid-0", 60 * GIB), ("uid-1", GIB), ("new", 2 * GIB)):
            one.add([sample(time=time, pod=pod, memory=memory, service=service)], time)
    assert estimates(again) == estimates(model)
    assert len(again.state().instances.series) == len(model.state().instances.series)


def test_restarts_do_not_count_a_pod_again_and_again() -> None:
    model = learned([sample(memory=8 * GIB)])
    for minute in range(1, 200):
        model = restarted(learned([sample(time=NOW + 60.0 * minute, memory=GIB)], model), NOW + 60.0 * minute)
    assert known(model).memory.target >= 8 * GIB


def test_the_last_sample_before_a_restart_does_not_count_again_after_it() -> None:
    model = restarted(learned([sample(time=NOW + 0.5)]))
    assert dict(model.add([sample(time=NOW + 0.5)], NOW + 60.0).dropped) == {"late": 1}


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 4))
def test_weights_move_by_half_a_step_of_the_heaviest_at_most(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    weights = random.lognormal(0.0, 6.0, (count, CPU_BUCKETS.count)) * (random.random((count, 1)) > 0.2)
    row, bucket = np.nonzero(weights)
    sparse = SparseWeights(np.bincount(row, minlength=len(weights)), bucket, weights[row, bucket])
    services = tuple((ServiceKey("chat", "Deployment", f"llm-{n}"), ("main",)) for n in range(len(weights)))
    state = UsageModel().state()
    made = type(state)(
        time=NOW,
        services=services,
        first=np.zeros(count),
        last=np.zeros(count),
        minutes=np.zeros(count),
        cpu=sparse,
        memory=sparse,
        load_bytes=np.zeros((count, 14)),
        load_days=np.zeros((count, 14), dtype=np.int32),
        instances=state.instances,
    )
    read = np.array(rows(decode(encode(made)).cpu)).reshape(weights.shape)
    bound = weights.max(axis=1, initial=0.0, keepdims=True) / STEPS / 2
    assert (np.abs(read - weights) <= bound * (1 + 1e-9)).all()


def test_nothing_learned_is_kept_as_nothing() -> None:
    model = restarted(UsageModel())
    assert model.containers == 0
    assert model.add([sample()], NOW).samples == 1


def test_usage_kept_by_a_clock_that_went_ahead_is_as_old_as_now() -> None:
    ahead = 400 * DAY
    model = learned(sample(time=NOW + ahead + 60.0 * n, cores=8.0, loading=True, memory=GIB) for n in range(60))
    again = restarted(model, NOW)
    assert known(again) == known(model)
    learned((sample(time=NOW + 3_600.0 * hour, cores=2.0, minutes=60.0) for hour in range(1, 200)), again)
    assert known(again).cpu.target < 2.6
    assert known(again).load_peak_bytes == GIB


def test_a_thousand_containers_fit_in_one_shard() -> None:
    random = np.random.default_rng(2)
    model = UsageModel()
    for hour in range(12):
        time = NOW + 3_600.0 * hour
        figures: list[tuple[float, float]] = random.lognormal((0.0, 22.0), 0.5, (1_000, 2)).tolist()
        model.add(
            [
                sample(time=time, cores=c, memory=m, pod=f"uid-{n}", service=SERVICE._replace(name=f"llm-{n}"))
                for n, (c, m) in enumerate(figures)
            ],
            time,
        )
    assert len(encode(model.state())) < 512 * 1024


def whole() -> bytes:
    return zlib.decompress(encode(busy().state()))


def with_column(name: str, value: object) -> bytes:
    fields: dict[str, object] = msgspec.msgpack.decode(whole())
    assert name in fields
    return zlib.compress(msgspec.msgpack.encode({**fields, name: value}))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cut off"),
        (b"not zlib", "damaged"),
        (encode(busy().state())[:-20], "cut off"),
        (zlib.compress(b"\xc1"), "damaged"),
        (zlib.compress(whole()[:-50]), "damaged"),
        (zlib.compress(msgspec.msgpack.encode({"version": 1})), "damaged"),
        (zlib.compress(msgspec.msgpack.encode({"version": 99})), "version 99"),
        (with_column("time", float("nan")), "a time is none"),
        (with_column("first", b"123"), "a column is cut off"),
        (with_column("minutes", np.full(6, np.nan).tobytes()), "a number is none"),
        (with_column("services", [["chat", "Deployment", "llm", ["main"] * 6]]), "twice"),
        (with_column("cpu", [b"\x01" * 6, b"\0" * 48, b"\xff" * 6, b"\0" * 12]), "no bucket"),
        (with_column("instances", [b"12345678", b"\xff" * 4, b"\0" * 8, b"\0" * 8, b"\0\0"]), "no service"),
    ],
    ids=str,
)
def test_what_cannot_be_read_says_why_and_what_happens_then(data: bytes, said: str) -> None:
    with pytest.raises(UsageUnreadableError, match=f"{said}.*learned anew"):
        decode(data)


@settings(deadline=None)
@given(at=st.integers(0), bits=st.integers(1, 255))
def test_a_flipped_byte_is_noticed_or_leaves_something_that_can_be_used(at: int, bits: int) -> None:
    plain = bytearray(WHOLE)
    plain[at % len(plain)] ^= bits
    try:
        state = decode(zlib.compress(bytes(plain)))
    except UsageUnreadableError:
        return
    model = UsageModel.restored(state, NOW + 2 * DAY)
    model.add([sample(time=NOW + 2 * DAY)], NOW + 2 * DAY)
    model.forget()


WHOLE = whole()
