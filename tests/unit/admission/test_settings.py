"""Settings come from options and the environment, and contradictions are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from admission.settings import AdmissionSettings


def test_the_environment_sets_what_options_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATTKEEPER_DEADLINE_SECONDS", "2")
    monkeypatch.setenv("WATTKEEPER_LOG_LEVEL", "")
    assert AdmissionSettings().deadline_seconds == 2.0
    assert AdmissionSettings().log_level == "info"
    assert AdmissionSettings(deadline_seconds=1.0).deadline_seconds == 1.0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"tls_certificate": Path("tls.crt")}, "belong together"),
        ({"tls_key": Path("tls.key")}, "belong together"),
        ({"deadline_seconds": float("inf")}, "finite"),
        ({"deadline_seconds": 0.0}, "greater than 0"),
        ({"max_body_bytes": 10}, "greater than or equal to 65536"),
        ({"usage_seconds": 0.5}, "greater than or equal to 1"),
        ({"identity": ""}, "at least 1 character"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        AdmissionSettings(**wrong)


def test_every_setting_says_what_it_is_for() -> None:
    undocumented = [name for name, field in AdmissionSettings.model_fields.items() if not field.description]
    assert undocumented == []
