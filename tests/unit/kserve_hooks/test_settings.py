"""Settings come from options and the environment, and what cannot work is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from kserve_hooks.settings import ActuatorSettings


def test_the_environment_sets_what_options_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATTKEEPER_PASS_SECONDS", "5")
    assert ActuatorSettings().pass_seconds == 5.0
    assert ActuatorSettings(pass_seconds=1.0).pass_seconds == 1.0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"scaler_address": "wattkeeper"}, "host:port"),
        ({"scaler_address": "wattkeeper:grpc"}, "host:port"),
        ({"raise_seconds": float("inf")}, "finite"),
        ({"pass_seconds": 0.0}, "greater than 0"),
        ({"revert_limit": 0}, "greater than or equal to 1"),
        ({"scaler_up_seconds": float("inf")}, "finite"),
        ({"scaler_authority_file": "/nowhere/ca.crt"}, "check the mounted secret"),
        ({"identity": ""}, "at least 1 character"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ActuatorSettings(**wrong)
