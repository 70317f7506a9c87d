"""The file with sinks: what it may say, what is said about mistakes, and that nothing of it leaks."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from admission.alert_sinks import EVENTS, SinksFile, read_sinks
from admission.errors import SettingsError
from tests.unit.admission.alert_samples import alert

SECRET = "https://hooks.example.com/services/T0/B0/s3cr3t"
PAGER: dict[str, Any] = {"name": "pager", "type": "alertmanager", "url": "https://am:9093/base", "default": True}
CHAT: dict[str, Any] = {"name": "chat", "type": "slack", "url": SECRET, "token": "t0k3n"}


def written(folder: Path, content: object) -> Path:
    path = folder / "sinks.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_sinks_are_read(tmp_path: Path) -> None:
    given = {"sinks": [PAGER, CHAT], "labels": {"cluster": "eu-1"}, "generatorUrl": "https://grafana/d/1"}
    sinks = read_sinks(written(tmp_path, given))
    assert [(one.name, one.type, one.default) for one in sinks.sinks] == [
        ("pager", "alertmanager", True),
        ("chat", "slack", False),
    ]
    assert sinks.labels == {"cluster": "eu-1"}
    assert sinks.generator_url == "https://grafana/d/1"


@pytest.mark.parametrize("content", ["", "sinks: []", "{}"])
def test_a_file_may_define_none(tmp_path: Path, content: str) -> None:
    assert read_sinks(written(tmp_path, content)).sinks == ()


def test_a_policys_sinks_are_told_else_the_default_ones_and_events_always(tmp_path: Path) -> None:
    sinks = read_sinks(written(tmp_path, {"sinks": [PAGER, CHAT]}))
    assert set(sinks.recipients(alert())) == {EVENTS, "pager"}
    assert set(sinks.recipients(alert(sinks=("chat",)))) == {EVENTS, "chat"}
    assert set(sinks.recipients(alert(sinks=("chat", "typo")))) == {EVENTS, "chat"}
    assert set(sinks.recipients(alert(sinks=("typo",)))) == {EVENTS, "pager"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"sinks": [{**CHAT, "url": "hooks.example.com/s3cr3t"}]}, r"sinks\.0\.url: is no URL"),
        ({"sinks": [{**CHAT, "url": f"{SECRET} x"}]}, r"sinks\.0\.url: is no URL"),
        ({"sinks": [{**CHAT, "url": "https://[s3cr3t/"}]}, r"sinks\.0\.url: is no URL"),
        ({"sinks": [{**CHAT, "type": "s3cr3t"}]}, r"sinks\.0\.type: Input should be 'alertmanager'"),
        ({"sinks": [{**CHAT, "name": "s3cr3t!"}]}, r"sinks\.0\.name: String should match"),
        ({"sinks": [{**CHAT, "name": "events"}]}, "choose another name"),
        ({"sinks": [{**CHAT, SECRET: 1}]}, r"sinks\.0\.\?: Extra inputs are not permitted"),
        ({"sinks": [{"name": "chat"}]}, r"sinks\.0\.type: Field required"),
        ({"sinks": [CHAT, CHAT]}, "two sinks are called chat"),
        ({"sinks": [{**PAGER, "url": "http://am:9093/?key=s3cr3t"}]}, "takes no query"),
        ({"sinks": SECRET}, "sinks: Input should be a valid"),
        ({"labels": {"a-b": "c"}}, "labels: has a name that is none"),
        ({"labels": {"alertname": "c"}}, "which alerts carry themselves"),
        ({"generatorUrl": "s3cr3t"}, "generatorUrl: is no URL"),
        (SECRET, "the file: Input should be"),
        (f"sinks: [{{url: '{SECRET}', name: chat", r"is no YAML \(line 1, column"),
        (f"sinks: *{'s3cr3t'}", r"is no YAML \(line 1"),
        ("\x00s3cr3t", "is no YAML"),
        ("[" * 100_000, "is no YAML"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_without_what_is_written_there(
    tmp_path: Path, content: object, said: str
) -> None:
    with pytest.raises(SettingsError, match=said) as raised:
        read_sinks(written(tmp_path, content))
    assert "WATTKEEPER_ALERT_SINKS_FILE" in str(raised.value)
    for hidden in ("s3cr3t", "t0k3n"):
        assert hidden not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__cause__ is None


def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        SinksFile(tmp_path / "none.yaml")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="larger than 1024 KiB"):
        read_sinks(written(tmp_path, "#" * (1024 * 1024 + 1)))


def test_nothing_shows_a_secret(tmp_path: Path) -> None:
    sinks = read_sinks(written(tmp_path, {"sinks": [CHAT]}))
    for shown in (repr(sinks), str(sinks), repr(sinks.sinks[0])):
        assert "s3cr3t" not in shown
        assert "t0k3n" not in shown


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    file = SinksFile(written(tmp_path, {"sinks": [CHAT]}))
    first = file.sinks
    file.refresh()
    assert file.sinks is first, "who is told goes on as it was"
    # As a kubelet does it: another file in its place.
    other = tmp_path / "new"
    other.write_text(yaml.safe_dump({"sinks": [CHAT, PAGER]}))
    os.replace(other, tmp_path / "sinks.yaml")  # noqa: PTH105 - what a kubelet's swap comes down to.
    file.refresh()
    assert file.sinks.names == {"chat", "pager"}


def test_a_change_that_cannot_be_used_leaves_the_last_sinks_in_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = SinksFile(written(tmp_path, {"sinks": [CHAT]}))
    with caplog.at_level(logging.INFO):
        written(tmp_path, {"sinks": [{**CHAT, "url": "s3cr3t-and-longer"}]})
        file.refresh()
        file.refresh()
        assert (file.sinks.names, file.readable) == ({"chat"}, False)
        written(tmp_path, {"sinks": [PAGER]})
        file.refresh()
    assert (file.sinks.names, file.readable) == ({"pager"}, True)
    assert len(caplog.records) == 2
    assert "s3cr3t" not in caplog.text


def test_without_a_file_only_events_are_written() -> None:
    file = SinksFile(None)
    file.refresh()
    assert file.sinks.recipients(alert()) == {EVENTS}
