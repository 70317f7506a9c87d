"""Published figures as curves: what a replica of a model draws and yields at a batch size.

    tokens per second = peak * b / (b + half)          for a batch of b requests
    watts             = fixed + span * b / (b + knee)

Fitted to The ML.ENERGY Leaderboard v3 (task lm-arena-chat, H100, batches of 8 to 260, made isotonic first); the worst
relative error is 3.5 %. Without requests a loaded GPU draws little more than an empty one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# H100 SXM: an empty one, and one that holds a model and waits.
IDLE_GPU_WATTS: Final = 75.0
LOADED_GPU_WATTS: Final = 115.0
# Reading weights into memory keeps a GPU half awake for minutes.
LOADING_GPU_WATTS: Final = 150.0
GPU_LIMIT_WATTS: Final = 700.0
# Prompt tokens are computed together, generated ones one after the other: about this many prompt tokens cost as much
# as one generated (an assumption of the twin, of the order that chunked prefill shows on H100).
PROMPT_TOKENS_PER_GENERATED: Final = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelProfile:
    """One model on a number of H100.

    Attributes:
        gpus: tensor parallelism.
        parameters: weights, a count.
        peak_tokens_per_second, half_batch: of the throughput curve.
        fixed_watts, span_watts, knee_batch: of the curve of all its GPUs' watts.
        max_batch: requests that a replica serves at once; more wait.
        load_seconds: mean time from start to Ready.
    """

    name: str
    gpus: int
    parameters: float
    peak_tokens_per_second: float
    half_batch: float
    fixed_watts: float
    span_watts: float
    knee_batch: float
    max_batch: float
    load_seconds: float

    def saturated_watts(self) -> float:
        """Returns what its GPUs draw at the largest batch."""
        return self.fixed_watts + self.span_watts * self.max_batch / (self.max_batch + self.knee_batch)


LLAMA_70B: Final = ModelProfile(
    name="Llama-3.1-70B-Instruct",
    gpus=4,
    parameters=70.6e9,
    peak_tokens_per_second=7295.0,
    half_batch=120.0,
    fixed_watts=1734.0,
    span_watts=1647.0,
    knee_batch=380.0,
    max_batch=256.0,
    load_seconds=150.0,
)
QWEN_32B: Final = ModelProfile(
    name="Qwen3-32B",
    gpus=2,
    parameters=32.8e9,
    peak_tokens_per_second=7050.0,
    half_batch=102.0,
    fixed_watts=819.0,
    span_watts=514.0,
    knee_batch=123.0,
    max_batch=192.0,
    load_seconds=90.0,
)
LLAMA_8B: Final = ModelProfile(
    name="Llama-3.1-8B-Instruct",
    gpus=1,
    parameters=8.03e9,
    peak_tokens_per_second=11595.0,
    half_batch=79.0,
    fixed_watts=432.0,
    span_watts=305.0,
    knee_batch=42.0,
    max_batch=192.0,
    load_seconds=45.0,
)
