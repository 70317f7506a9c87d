"""What a kind of node can draw, from its name alone: GPU models, their board power limits and idle draws.

Limits are the makers' data sheets' (NVIDIA H100, H200, A100, L40S, L4, A10, T4, V100, B200 and GB200 data sheets; AMD
Instinct MI250X, MI300X and MI325X data sheets). Idle draws and what a server's board adds per GPU are orders of
magnitude: MLCommons Inference v4.1 (closed, power) shows a server of eight H200 at about 2.4 kW at the wall before its
runs begin.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from wattkeeper.api.readings import Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuModel:
    """One model of GPU.

    Attributes:
        limit_watts: default board power limit.
        idle_watts: draw with nothing loaded.
        board_watts: what the server around it draws for it at least (fans, switches, network), before supply losses.
    """

    limit_watts: float
    idle_watts: float
    board_watts: float


UNKNOWN_GPU = GpuModel(limit_watts=1000.0, idle_watts=100.0, board_watts=150.0)

# First match wins, so forms that hold another one's name come before it. Names are those of nvidia.com/gpu.product
# and of DCGM's modelName, with everything but letters and digits made a dash.
_MODELS: tuple[tuple[str, GpuModel], ...] = (
    (r"\bGB300\b", GpuModel(limit_watts=1400.0, idle_watts=160.0, board_watts=200.0)),
    (r"\bB300\b", GpuModel(limit_watts=1400.0, idle_watts=150.0, board_watts=200.0)),
    (r"\bGB200\b", GpuModel(limit_watts=1200.0, idle_watts=150.0, board_watts=200.0)),
    (r"\bB200\b", GpuModel(limit_watts=1000.0, idle_watts=140.0, board_watts=180.0)),
    (r"\bB100\b", GpuModel(limit_watts=700.0, idle_watts=120.0, board_watts=180.0)),
    (r"\bGH200\b", GpuModel(limit_watts=1000.0, idle_watts=100.0, board_watts=150.0)),
    (r"\bH200-NVL\b", GpuModel(limit_watts=600.0, idle_watts=75.0, board_watts=30.0)),
    (r"\bH200\b", GpuModel(limit_watts=700.0, idle_watts=80.0, board_watts=150.0)),
    (r"\bH20\b", GpuModel(limit_watts=500.0, idle_watts=75.0, board_watts=150.0)),
    (r"\bH100-NVL\b", GpuModel(limit_watts=400.0, idle_watts=65.0, board_watts=30.0)),
    (r"\bH100-PCIE\b", GpuModel(limit_watts=350.0, idle_watts=50.0, board_watts=30.0)),
    (r"\bH[18]00\b", GpuModel(limit_watts=700.0, idle_watts=75.0, board_watts=150.0)),
    (r"\bA[18]00-(PCIE-40GB|40GB-PCIE)\b", GpuModel(limit_watts=250.0, idle_watts=40.0, board_watts=30.0)),
    (r"\bA[18]00\b.*\bPCIE\b", GpuModel(limit_watts=300.0, idle_watts=45.0, board_watts=30.0)),
    (r"\bA[18]00\b", GpuModel(limit_watts=400.0, idle_watts=55.0, board_watts=100.0)),
    (r"\bRTX-PRO-6000\b", GpuModel(limit_watts=600.0, idle_watts=40.0, board_watts=30.0)),
    (r"\bL40S\b", GpuModel(limit_watts=350.0, idle_watts=36.0, board_watts=30.0)),
    (r"\bL40G?\b", GpuModel(limit_watts=300.0, idle_watts=36.0, board_watts=30.0)),
    (r"\bL4\b", GpuModel(limit_watts=72.0, idle_watts=17.0, board_watts=10.0)),
    (r"\bRTX-(6000-ADA|A6000)\b", GpuModel(limit_watts=300.0, idle_watts=25.0, board_watts=30.0)),
    (r"\bA40\b", GpuModel(limit_watts=300.0, idle_watts=35.0, board_watts=30.0)),
    (r"\bA30\b", GpuModel(limit_watts=165.0, idle_watts=30.0, board_watts=20.0)),
    (r"\bA10G\b", GpuModel(limit_watts=300.0, idle_watts=25.0, board_watts=20.0)),
    (r"\bA10\b", GpuModel(limit_watts=150.0, idle_watts=20.0, board_watts=20.0)),
    (r"\bA16\b", GpuModel(limit_watts=250.0, idle_watts=40.0, board_watts=20.0)),
    (r"\bA2\b", GpuModel(limit_watts=60.0, idle_watts=10.0, board_watts=10.0)),
    (r"\bT4\b", GpuModel(limit_watts=70.0, idle_watts=15.0, board_watts=10.0)),
    (r"\bV100S?-PCIE\b", GpuModel(limit_watts=250.0, idle_watts=30.0, board_watts=30.0)),
    (r"\bV100\b", GpuModel(limit_watts=300.0, idle_watts=45.0, board_watts=80.0)),
    (r"\bP100\b", GpuModel(limit_watts=300.0, idle_watts=35.0, board_watts=30.0)),
    (r"\bMI355X?\b", GpuModel(limit_watts=1400.0, idle_watts=160.0, board_watts=180.0)),
    (r"\bMI350X?\b", GpuModel(limit_watts=1000.0, idle_watts=150.0, board_watts=180.0)),
    (r"\bMI325X?\b", GpuModel(limit_watts=1000.0, idle_watts=150.0, board_watts=150.0)),
    (r"\bMI300A\b", GpuModel(limit_watts=760.0, idle_watts=150.0, board_watts=100.0)),
    (r"\bMI300X?\b", GpuModel(limit_watts=750.0, idle_watts=140.0, board_watts=150.0)),
    (r"\bMI250X?\b", GpuModel(limit_watts=560.0, idle_watts=95.0, board_watts=80.0)),
    (r"\bMI210\b", GpuModel(limit_watts=300.0, idle_watts=45.0, board_watts=30.0)),
    (r"\bMI100\b", GpuModel(limit_watts=300.0, idle_watts=40.0, board_watts=30.0)),
)
_PATTERNS = tuple((re.compile(pattern), model) for pattern, model in _MODELS)
_COUNT = re.compile(r"x\d+$")


def gpu_model(name: str) -> GpuModel:
    """Returns the model that a product or kind of node names; UNKNOWN_GPU, which is charged high, where none is known.

    Args:
        name: such as "NVIDIA-H100-80GB-HBM3", "NVIDIA A100-SXM4-80GB" or "NVIDIA-L4x2".

    >>> gpu_model("NVIDIA-H100-PCIex4").limit_watts
    350.0
    """
    plain = re.sub(r"[^A-Z0-9]+", "-", _COUNT.sub("", name).upper())
    return next((model for pattern, model in _PATTERNS if pattern.search(plain)), UNKNOWN_GPU)


@dataclass(frozen=True, kw_only=True, slots=True)
class KindPriors:
    """Per kind of node, watts of one GPU: float64[K] each. Kinds without GPUs carry those of an unknown GPU."""

    limit_watts: Floats
    idle_watts: Floats
    board_watts: Floats


def kind_priors(kind_names: tuple[str, ...]) -> KindPriors:
    """Looks K kinds up."""
    models = [gpu_model(name) for name in kind_names]
    return KindPriors(
        limit_watts=np.array([model.limit_watts for model in models], dtype=np.float64),
        idle_watts=np.array([model.idle_watts for model in models], dtype=np.float64),
        board_watts=np.array([model.board_watts for model in models], dtype=np.float64),
    )
