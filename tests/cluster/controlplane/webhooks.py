"""Webhooks of controllers that run as processes: the API server calls them on loopback instead of through a Service."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import aiohttp
import yaml

from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.certificates import Authority


def read_objects(file: Path) -> list[Object]:
    """Returns the objects of a YAML file."""
    return [cast("Object", one) for one in yaml.safe_load_all(file.read_text()) if one]


def by_url(item: Object, port: int, authority: Authority) -> Object:
    """Returns a webhook configuration whose webhooks are called at a loopback port, at the paths that they have."""
    hooks = [
        {**hook, "clientConfig": client_config(hook["clientConfig"]["service"]["path"], port, authority)}
        for hook in item["webhooks"]
    ]
    return {**item, "webhooks": hooks}


def client_config(path: str, port: int, authority: Authority) -> Object:
    """Returns the clientConfig of a webhook at a path of a loopback port."""
    return {"url": f"https://127.0.0.1:{port}{path}", "caBundle": authority.bundle}


async def serves(path: str, port: int, authority: Authority) -> bool:
    """Returns whether a webhook server answers at a path: one that has not registered it yet says 404."""
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=authority.trust())) as session,
            session.post(f"https://127.0.0.1:{port}{path}", json={}) as answer,
        ):
            return answer.status != 404
    except aiohttp.ClientError:
        return False
