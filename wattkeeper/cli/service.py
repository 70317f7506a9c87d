"""What commands that run a service have in common: settings, logging, errors that people can read, signals."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import click
import uvloop
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry
from pydantic import ValidationError
from pydantic_settings import BaseSettings

S = TypeVar("S", bound=BaseSettings)


def read_settings(kind: type[S], options: Mapping[str, object]) -> S:
    """Returns settings from options that were given, and from the environment.

    Raises:
        UsageError: a value means nothing; the message names its environment variable.
    """
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    try:
        return kind(**given)
    except ValidationError as error:
        raise click.UsageError(_explained(error)) from error


def run_service(service: Coroutine[None, None, None], *, log_level: str, expected: tuple[type[Exception], ...]) -> None:
    """Runs a service to its end, logging on standard error.

    Args:
        service: what to run.
        log_level: what is logged.
        expected: errors whose message tells people what to do; others are defects and keep their traceback.

    Raises:
        ClickException: for an expected error.
    """
    logging.basicConfig(
        level=log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        uvloop.run(service)
    except expected as error:
        raise click.ClickException(str(error)) from error


def process_registry() -> CollectorRegistry:
    """Returns a registry of metrics that has those of the process already."""
    registry = CollectorRegistry()
    for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
        registry.register(collector)
    return registry


async def told_to_stop() -> None:
    """Returns at SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


def _explained(error: ValidationError) -> str:
    lines = [f"WATTKEEPER_{'_'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors()]
    return "; ".join(line.replace("WATTKEEPER_: ", "") for line in lines)
