from __future__ import annotations

import pytest

from tests.unit.kserve_hooks.world import World


@pytest.fixture
async def world() -> World:
    made = World()
    await made.start()
    return made
