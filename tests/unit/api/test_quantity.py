"""Quantities read as Kubernetes writes them."""

from __future__ import annotations

import pytest

from wattkeeper.api.quantity import parse_quantity


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
