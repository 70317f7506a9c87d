"""Writes a fleet as Kepler (0.10 and newer), dcgm-exporter and vLLM expose it, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterator

from tests.cluster.controlplane.draw import CAPACITY, NODE_GPU_IDLE_WATTS, TOKENS_PER_REQUEST, Energy, Fleet, Node, Pod

# Kepler's zones and their shares of the CPU's draw: core lies inside package, dram does not.
ZONES = (("package", 0.85, "intel-rapl:0"), ("core", 0.6, "intel-rapl:0:0"), ("dram", 0.15, "intel-rapl:0:1"))

# Intel's RAPL registers wrap there; Kepler hands the raw register on as the node's total.
RAPL_RANGE_JOULES = 262_143.328850
RAPL_START_JOULES = RAPL_RANGE_JOULES - 30_000.0

GPU_NAME = "NVIDIA H100 80GB HBM3"
GPU_LIMIT_WATTS = 700.0

Sample = tuple[dict[str, str], float]


class Families:
    """Samples by metric, written in the order in which the metrics first came."""

    def __init__(self) -> None:
        self._kinds: dict[str, str] = {}
        self._samples: dict[str, list[Sample]] = {}

    def add(self, kind: str, name: str, labels: dict[str, str], value: float) -> None:
        """Adds one sample of a metric."""
        self._kinds[name] = kind
        self._samples.setdefault(name, []).append((labels, value))

    def text(self) -> str:
        """Returns everything in the text format."""
        lines: list[str] = []
        for name, samples in self._samples.items():
            lines.append(f"# TYPE {name} {self._kinds[name]}")
            for labels, value in samples:
                inside = ",".join(f'{key}="{text}"' for key, text in labels.items())
                lines.append(f"{name}{{{inside}}} {value!r}")
        return "\n".join([*lines, ""])


def _uuid(node: str, index: int) -> str:
    return f"GPU-{node}-{index}"


def kepler(fleet: Fleet, *, only_node: str | None = None, without: frozenset[str] = frozenset()) -> str:
    """Returns what the Keplers of all nodes, or of one, expose.

    Args:
        fleet: the truth.
        only_node: the node whose own Kepler is asked; every node's by default.
        without: nodes whose power series have vanished while their Kepler still answers.
    """
    out = Families()
    out.add("gauge", "kepler_build_info", {"arch": "amd64", "branch": "", "revision": "", "version": "v0.11.3"}, 1.0)
    nodes = {
        name: node
        for name, node in fleet.nodes.items()
        if name not in without and (only_node is None or name == only_node)
    }
    for node in nodes.values():
        _kepler_node(out, node)
    for pod in fleet.pods.values():
        if pod.node in nodes:
            _kepler_pod(out, pod, "running")
    for _, pod in fleet.terminated:
        if pod.node in nodes:
            _kepler_pod(out, pod, "terminated")
    return out.text()


def _kepler_node(out: Families, node: Node) -> None:
    for zone, share, path in ZONES:
        labels = {"node_name": node.name, "zone": zone, "path": f"/sys/class/powercap/intel-rapl/{path}"}
        total = Energy(
            joules=(RAPL_START_JOULES + share * (node.active.joules + node.idle.joules)) % RAPL_RANGE_JOULES / share,
            gauge_watts=node.active.gauge_watts + node.idle.gauge_watts,
        )
        for state, energy in (("", total), ("active_", node.active), ("idle_", node.idle)):
            out.add("counter", f"kepler_node_cpu_{state}joules_total", labels, share * energy.joules)
            out.add("gauge", f"kepler_node_cpu_{state}watts", labels, share * energy.gauge_watts)
    idle_watts = node.figures[NODE_GPU_IDLE_WATTS]
    for index, energy in enumerate(node.gpu):
        labels = {
            "node_name": node.name,
            "gpu": str(index),
            "gpu_uuid": _uuid(node.name, index),
            "gpu_name": GPU_NAME,
            "vendor": "nvidia",
        }
        out.add("gauge", "kepler_node_gpu_watts", labels, energy.gauge_watts)
        out.add("gauge", "kepler_node_gpu_idle_watts", labels, min(idle_watts, energy.gauge_watts))
        out.add("gauge", "kepler_node_gpu_active_watts", labels, max(0.0, energy.gauge_watts - idle_watts))
        out.add("counter", "kepler_node_gpu_joules_total", labels, energy.joules)
    labels = {
        "source": "redfish",
        "node_name": node.name,
        "bmc_id": f"bmc-{node.name}",
        "chassis_id": "1",
        "source_id": "PC1",
        "source_name": "Server Power Control",
        "source_type": "PowerControl",
    }
    out.add("gauge", "kepler_platform_watts", labels, node.wall_watts)


def _kepler_pod(out: Families, pod: Pod, state: str) -> None:
    labels = {
        "node_name": pod.node,
        "pod_id": pod.uid,
        "pod_name": pod.name,
        "pod_namespace": pod.namespace,
        "state": state,
    }
    for zone, share, _ in ZONES:
        out.add("counter", "kepler_pod_cpu_joules_total", {**labels, "zone": zone}, share * pod.cpu.joules)
        out.add("gauge", "kepler_pod_cpu_watts", {**labels, "zone": zone}, share * pod.cpu.gauge_watts)
    if pod.gpu.gauge_watts > 0 and state == "running":  # Kepler has no series for 0 W on GPUs.
        out.add("counter", "kepler_pod_gpu_joules_total", labels, pod.gpu.joules)
        out.add("gauge", "kepler_pod_gpu_watts", labels, pod.gpu.gauge_watts)


def _pods_by_gpu(fleet: Fleet) -> dict[tuple[str, int], Pod]:
    return {(pod.node, index): pod for pod in fleet.pods.values() for index in pod.gpus}


def dcgm(fleet: Fleet, *, only_node: str | None = None) -> str:
    """Returns what every node's dcgm-exporter exposes: watts, millijoules and limits, by GPU, with the pod on it."""
    out = Families()
    owners = _pods_by_gpu(fleet)
    for node in fleet.nodes.values():
        if only_node is not None and node.name != only_node:
            continue
        for index, energy in enumerate(node.gpu):
            pod = owners.get((node.name, index))
            labels = {
                "gpu": str(index),
                "UUID": _uuid(node.name, index),
                "device": f"nvidia{index}",
                "modelName": GPU_NAME,
                "Hostname": node.name,
                "container": "server" if pod else "",
                "namespace": pod.namespace if pod else "",
                "pod": pod.name if pod else "",
            }
            out.add("gauge", "DCGM_FI_DEV_POWER_USAGE", labels, energy.gauge_watts)
            out.add("counter", "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", labels, float(round(energy.joules * 1000)))
            out.add("gauge", "DCGM_FI_DEV_ENFORCED_POWER_LIMIT", labels, GPU_LIMIT_WATTS)
            out.add("gauge", "DCGM_FI_DEV_POWER_MGMT_LIMIT", labels, GPU_LIMIT_WATTS)
    return out.text()


def _serving(fleet: Fleet) -> Iterator[Pod]:
    return (pod for pod in fleet.pods.values() if pod.phase == "ready")


def vllm(fleet: Fleet) -> str:
    """Returns what every ready pod's vLLM exposes, with the pod's labels as a PodMonitor would add them."""
    out = Families()
    for pod in _serving(fleet):
        labels = {"namespace": pod.namespace, "pod": pod.name, "model_name": pod.service, "engine": "0"}
        out.add("gauge", "vllm:num_requests_running", labels, pod.running_requests)
        out.add("gauge", "vllm:num_requests_waiting", labels, pod.waiting_requests)
        out.add("gauge", "vllm:kv_cache_usage_perc", labels, pod.running_requests / pod.figures[CAPACITY])
        out.add("counter", "vllm:generation_tokens_total", labels, pod.generated_tokens)
        out.add("counter", "vllm:prompt_tokens_total", labels, pod.generated_tokens * 2)
        finished = {**labels, "finished_reason": "stop"}
        out.add("counter", "vllm:request_success_total", finished, float(pod.generated_tokens // TOKENS_PER_REQUEST))
    return out.text()
