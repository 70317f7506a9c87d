"""Prometheus' configuration and command line, scraping the exporter as Kepler, DCGM and vLLM."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import yaml

from tests.cluster.controlplane.processes import Command

SCRAPE_SECONDS = 1


def prometheus(binary: Path, folder: Path, *, port: int, exporter_port: int) -> Command:
    """Writes the configuration and returns the command.

    DCGM's target carries the labels that service discovery would give dcgm-exporter's own pod, so that the labels
    of the pods it measures arrive as exported_namespace and exported_pod, as in most installations.
    """
    target = f"127.0.0.1:{exporter_port}"
    configuration = {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "scrape_timeout": f"{SCRAPE_SECONDS}s"},
        "scrape_configs": [
            {
                "job_name": "kepler",
                "metrics_path": "/kepler/metrics",
                "static_configs": [{"targets": [target]}],
            },
            {
                "job_name": "dcgm-exporter",
                "metrics_path": "/dcgm/metrics",
                "static_configs": [
                    {"targets": [target], "labels": {"namespace": "gpu-operator", "pod": "dcgm-exporter-0"}}
                ],
            },
            {
                "job_name": "vllm",
                "metrics_path": "/vllm/metrics",
                "honor_labels": True,
                "static_configs": [{"targets": [target]}],
            },
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration))
    return Command(
        name="prometheus",
        arguments=(
            str(binary),
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=2h",
            f"--web.listen-address=127.0.0.1:{port}",
        ),
    )


async def query(url: str, promql: str) -> list[tuple[dict[str, str], float]]:
    """Asks Prometheus for an instant vector.

    Args:
        url: Prometheus' address.
        promql: the query.

    Returns:
        (labels, value) of each series.

    Raises:
        aiohttp.ClientError: it does not answer, or refuses the query.
    """
    async with (
        aiohttp.ClientSession(raise_for_status=True, timeout=aiohttp.ClientTimeout(total=10)) as session,
        session.get(f"{url}/api/v1/query", params={"query": promql}) as answer,
    ):
        found = await answer.json()
    return [(one["metric"], float(one["value"][1])) for one in found["data"]["result"]]
