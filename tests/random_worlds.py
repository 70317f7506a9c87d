"""How many random worlds the long property tests look at: few in every run of the suite, many with `make worlds`."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import settings

_FACTOR: Final = int(os.environ.get("WORLDS", "1"))


def worlds(count: int) -> settings:
    """Returns the settings of a test that looks at so many worlds, times WORLDS of the environment."""
    return settings(max_examples=count * _FACTOR)
