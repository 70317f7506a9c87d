"""Events about alerts, on what they are about: the sink that is always there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from admission.alert_book import AlertBook, Notice
from admission.alert_post import Outcome
from admission.alert_sinks import EVENTS
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.cluster.errors import ClusterError
from wattkeeper.cluster.interface import Cluster, EventRecord


class EventTeller:
    """Writes an Event when an alert starts, and one when it is over."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def due(self, book: AlertBook) -> Sequence[Notice]:
        """Returns the next notice."""
        return list(islice(book.notices(EVENTS), 1))

    async def tell(self, notices: Sequence[Notice]) -> Outcome:
        """Writes the Event, unless its object is gone."""
        (notice,) = notices
        about = notice.entry.alert.about
        kind = PowerBudget if about.kind == "PowerBudget" else PowerRecommendation
        found = self._cluster.view.get(kind, about.namespace, about.name)
        if found is None:
            return Outcome(result="gone", why=f"{about.kind} {about.name} is gone")
        try:
            await self._cluster.record(event(notice, found))
        except ClusterError as error:
            return Outcome(result="failed", why=str(error))
        return Outcome(result="sent")


def event(notice: Notice, regarding: PowerBudget | PowerRecommendation) -> EventRecord:
    """Returns the Event of a notice."""
    alert, over = notice.entry.alert, notice.state == "resolved"
    return EventRecord(
        regarding=regarding,
        type="Normal" if over or alert.severity == "info" else "Warning",
        reason=f"{alert.name}Resolved" if over else alert.name,
        action="Alert",
        note=f"Over: {alert.summary}" if over else f"{alert.summary}. {alert.description}",
        dedupe_key=f"alert/{alert.fingerprint}/{notice.state}",
    )


def unknown_sinks(policy: PowerCappingPolicy, names: Sequence[str]) -> EventRecord:
    """Returns the Event on a policy that names sinks which nobody has defined."""
    return EventRecord(
        regarding=policy,
        type="Warning",
        reason="AlertSinkUnknown",
        action="Alert",
        note=f"No alert sink is called {' or '.join(names)}. Alerts about the policy's services go to those that it "
        "names and that exist, else to the default ones. Ask who runs Wattkeeper for the names.",
        dedupe_key="alert-sink-unknown",
    )
