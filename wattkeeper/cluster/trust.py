"""What TLS of our own webhooks needs of a cluster: a Secret, and whom the API server trusts when it calls them."""

from __future__ import annotations

from typing import Literal

from wattkeeper.api.meta import ObjectMeta, Wire

WebhookKind = Literal["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]


class Secret(Wire, frozen=True, kw_only=True):
    """A Secret, its values as plain bytes."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, bytes] = {}

    def __repr__(self) -> str:
        # A Secret in a log or a traceback is none any more.
        return f"Secret({self.metadata.namespace}/{self.metadata.name})"


class ClientConfig(Wire, frozen=True, kw_only=True):
    """How the API server calls a webhook: here only whom it trusts, PEM."""

    ca_bundle: bytes = b""


class Webhook(Wire, frozen=True, kw_only=True):
    """One webhook of a configuration."""

    name: str = ""
    client_config: ClientConfig = ClientConfig()


class WebhookConfiguration(Wire, frozen=True, kw_only=True):
    """A configuration of either kind."""

    kind: WebhookKind
    metadata: ObjectMeta = ObjectMeta()
    webhooks: tuple[Webhook, ...] = ()

    @property
    def bundles(self) -> tuple[bytes, ...]:
        """Whom the API server trusts, by webhook."""
        return tuple(webhook.client_config.ca_bundle for webhook in self.webhooks)
