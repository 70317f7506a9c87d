"""Quantities read as Kubernetes writes them."""

from __future__ import annotations

import pytest

from wattkeeper.api.quantity import format_bytes, format_millicores, parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8.0),
        (8, 8.0),
        ("500m", 0.5),
        ("250000000n", 0.25),
        ("1e3", 1000.0),
        ("2Ki", 2048.0),
        ("512Gi", 512 * 2.0**30),
        ("3k", 3000.0),
        ("1E", 1e18),
        ("0", 0.0),
    ],
)
def test_a_quantity_has_its_value_in_the_base_unit(text: str | int, value: float) -> None:
    assert parse_quantity(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "m", "Ki", "8 cores", "1x"])
def test_what_is_no_quantity_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("millicores", "text"), [(1, "1m"), (999, "999m"), (1000, "1"), (1001, "1001m"), (64_000, "64"), (0, "0")]
)
def test_cpu_is_written_in_cores_where_it_is_whole(millicores: int, text: str) -> None:
    assert format_millicores(millicores) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (1, "1"), (1000, "1000"), (1024, "1Ki"), (2**20 + 1, "1048577"), (3 * 2**29, "1536Mi"), (2**43, "8Ti")],
)
def test_bytes_are_written_exactly(count: int, text: str) -> None:
    assert format_bytes(count) == text
    assert parse_quantity(text) == count
