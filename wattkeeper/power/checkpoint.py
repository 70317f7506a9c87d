"""The bytes of a checkpoint: a version, named tables of float columns, compressed and bounded in size."""

from __future__ import annotations

import zlib

import msgspec
import numpy as np

from wattkeeper.api.readings import Floats
from wattkeeper.power.errors import ModelStateError

VERSION = 1
MAX_STATE_BYTES = 256 * 1024 * 1024


class PackedArray(msgspec.Struct, frozen=True, kw_only=True):
    """Little-endian float64s and their shape."""

    shape: tuple[int, ...]
    data: bytes


class TableState(msgspec.Struct, frozen=True, kw_only=True):
    """Names as tuples of strings, when each was last seen, and columns with one entry per name."""

    keys: tuple[tuple[str, ...], ...]
    seen: PackedArray
    columns: dict[str, PackedArray]


class ModelState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the model has learned.

    Attributes:
        version: of this layout; another one cannot be read.
        time: Unix seconds of the last readings.
        reference_time: Unix seconds at which a histogram's new sample weighs its plain weight.
        tables: by the name of the part.
    """

    version: int
    time: float
    reference_time: float
    tables: dict[str, TableState]


def pack(values: Floats) -> PackedArray:
    """Packs an array of any shape."""
    return PackedArray(shape=values.shape, data=np.ascontiguousarray(values, dtype="<f8").tobytes())


def unpack(packed: PackedArray, shape: tuple[int, ...]) -> Floats:
    """Unpacks an array that must have `shape`.

    Raises:
        ModelStateError: it has another one.
    """
    if packed.shape != shape or len(packed.data) != 8 * int(np.prod(shape)):
        raise ModelStateError(
            f"the checkpoint holds an array of shape {packed.shape} where {shape} is needed: start with a fresh model"
        )
    return np.frombuffer(packed.data, dtype="<f8").astype(np.float64).reshape(shape)


def encode(state: ModelState) -> bytes:
    """Returns the checkpoint's bytes."""
    return zlib.compress(msgspec.msgpack.encode(state), 1)


def decode(data: bytes) -> ModelState:
    """Reads a checkpoint's bytes.

    Raises:
        ModelStateError: they are damaged, too large or of another version.
    """
    try:
        inflater = zlib.decompressobj()
        plain = inflater.decompress(data, MAX_STATE_BYTES)
        if not inflater.eof:
            raise ModelStateError("the checkpoint is cut off or too large: start with a fresh model")
        state = msgspec.msgpack.decode(plain, type=ModelState)
    except (zlib.error, msgspec.DecodeError) as error:
        raise ModelStateError(f"the checkpoint is damaged ({error}): start with a fresh model") from error
    if state.version != VERSION:
        raise ModelStateError(
            f"the checkpoint has version {state.version}, this model reads {VERSION}: start with a fresh model"
        )
    return state
