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


OWN: dict[str, Any] = {"certificate_secret": "certificates", "certificate_names": ["wk.power.svc"]}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"certificate_names": ()}, "needs certificate_names"),
        ({"certificate_names": ["no host"]}, "pattern"),
        ({"tls_certificate": Path("tls.crt"), "tls_key": Path("tls.key")}, "two ways"),
        ({"certificate_days": 400.0}, "at most authority_days"),
        ({"authority_days": 1e9}, "at most 36500"),
        ({"certificate_settle_seconds": 15.0}, "twice certificate_poll_seconds"),
        ({"authority_days": 0.02, "certificate_days": 0.01}, "a ninth of authority_days"),
        ({"certificate_days": 0.001}, "a ninth of certificate_days"),
    ],
)
def test_certificates_of_our_own_that_could_not_be_rotated_are_refused(wrong: dict[str, Any], words: str) -> None:
    assert AdmissionSettings(**OWN).certificate_keeper is not None
    with pytest.raises(ValidationError, match=words):
        AdmissionSettings(**(OWN | wrong))


def test_only_configurations_that_are_named_are_kept() -> None:
    keeper = AdmissionSettings(**OWN, validating_configuration="wk").certificate_keeper
    assert keeper is not None
    assert keeper.configurations == (("ValidatingWebhookConfiguration", "wk"),)
    assert AdmissionSettings().certificate_keeper is None


def test_every_setting_says_what_it_is_for() -> None:
    undocumented = [name for name, field in AdmissionSettings.model_fields.items() if not field.description]
    assert undocumented == []
