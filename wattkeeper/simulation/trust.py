"""Secrets and webhook configurations in memory, written only as they were read, like on an API server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from wattkeeper.api.meta import ObjectMeta
from wattkeeper.cluster.errors import ConflictError, NotFoundError
from wattkeeper.cluster.trust import ClientConfig, Secret, Webhook, WebhookConfiguration, WebhookKind

T = TypeVar("T", Secret, WebhookConfiguration)


class TrustObjects:
    """What people create, by name, and services change."""

    def __init__(self) -> None:
        self._secrets: dict[tuple[str, str], Secret] = {}
        self._configurations: dict[tuple[WebhookKind, str], WebhookConfiguration] = {}
        self._version = 0

    def put_secret(self, namespace: str, name: str, data: Mapping[str, bytes]) -> None:
        """Creates a Secret or replaces its values, whatever they are."""
        old = self._secrets.get((namespace, name))
        meta = old.metadata if old is not None else ObjectMeta(namespace=namespace, name=name, uid=f"secret-{name}")
        self._secrets[namespace, name] = self._versioned(Secret(metadata=meta, data=dict(data)))

    def remove_secret(self, namespace: str, name: str) -> None:
        """Deletes a Secret."""
        del self._secrets[namespace, name]

    def put_webhooks(self, kind: WebhookKind, name: str, bundles: Mapping[str, bytes]) -> None:
        """Creates a configuration, or replaces it: webhooks by name, each with its caBundle."""
        webhooks = tuple(
            Webhook(name=one, client_config=ClientConfig(ca_bundle=bundle)) for one, bundle in bundles.items()
        )
        made = WebhookConfiguration(kind=kind, metadata=ObjectMeta(name=name, uid=f"{kind}-{name}"), webhooks=webhooks)
        self._configurations[kind, name] = self._versioned(made)

    def remove_webhooks(self, kind: WebhookKind, name: str) -> None:
        """Deletes a configuration."""
        del self._configurations[kind, name]

    def read_secret(self, namespace: str, name: str) -> Secret:
        """Reads a Secret."""
        found = self._secrets.get((namespace, name))
        if found is None:
            raise NotFoundError(f"Secret {namespace}/{name} is not there.")
        return found

    def write_secret(self, read: Secret, data: Mapping[str, bytes]) -> None:
        """Replaces all values of a Secret that was read."""
        meta = read.metadata
        now = self.read_secret(meta.namespace, meta.name)
        _check(now, read)
        self._secrets[meta.namespace, meta.name] = self._versioned(msgspec.structs.replace(now, data=dict(data)))

    def read_webhooks(self, kind: WebhookKind, name: str) -> WebhookConfiguration:
        """Reads a configuration."""
        found = self._configurations.get((kind, name))
        if found is None:
            raise NotFoundError(f"{kind} {name} is not there.")
        return found

    def write_bundles(self, read: WebhookConfiguration, bundles: Sequence[bytes]) -> None:
        """Replaces the caBundles of a configuration that was read."""
        now = self.read_webhooks(read.kind, read.metadata.name)
        _check(now, read)
        webhooks = tuple(
            msgspec.structs.replace(webhook, client_config=ClientConfig(ca_bundle=bundle))
            for webhook, bundle in zip(now.webhooks, bundles, strict=True)
        )
        changed = self._versioned(msgspec.structs.replace(now, webhooks=webhooks))
        self._configurations[read.kind, read.metadata.name] = changed

    def _versioned(self, one: T) -> T:
        self._version += 1
        meta = msgspec.structs.replace(one.metadata, resource_version=str(self._version))
        return msgspec.structs.replace(one, metadata=meta)


def _check(now: Secret | WebhookConfiguration, read: Secret | WebhookConfiguration) -> None:
    if now.metadata.resource_version != read.metadata.resource_version:
        raise ConflictError(f"{now.metadata.name} was written since it was read: look again.")
