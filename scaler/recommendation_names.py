"""How a PowerRecommendation is called."""

from __future__ import annotations


def recommendation_name(kind: str, name: str) -> str:
    """Returns the name of the recommendation for a scale target.

    >>> recommendation_name("Deployment", "chat-predictor")
    'deployment-chat-predictor'
    """
    return f"{kind.lower()}-{name}"
