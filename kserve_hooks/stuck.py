"""Pods that do not come to their end: their kubelet hangs, or their node is lost. People are told, others go on.

Whether such a pod still draws nobody knows, so its watts count until it is gone; nothing is gained by waiting for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final, Literal

from wattkeeper.api.conditions import Finding
from wattkeeper.cluster.objects import Pod
from wattkeeper.recommender.pods import is_stuck

_MOST_TOLD: Final = 3


def stuck_among(pods: Sequence[Pod], now: float) -> list[Pod]:
    """Returns those that should have ended."""
    return [pod for pod in pods if is_stuck(pod, now)]


def with_stuck(
    findings: Sequence[Finding], type_: Literal["KillBlocked", "ReplaceBlocked"], stuck: Sequence[Pod]
) -> tuple[Finding, ...]:
    """Returns findings of which that of a type tells of pods that should have ended, before what it says otherwise."""
    if not stuck:
        return tuple(findings)
    said = Finding(type=type_, holds=True, reason="StillTerminating", message=_message(stuck))
    for one in findings:
        if one.type == type_:
            # Others go by the reason that evictions lessen nothing: the leader calls the cap unachievable then.
            reason = one.reason if one.reason == "NoEffect" else said.reason
            said = dataclasses.replace(said, reason=reason, message=f"{said.message} {one.message}")
    return (*(one for one in findings if one.type != type_), said)


def _message(stuck: Sequence[Pod]) -> str:
    first = stuck[0].metadata
    named = ", ".join(_named(pod) for pod in stuck[:_MOST_TOLD])
    more = f" and {len(stuck) - _MOST_TOLD} more" if len(stuck) > _MOST_TOLD else ""
    return (
        f"Not ended, though the time for that is over: {named}{more}. What they may draw counts until they are gone. "
        "Look at the kubelet of the node, and whether it can be reached. Only once that machine is switched off: "
        f"kubectl delete pod {first.name} --namespace {first.namespace} --grace-period=0 --force"
    )


def _named(pod: Pod) -> str:
    name, node = pod.metadata.name, pod.spec.node_name
    return f"pod {name} on node {node}" if node else f"pod {name}"
