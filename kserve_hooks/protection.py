"""PodDisruptionBudgets: whether they let a pod go.

The Eviction API keeps to them, and its word is final. A ReplicaSet that is scaled down does not (kubernetes 1.36
pkg/controller/replicaset), so whoever lowers replicas to be rid of a pod has to ask here.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from wattkeeper.cluster.interface import View
from wattkeeper.cluster.objects import Pod, PodDisruptionBudget


class Protection:
    """What PodDisruptionBudgets allow in one pass, less what the pass itself takes already."""

    def __init__(self, view: View) -> None:
        self._by_namespace: dict[str, list[PodDisruptionBudget]] = defaultdict(list)
        self._taken: Counter[str] = Counter()
        for budget in view.all(PodDisruptionBudget).values():
            self._by_namespace[budget.metadata.namespace].append(budget)

    def forbids(self, pod: Pod) -> str:
        """Returns which PodDisruptionBudget keeps a pod, as a sentence; "" where none does."""
        protecting = self._protecting(pod)
        if len(protecting) > 1:
            names = ", ".join(sorted(one.metadata.name for one in protecting))
            return f"PodDisruptionBudgets {names} all select the pod, and then nobody may evict it: let one select it."
        for one in protecting:
            name, status = one.metadata.name, one.status
            if status.observed_generation < one.metadata.generation:
                return f"PodDisruptionBudget {name} has changed, and its controller has not counted its pods yet."
            if status.disruptions_allowed - self._taken[one.metadata.uid] < 1:
                return f"PodDisruptionBudget {name} allows no disruption now."
        return ""

    def take(self, pod: Pod) -> None:
        """Counts a pod as gone for the rest of the pass."""
        self._taken.update(one.metadata.uid for one in self._protecting(pod))

    def _protecting(self, pod: Pod) -> list[PodDisruptionBudget]:
        if pod.status.phase == "Pending":
            return []  # As the Eviction API sees it: what does not run yet protects nobody.
        labels = pod.metadata.labels
        return [
            one
            for one in self._by_namespace.get(pod.metadata.namespace, ())
            if one.spec.selector is not None and one.spec.selector.matches(labels)
        ]
