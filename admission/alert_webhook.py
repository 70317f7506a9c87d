"""Webhooks: one POST when an alert starts, one when it is over, in Alertmanager's own form or in Slack's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

import msgspec

from admission.alert_book import AlertBook, Notice
from admission.alert_post import Outcome, post
from admission.alert_sinks import Sink, Sinks
from wattkeeper.api.instants import format_instant

_NEVER: Final = "0001-01-01T00:00:00Z"
"""What Alertmanager's webhooks send as the end of an alert that is active."""

_MOST_TEXT: Final = 3_000
"""Characters that Slack takes in a section (docs.slack.dev, Block Kit, section block)."""


class WebhookTeller:
    """Tells one webhook, in order."""

    def __init__(self, sink: Sink, sinks: Sinks, *, timeout_seconds: float) -> None:
        """Takes who it is.

        Args:
            sink: the webhook.
            sinks: what is put on every alert.
            timeout_seconds: for one request.
        """
        self._sink = sink
        self._sinks = sinks
        self._timeout_seconds = timeout_seconds

    def due(self, book: AlertBook) -> Sequence[Notice]:
        """Returns the next notice."""
        return list(islice(book.notices(self._sink.name), 1))

    async def tell(self, notices: Sequence[Notice]) -> Outcome:
        """Posts the one notice that is due."""
        (notice,) = notices
        make = slack_body if self._sink.type == "slack" else webhook_body
        body = msgspec.json.encode(make(notice, self._sink.name, self._sinks))
        return await post(self._sink, self._sink.url.get_secret_value(), body, timeout_seconds=self._timeout_seconds)


def webhook_body(notice: Notice, receiver: str, sinks: Sinks) -> dict[str, object]:
    """Returns a notice as Alertmanager's webhooks have it (version 4), with one alert in it.

    Source: prometheus.io/docs/alerting/latest/configuration, webhook_config. Whatever takes those takes these.
    """
    entry, alert = notice.entry, notice.entry.alert
    over = notice.state == "resolved" and entry.ends_at is not None
    labels = {**sinks.labels, **alert.labels}
    return {
        "version": "4",
        "groupKey": alert.fingerprint,
        "truncatedAlerts": 0,
        "status": notice.state,
        "receiver": receiver,
        "groupLabels": labels,
        "commonLabels": labels,
        "commonAnnotations": alert.annotations,
        "externalURL": sinks.generator_url,
        "alerts": [
            {
                "status": notice.state,
                "labels": labels,
                "annotations": alert.annotations,
                "startsAt": format_instant(entry.starts_at),
                "endsAt": format_instant(entry.ends_at) if over and entry.ends_at is not None else _NEVER,
                "generatorURL": sinks.generator_url,
                "fingerprint": alert.fingerprint,
            }
        ],
    }


def slack_body(notice: Notice, _receiver: str, sinks: Sinks) -> dict[str, object]:
    """Returns a notice as Slack's incoming webhooks take it: `text` for notifications, blocks for the channel."""
    entry, alert = notice.entry, notice.entry.alert
    word = "Resolved" if notice.state == "resolved" else "Firing"
    told = _escaped(f"{word}: {alert.summary}")
    labels = ", ".join(f"{name}={value}" for name, value in {**sinks.labels, **alert.labels}.items())
    span = f"since {format_instant(entry.starts_at)}"
    if notice.state == "resolved" and entry.ends_at is not None:
        span = f"from {format_instant(entry.starts_at)} to {format_instant(entry.ends_at)}"
    link = f" <{_escaped(sinks.generator_url)}|Look>" if sinks.generator_url else ""
    return {
        "text": told[:_MOST_TEXT],
        "blocks": [
            _section(f"*{told}*\n{_escaped(alert.description)}"),
            {"type": "context", "elements": [_mrkdwn(f"{_escaped(labels)}, {span}{link}")]},
        ],
    }


def _section(text: str) -> dict[str, object]:
    return {"type": "section", "text": _mrkdwn(text)}


def _mrkdwn(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": text[:_MOST_TEXT]}


def _escaped(text: str) -> str:
    """Returns text in which nothing is a link or a mention (docs.slack.dev, formatting message text)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
