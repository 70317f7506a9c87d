"""KEDA's own client for external scalers, built from KEDA's module and driven over a pipe."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.cluster.controlplane.build import cache_root

SOURCE = Path(__file__).resolve().parent / "driver"
_ANSWER_SECONDS = 90.0


def build_driver(go: str) -> Path:
    """Builds the driver unless the cache has it. Cold it compiles all of KEDA's scalers, which takes minutes."""
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum", "main.go"):
        digest.update((SOURCE / name).read_bytes())
    version = subprocess.run([go, "env", "GOVERSION"], check=True, capture_output=True, cwd=SOURCE, env=environment)
    digest.update(version.stdout)
    binary = cache_root() / "go" / f"keda-driver-{digest.hexdigest()[:16]}" / "keda-driver"
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        unfinished = binary.with_suffix(f".{os.getpid()}")
        subprocess.run(
            [go, "build", "-ldflags", "-s -w", "-o", str(unfinished), "."], check=True, cwd=SOURCE, env=environment
        )
        unfinished.rename(binary)  # Atomic, so that a build cut short never looks finished.
    return binary


class KedaClient:
    """One scaler of KEDA's at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def open(
        self,
        address: str,
        *,
        name: str = "llm",
        metric: str | None = None,
        push: bool = False,
        index: int = 0,
        auth: Mapping[str, str] | None = None,
        **metadata: str,
    ) -> dict[str, Any]:
        """Makes a scaler as KEDA does from a trigger."""
        trigger = {"scalerAddress": address, **metadata} | ({} if metric is None else {"metric": metric})
        return await self.ask(
            "open", push=push, name=name, namespace="chat", index=index, metadata=trigger, auth=dict(auth or {})
        )

    async def ask(self, op: str, **more: object) -> dict[str, Any]:
        """Sends one command and returns what it brought."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"op": op, **more}).encode() + b"\n")
        async with asyncio.timeout(_ANSWER_SECONDS):
            return json.loads(await self._process.stdout.readline())


@asynccontextmanager
async def keda_client(driver: Path) -> AsyncGenerator[KedaClient]:
    """Runs the driver."""
    process = await asyncio.create_subprocess_exec(
        str(driver), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield KedaClient(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
