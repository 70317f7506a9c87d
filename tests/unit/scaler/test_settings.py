from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from scaler.settings import ScalerSettings
from wattkeeper.cluster.connection import REQUEST_SECONDS
from wattkeeper.cluster.leadership import SURE_SHARE


def test_the_environment_sets_what_options_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATTKEEPER_TICK_SECONDS", "7")
    monkeypatch.setenv("WATTKEEPER_LOG_LEVEL", "")
    monkeypatch.setenv("WATTKEEPER_SCRAPE_URLS", '["http://a/metrics"]')
    assert ScalerSettings().tick_seconds == 7.0
    assert ScalerSettings().log_level == "info"
    assert ScalerSettings().scrape_urls == ("http://a/metrics",)
    assert ScalerSettings(tick_seconds=9.0).tick_seconds == 9.0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"tls_certificate": Path("tls.crt")}, "belong together"),
        ({"tls_client_ca": Path("ca.crt")}, "without tls_certificate"),
        ({"prometheus_url": "http://p", "scrape_urls": ("http://a",)}, "exclude each other"),
        ({"tick_seconds": 2.0}, "read_seconds must be less"),
        ({"headroom_share": 0.9}, "headroom_share must be less"),
        ({"settled_seconds": float("inf")}, "must be finite"),
        ({"tick_seconds": float("inf")}, "finite"),
        ({"stale_ticks": 1.0}, "greater than or equal to 2"),
        ({"hpa_tolerance": 1.0}, "less than 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ScalerSettings(**wrong)


def test_what_a_leader_has_sent_is_over_before_the_next_one_opens_a_gate() -> None:
    """The last request may begin at the last sure moment; the next leader is warm only some ticks after it leads."""
    settings = ScalerSettings()
    over = SURE_SHARE * settings.lease_seconds + REQUEST_SECONDS
    assert over < settings.lease_seconds + settings.warm_up_ticks * settings.tick_seconds


def test_every_setting_says_what_it_is_for() -> None:
    undocumented = [name for name, field in ScalerSettings.model_fields.items() if not field.description]
    assert undocumented == []
