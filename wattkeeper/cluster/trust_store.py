"""Reads and writes a Secret, and caBundles of webhook configurations, each as it was read or not at all."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from wattkeeper.cluster.answers import read_answer
from wattkeeper.cluster.connection import JSON_PATCH, MERGE_PATCH, Connection
from wattkeeper.cluster.resources import SECRETS, WEBHOOKS
from wattkeeper.cluster.trust import Secret, WebhookConfiguration, WebhookKind
from wattkeeper.cluster.writes import FIELD_MANAGER

_QUERY: Final = {"fieldManager": FIELD_MANAGER}


class TrustStore:
    """Reads and writes (see wattkeeper.cluster.interface.Cluster)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def read_secret(self, namespace: str, name: str) -> Secret:
        """Reads a Secret."""
        return read_answer(await self._connection.request("GET", SECRETS.item(namespace, name)), Secret)

    async def write_secret(self, read: Secret, data: Mapping[str, bytes]) -> None:
        """Replaces its values; the version makes the API server refuse where somebody else wrote since (409)."""
        meta = read.metadata
        values = dict.fromkeys(read.data) | {key: b64encode(value).decode() for key, value in data.items()}
        await self._connection.request(
            "PATCH",
            SECRETS.item(meta.namespace, meta.name),
            query=_QUERY,
            body=msgspec.json.encode({"metadata": {"resourceVersion": meta.resource_version}, "data": values}),
            content_type=MERGE_PATCH,
        )

    async def read_webhooks(self, kind: WebhookKind, name: str) -> WebhookConfiguration:
        """Reads a webhook configuration."""
        body = await self._connection.request("GET", WEBHOOKS[kind].item("", name))
        return read_answer(body, WebhookConfiguration)

    async def write_bundles(self, read: WebhookConfiguration, bundles: Sequence[bytes]) -> None:
        """Replaces caBundles and nothing else: a JSON patch, because a merge patch would replace the whole list.

        Putting the version that was read makes the API server refuse where somebody else wrote since (409).
        """
        meta = read.metadata
        operations = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": meta.resource_version},
            *(
                {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": b64encode(bundle).decode()}
                for index, bundle in enumerate(bundles)
            ),
        ]
        await self._connection.request(
            "PATCH",
            WEBHOOKS[read.kind].item("", meta.name),
            query=_QUERY,
            body=msgspec.json.encode(operations),
            content_type=JSON_PATCH,
        )
