"""The bytes of what the usage model knows: a version, columns without empty buckets, compressed and bounded in size.

What a round trip may lose: a bucket's weight is kept as one of 65,535 steps of its histogram's heaviest bucket (VPA has
10,000: util/histogram.go, MaxCheckpointWeight), so weights move by half a step at most and buckets below half a step
are gone; seconds of last samples are rounded up. Everything else comes back as it was.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from admission.errors import UsageUnreadableError
from admission.histogram import CPU_BUCKETS, MEMORY_BUCKETS, Buckets, SparseWeights
from admission.load_peaks import DAYS
from admission.usage_instances import DIGEST_BYTES
from admission.usage_state import InstanceState, UsageState
from wattkeeper.api.readings import Floats, Ints, ServiceKey

VERSION: Final = 1
"""To be raised when the layout changes, or what a bucket means (admission.histogram)."""

STEPS: Final = 65_535
_MOST_BYTES: Final = 256 * 2**20
_MOST_SECONDS: Final = 2.0**40
_REMEDY: Final = "usage is learned anew"


class _Histograms(msgspec.Struct, frozen=True, array_like=True):
    """N histograms: how many buckets each has, the weight of its heaviest one, and the buckets and steps of all."""

    counts: bytes
    heaviest: bytes
    buckets: bytes
    steps: bytes


class _Instances(msgspec.Struct, frozen=True, array_like=True):
    digests: bytes
    series: bytes
    last: bytes
    window_end: bytes
    peak: bytes


class _Checkpoint(msgspec.Struct, frozen=True):
    version: int
    time: float
    services: tuple[tuple[str, str, str, tuple[str, ...]], ...]
    first: bytes
    last: bytes
    minutes: bytes
    cpu: _Histograms
    memory: _Histograms
    load_bytes: bytes
    load_days: bytes
    instances: _Instances


class _Version(msgspec.Struct, frozen=True):
    version: int


def encode(state: UsageState) -> bytes:
    """Returns the checkpoint's bytes."""
    instances = state.instances
    checkpoint = _Checkpoint(
        version=VERSION,
        time=state.time,
        services=tuple((of.namespace, of.kind, of.name, containers) for of, containers in state.services),
        first=_packed(state.first, "<f8"),
        last=_packed(state.last, "<f8"),
        minutes=_packed(state.minutes, "<f8"),
        cpu=_quantised(state.cpu),
        memory=_quantised(state.memory),
        load_bytes=_packed(state.load_bytes, "<f8"),
        load_days=_packed(state.load_days, "<i4"),
        instances=_Instances(
            digests=instances.digests,
            series=_packed(instances.series, "<u4"),
            last=_packed(instances.last, "<i8"),
            window_end=_packed(instances.window_end, "<i8"),
            peak=_packed(instances.peak, "<i2"),
        ),
    )
    return zlib.compress(msgspec.msgpack.encode(checkpoint), 6)


def decode(data: bytes) -> UsageState:
    """Reads a checkpoint's bytes.

    Raises:
        UsageUnreadableError: they are damaged, too large, of another version, or do not fit together.
    """
    plain = _inflated(data)
    try:
        version = msgspec.msgpack.decode(plain, type=_Version).version
        if version != VERSION:
            raise UsageUnreadableError(f"usage has version {version} where {VERSION} is read: {_REMEDY}")
        return _state(msgspec.msgpack.decode(plain, type=_Checkpoint))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UsageUnreadableError(f"usage is damaged ({error}): {_REMEDY}") from error


def _inflated(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(data, _MOST_BYTES)
    except zlib.error as error:
        raise UsageUnreadableError(f"usage is damaged ({error}): {_REMEDY}") from error
    if not inflater.eof:
        raise UsageUnreadableError(f"usage is cut off, or larger than {_MOST_BYTES // 2**20} MiB: {_REMEDY}")
    return plain


def _state(read: _Checkpoint) -> UsageState:
    """Returns what was read; raises ValueError where it does not fit together."""
    services = tuple(
        (ServiceKey(namespace, kind, name), containers) for namespace, kind, name, containers in read.services
    )
    count = sum(len(containers) for _, containers in services)
    named = {(service, container) for service, containers in services for container in containers}
    _require(len(named) == count, "a container is there twice")
    first, last, minutes = (_floats(column, count) for column in (read.first, read.last, read.minutes))
    _require(0.0 <= read.time < _MOST_SECONDS and bool((minutes >= 0.0).all()), "a time is none")
    load_bytes = _floats(read.load_bytes, count * DAYS).reshape(count, DAYS)
    _require(bool((load_bytes >= 0.0).all()), "a peak is negative")
    return UsageState(
        time=read.time,
        services=services,
        first=first,
        last=last,
        minutes=minutes,
        cpu=_weights(read.cpu, count, CPU_BUCKETS),
        memory=_weights(read.memory, count, MEMORY_BUCKETS),
        load_bytes=load_bytes,
        load_days=_column(read.load_days, "<i4", count * DAYS).astype(np.int32).reshape(count, DAYS),
        instances=_instances(read.instances, count),
    )


def _instances(read: _Instances, containers: int) -> InstanceState:
    count = len(read.digests) // DIGEST_BYTES
    _require(len(read.digests) == count * DIGEST_BYTES, "a pod's digest is cut off")
    series, peak = _ints(read.series, "<u4", count), _ints(read.peak, "<i2", count)
    _require(bool((series < containers).all()), "a pod is of no service")
    _require(bool(((peak >= -1) & (peak < MEMORY_BUCKETS.count)).all()), "a pod's peak is in no bucket")
    return InstanceState(
        digests=read.digests,
        series=series,
        last=_ints(read.last, "<i8", count),
        window_end=_ints(read.window_end, "<i8", count),
        peak=peak,
    )


def _quantised(weights: SparseWeights) -> _Histograms:
    rows = np.repeat(np.arange(len(weights.counts)), weights.counts)
    heaviest = np.zeros(len(weights.counts))
    np.maximum.at(heaviest, rows, weights.weights)
    steps = np.rint(weights.weights / heaviest[rows] * STEPS)
    kept = steps > 0.0
    return _Histograms(
        counts=_packed(np.bincount(rows[kept], minlength=len(heaviest)), "u1"),
        heaviest=_packed(heaviest, "<f8"),
        buckets=_packed(weights.buckets[kept], "u1"),
        steps=_packed(steps[kept], "<u2"),
    )


def _weights(read: _Histograms, rows: int, buckets: Buckets) -> SparseWeights:
    counts = _ints(read.counts, "u1", rows)
    heaviest = _floats(read.heaviest, rows)
    total = int(counts.sum())
    bucket = _ints(read.buckets, "u1", total)
    _require(bool((heaviest >= 0.0).all() and (bucket < buckets.count).all()), "a weight is in no bucket")
    steps = _ints(read.steps, "<u2", total).astype(np.float64)
    return SparseWeights(counts, bucket, steps / STEPS * np.repeat(heaviest, counts))


def _packed(values: npt.NDArray[Any], kind: str) -> bytes:
    return np.ascontiguousarray(values, dtype=kind).tobytes()


def _column(packed: bytes, kind: str, count: int) -> npt.NDArray[Any]:
    _require(len(packed) == count * np.dtype(kind).itemsize, "a column is cut off")
    return np.frombuffer(packed, dtype=kind)


def _ints(packed: bytes, kind: str, count: int) -> Ints:
    return _column(packed, kind, count).astype(np.int64)


def _floats(packed: bytes, count: int) -> Floats:
    values = _column(packed, "<f8", count).astype(np.float64)
    _require(bool(np.isfinite(values).all()), "a number is none")
    return values


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
