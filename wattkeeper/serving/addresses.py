"""Addresses: reading them and binding them."""

from __future__ import annotations

import ipaddress
import ssl
from typing import Final

from aiohttp import web

from wattkeeper.serving.errors import AddressError

_MOST_PORT: Final = 65_535
"""Resolvers take larger ones, and mean others."""


async def listen(runner: web.AppRunner, address: str, tls: ssl.SSLContext | None = None) -> int:
    """Sets a runner up and binds it.

    Returns:
        The port.

    Raises:
        AddressError: the address means nothing or cannot be bound.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > _MOST_PORT:
        raise AddressError(f"{address} is no host:port")
    await runner.setup()
    try:
        await web.TCPSite(runner, host.strip("[]"), int(port), ssl_context=tls).start()
    except OSError as error:
        await runner.cleanup()
        raise AddressError(f"cannot listen on {address}: {error.strerror or error}") from error
    return int(runner.addresses[0][1])


def is_loopback(address: str) -> bool:
    """Says whether only this host reaches an address.

    >>> is_loopback("127.0.0.1:9443"), is_loopback("[::]:9443")
    (True, False)
    """
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
