"""Alerts over real HTTP: what is sent, and what becomes of it when the other side misbehaves."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from admission.alert_book import AlertBook, Notice
from admission.alert_manager import AlertmanagerTeller
from admission.alert_post import Outcome, post
from admission.alert_sinks import Sink, Sinks
from admission.alert_webhook import WebhookTeller
from tests.cluster.controlplane.processes import free_ports
from tests.contract.admission.fake_sink import Answer, FakeSink, cut_off, endless, fake_sink, hang, status
from tests.contract.admission.serving import issue
from tests.contract.scaler.serving import StillClock
from tests.unit.admission.alert_samples import fact
from tests.unit.admission.samples import NOW
from wattkeeper.api.instants import format_instant

SECRET = "T0/B0/s3cr3t"
LABELS = {"alertname": "WattkeeperBudgetOver", "severity": "critical", "budget": "row-a"}


@pytest.fixture
async def server() -> AsyncIterator[FakeSink]:
    async with fake_sink() as running:
        yield running


def sink(url: str, kind: str = "webhook", **more: Any) -> Sink:
    return Sink.model_validate({"name": "one", "type": kind, "url": url, **more})


def book(*budgets: str, over: bool = False) -> AlertBook:
    """A book of alerts that fire at NOW, for the sink `one`; with `over` ones that ended at NOW + 10."""
    made = AlertBook(keep_seconds=60.0)
    made.update([fact(budget, hold=0.0, figures={"over_watts": "300"}) for budget in budgets or ("row-a",)], NOW)
    made.address(lambda _: ("one",))
    if over:
        made.update((), NOW + 10.0)
        made.update((), NOW + 70.0)
    return made


async def tell(teller: AlertmanagerTeller | WebhookTeller, known: AlertBook) -> list[Outcome]:
    """Tells all that is due."""
    outcomes: list[Outcome] = []
    while notices := teller.due(known):
        outcomes.append(await teller.tell(notices))
        for notice in notices:
            known.tell("one", notice)
    return outcomes


def alertmanager(url: str, clock: StillClock | None = None, **sinks: Any) -> AlertmanagerTeller:
    return AlertmanagerTeller(
        sink(url, "alertmanager"),
        Sinks.model_validate(sinks),
        clock or StillClock(NOW),
        resend_seconds=60.0,
        timeout_seconds=5.0,
    )


def webhook(url: str, kind: str = "webhook", **sinks: Any) -> WebhookTeller:
    return WebhookTeller(sink(url, kind), Sinks.model_validate(sinks), timeout_seconds=5.0)


async def test_alertmanager_gets_postable_alerts(server: FakeSink) -> None:
    teller = alertmanager(f"{server.url}/base/", labels={"cluster": "eu"}, generatorUrl="https://grafana/d/1")
    assert await tell(teller, book()) == [Outcome(result="sent")]
    ((path, headers, body),) = server.asked
    assert path == "/base/api/v2/alerts"
    assert headers["Content-Type"] == "application/json"
    assert body == [
        {
            "labels": {"cluster": "eu", **LABELS},
            "annotations": {
                "summary": "PowerBudget row-a is over by 300 W",
                "description": "Shed something.",
                "over_watts": "300",
            },
            "startsAt": format_instant(NOW),
            "endsAt": format_instant(NOW + 240.0),
            "generatorURL": "https://grafana/d/1",
        }
    ]


async def test_alertmanager_hears_of_an_active_alert_again_before_it_forgets(server: FakeSink) -> None:
    clock, known = StillClock(NOW), book()
    teller = alertmanager(server.url, clock)
    await tell(teller, known)
    clock.time += 59.0
    assert await tell(teller, known) == []
    clock.time += 1.0
    await tell(teller, known)
    assert [body[0]["endsAt"] for body in server.bodies] == [format_instant(NOW + 240.0), format_instant(NOW + 300.0)]
    assert server.bodies[0][0]["startsAt"] == server.bodies[1][0]["startsAt"]


async def test_alertmanager_is_told_when_an_alert_ended(server: FakeSink) -> None:
    known = book()
    clock = StillClock(NOW)
    teller = alertmanager(server.url, clock)
    await tell(teller, known)
    known.update((), NOW + 10.0)
    known.update((), NOW + 70.0)
    clock.time = NOW + 71.0
    await tell(teller, known)
    assert server.bodies[-1][0]["endsAt"] == format_instant(NOW + 10.0)
    clock.time += 1_000.0
    await tell(teller, known)
    assert len(server.bodies) == 2, "nothing is left to say"


async def test_alertmanager_is_told_at_once_that_what_came_and_went_is_over(server: FakeSink) -> None:
    await tell(alertmanager(server.url), book(over=True))
    assert [one["endsAt"] for body in server.bodies for one in body] == [format_instant(NOW + 10.0)]


async def test_of_an_alert_that_came_again_alertmanager_hears_the_newer_one(server: FakeSink) -> None:
    known = book(over=True)
    known.update([fact(since=NOW + 80.0, hold=0.0)], NOW + 80.0)
    known.address(lambda _: ("one",))
    await tell(alertmanager(server.url, StillClock(NOW + 80.0)), known)
    assert [(one["startsAt"], one["endsAt"]) for body in server.bodies for one in body] == [
        (format_instant(NOW + 80.0), format_instant(NOW + 320.0))
    ]


async def test_many_alerts_are_sent_a_hundred_at_a_time(server: FakeSink) -> None:
    await tell(alertmanager(server.url), book(*(f"row-{number}" for number in range(250))))
    assert [len(body) for body in server.bodies] == [100, 100, 50]
    assert len({one["labels"]["budget"] for body in server.bodies for one in body}) == 250


async def test_a_hundred_that_alertmanager_refuses_keep_no_others_back(server: FakeSink) -> None:
    async def refuse_the_first(request: web.Request) -> web.StreamResponse:
        return await status(400 if len(server.asked) == 1 else 200)(request)

    server.answer = refuse_the_first
    (outcome,) = await tell(alertmanager(server.url), book(*(f"row-{number}" for number in range(250))))
    assert outcome.result == "refused"
    assert [len(body) for body in server.bodies] == [100, 100, 50]


async def test_a_webhook_gets_alertmanagers_form_when_an_alert_starts_and_when_it_ends(server: FakeSink) -> None:
    teller = webhook(f"{server.url}/hook?key=1", labels={"cluster": "eu"})
    await tell(teller, book(over=True))
    assert [path for path, _, _ in server.asked] == ["/hook?key=1"] * 2
    first, second = server.bodies
    assert (first["version"], first["receiver"], first["status"], second["status"]) == (
        "4",
        "one",
        "firing",
        "resolved",
    )
    (firing,), (resolved,) = first["alerts"], second["alerts"]
    assert firing["labels"] == {"cluster": "eu", **LABELS}
    assert (firing["startsAt"], firing["endsAt"]) == (format_instant(NOW), "0001-01-01T00:00:00Z")
    assert (resolved["startsAt"], resolved["endsAt"]) == (format_instant(NOW), format_instant(NOW + 10.0))
    assert firing["fingerprint"] == resolved["fingerprint"]


async def test_slack_gets_text_and_blocks_in_which_nothing_is_a_mention(server: FakeSink) -> None:
    known = AlertBook(keep_seconds=60.0)
    known.update([fact("<!channel>&", hold=0.0)], NOW)
    known.address(lambda _: ("one",))
    await tell(webhook(server.url, "slack", generatorUrl="https://grafana/d/1"), known)
    (body,) = server.bodies
    assert body["text"] == "Firing: PowerBudget &lt;!channel&gt;&amp; is over by 300 W"
    section, context = body["blocks"]
    assert section["text"]["text"].endswith("\nShed something.")
    assert "<!" not in str(body)
    assert context["elements"][0]["text"].endswith("<https://grafana/d/1|Look>")


async def test_a_long_description_is_cut_to_what_slack_takes(server: FakeSink) -> None:
    known = AlertBook(keep_seconds=60.0)
    known.update([fact("x" * 10_000, hold=0.0)], NOW)
    known.address(lambda _: ("one",))
    await tell(webhook(server.url, "slack"), known)
    assert max(len(block["text"]["text"]) for block in server.bodies[0]["blocks"] if "text" in block) == 3_000


async def test_a_token_is_sent_and_never_shown(server: FakeSink) -> None:
    one = sink(f"{server.url}/{SECRET}", token="t0k3n")
    assert (await post(one, one.url.get_secret_value(), b"{}", timeout_seconds=5.0)).result == "sent"
    assert server.asked[0][1]["Authorization"] == "Bearer t0k3n"
    server.answer = status(500, f"no such hook: /{SECRET} of t0k3n")
    outcome = await post(one, one.url.get_secret_value(), b"{}", timeout_seconds=5.0)
    assert outcome.why == "HTTP status 500: no such hook: /... of ..."


@pytest.mark.parametrize(
    ("answer", "result", "why"),
    [
        (status(200), "sent", ""),
        (status(202), "sent", ""),
        (status(400, "invalid_payload"), "refused", "HTTP status 400: invalid_payload"),
        (status(413), "refused", "HTTP status 413"),
        (status(401), "failed", "HTTP status 401"),
        (status(404, "no_service"), "failed", "HTTP status 404: no_service"),
        (status(500, "\x00\x1b[31m" + "y" * 9_000), "failed", "HTTP status 500: [31m" + "y" * 156),
        (status(302, Location="http://169.254.169.254/"), "failed", "HTTP status 302"),
        (endless, "failed", "HTTP status 500: " + "x" * 160),
        (hang, "failed", "no answer within 0.5 s"),
        (cut_off, "failed", "cannot be told (ServerDisconnectedError)"),
    ],
)
async def test_every_answer_is_an_outcome(server: FakeSink, answer: Answer, result: str, why: str) -> None:
    server.answer = answer
    outcome = await post(sink(server.url), server.url, b"{}", timeout_seconds=0.5)
    assert (outcome.result, outcome.why) == (result, why)
    assert len(server.asked) == 1, "no redirect is followed and nothing is repeated here"


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("soon", 0.0), ("-1", 0.0), ("9" * 50, 0.0)])
async def test_a_server_may_say_when_to_come_again(server: FakeSink, header: str, seconds: float) -> None:
    server.answer = status(429, Retry_After=header)
    outcome = await post(sink(server.url), server.url, b"{}", timeout_seconds=5.0)
    assert (outcome.result, outcome.retry_after_seconds) == ("failed", seconds)


async def test_a_sink_that_is_not_there_is_an_outcome() -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}/{SECRET}"
    outcome = await post(sink(url), url, b"{}", timeout_seconds=5.0)
    assert outcome.result == "failed"
    assert outcome.why.startswith("cannot be reached:")
    assert "s3cr3t" not in outcome.why


@pytest.mark.parametrize("token", ["two\nlines", "nül"])
async def test_a_token_that_is_no_header_is_an_outcome(server: FakeSink, token: str) -> None:
    outcome = await post(sink(server.url, token=token), server.url, b"{}", timeout_seconds=5.0)
    assert outcome.result in {"failed", "sent"}
    assert token not in outcome.why


async def test_tls_is_checked_against_the_sinks_own_authority(tmp_path: Path) -> None:
    authority, files = issue(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(files.certificate, files.key)
    async with fake_sink(tls) as server:
        unknown = await post(sink(server.url), server.url, b"{}", timeout_seconds=5.0)
        assert (unknown.result, server.asked) == ("failed", [])
        known = await post(sink(server.url, caFile=str(authority.certificate)), server.url, b"{}", timeout_seconds=5.0)
        assert known.result == "sent"
        gone = await post(sink(server.url, caFile=str(tmp_path / "none.crt")), server.url, b"{}", timeout_seconds=5.0)
        assert (gone.result, gone.why) == ("failed", "cannot be told: No such file or directory")


def test_a_notice_of_a_webhook_is_one_at_a_time() -> None:
    known = book("a", "b")
    (notice,) = webhook("http://localhost/").due(known)
    assert isinstance(notice, Notice)
