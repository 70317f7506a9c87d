"""Kubernetes quantities ("500m", "8", "2Gi") as numbers.

The client library's parser works in Decimals and lives outside this layer; counts of GPUs and cores need only floats.
"""

from __future__ import annotations

from functools import lru_cache

_FACTORS = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
    "Pi": 2.0**50,
    "Ei": 2.0**60,
}


@lru_cache(maxsize=4096)
def parse_quantity(text: str | int) -> float:
    """Returns the value of a quantity in its base unit (cores, bytes, devices).

    Raises:
        ValueError: the text is not a Kubernetes quantity.

    >>> parse_quantity("500m"), parse_quantity("2Ki"), parse_quantity(8), parse_quantity("1e3")
    (0.5, 2048.0, 8.0, 1000.0)
    """
    if isinstance(text, int):
        return float(text)
    for length in (2, 1):
        factor = _FACTORS.get(text[-length:])
        if factor is not None and len(text) > length:
            return float(text[:-length]) * factor
    return float(text)


def format_millicores(millicores: int) -> str:
    """Returns CPU as people write it.

    >>> format_millicores(2000), format_millicores(1250)
    ('2', '1250m')
    """
    whole, rest = divmod(millicores, 1000)
    return f"{millicores}m" if rest else str(whole)


def format_bytes(count: int) -> str:
    """Returns bytes exactly, in the largest binary unit of which they are a whole number.

    >>> format_bytes(3 * 2**29), format_bytes(1500), format_bytes(0)
    ('1536Mi', '1500', '0')
    """
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        factor = int(_FACTORS[unit])
        if count and count % factor == 0:
            return f"{count // factor}{unit}"
    return str(count)
