"""Samples for the usage model, a minute apart."""

from __future__ import annotations

from collections.abc import Iterable

from admission.estimate import Estimate
from admission.usage_model import Sample, UsageModel
from tests.unit.admission.samples import NOW, SERVICE
from wattkeeper.api.readings import ServiceKey

MIB = 2.0**20
GIB = 2.0**30
DAY = 86_400.0
# What a bucket adds to a value that lies at its beginning, and the safety margin: a target is within these of usage.
MARGIN = 1.15
BUCKET = 1.07


def sample(
    *,
    time: float = NOW,
    cores: float = 1.0,
    memory: float = GIB,
    pod: str = "uid-1",
    container: str = "main",
    service: ServiceKey = SERVICE,
    loading: bool = False,
    minutes: float = 1.0,
) -> Sample:
    return Sample(service, container, pod, time, cores, memory, loading, minutes)


def learned(samples: Iterable[Sample], model: UsageModel | None = None) -> UsageModel:
    """Gives samples to a model one by one, each when it was taken."""
    model = model or UsageModel()
    for one in samples:
        model.add([one], one.time)
    return model


def known(model: UsageModel, container: str = "main", service: ServiceKey = SERVICE) -> Estimate:
    estimate = model.estimate(service, container)
    assert estimate is not None
    return estimate
