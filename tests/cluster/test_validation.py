"""What kubectl's users are told when they write what contradicts itself, or does nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cluster.admission import AdmissionPlugin
from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.kubectl import Said, kubectl
from tests.cluster.controlplane.waiting import wait_for
from tests.cluster.controlplane.workloads import inference_service
from wattkeeper.api.marks import WATTS_ANNOTATION
from wattkeeper.api.meta import API_VERSION

TYPO = {"wattkeeper.dev/wats-per-replica": "700"}


def budget(name: str, watts: float, **spec: object) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "PowerBudget",
        "metadata": {"name": name},
        "spec": {"limitWatts": watts, **spec},
    }


class Hand:
    """Somebody with kubectl."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self._bench = bench
        self._folder = folder

    async def apply(self, item: Object, *more: str) -> Said:
        file = self._folder / "object.json"
        file.write_text(json.dumps(item))
        return await kubectl(
            self._bench.plane, "apply", "--server-side", "--force-conflicts", f"--filename={file}", *more
        )

    async def told(self, item: Object, *words: str) -> Said:
        """Returns what is said of an object that is not stored, once it holds the words: watches take a moment."""

        last = Said(status=0, text="")

        async def said() -> bool:
            nonlocal last
            last = await self.apply(item, "--dry-run=server")
            return all(word in last.text for word in words)

        await wait_for(said, what=f"kubectl prints {words}", describe=lambda: last.text)
        return last


@pytest.fixture
def hand(bench: Bench, tmp_path: Path, admission: AdmissionPlugin) -> Hand:
    """Somebody with kubectl, where the admission plugin runs."""
    return Hand(bench, tmp_path)


async def test_a_budget_larger_than_its_parent_is_refused_by_kubectl_with_what_to_do(bench: Bench, hand: Hand) -> None:
    site, rack = f"{bench.namespace}-site", f"{bench.namespace}-rack"
    await bench.apply(budget(site, 1_000))
    refused = await hand.told(budget(rack, 1_500, parentRef={"name": site}), "denied the request")
    assert refused.status == 1
    assert (
        'admission webhook "validation.wattkeeper.dev" denied the request: spec.limitWatts: children may draw 1,500 W '
        f"together, 500 W more than PowerBudget {site} allows: lower their limitWatts, raise its own, or set "
        "oversubscribed: true there." in refused.text
    )
    await bench.apply(budget(site, 1_000, oversubscribed=True))
    taken = await hand.told(budget(rack, 1_500, parentRef={"name": site}), "serverside-applied")
    assert taken.status == 0


async def test_a_cut_below_the_children_is_taken_with_a_warning(bench: Bench, hand: Hand) -> None:
    site, rack = f"{bench.namespace}-site", f"{bench.namespace}-rack"
    await bench.apply(budget(site, 1_000))
    await bench.apply(budget(rack, 900, parentRef={"name": site}))
    cut = await hand.told(budget(site, 500), "Warning: spec.limitWatts: children may draw 900 W together")
    assert cut.status == 0


async def test_parents_in_a_circle_are_refused_and_named(bench: Bench, hand: Hand) -> None:
    row, rack = f"{bench.namespace}-row", f"{bench.namespace}-rack"
    await bench.apply(budget(row, 1_000))
    await bench.apply(budget(rack, 1_000, parentRef={"name": row}))
    await hand.told(budget(row, 1_000, parentRef={"name": rack}), f"circle, {row} -> {rack} -> {row}:")


async def test_a_budget_whose_selector_is_misspelt_is_taken_with_a_warning(bench: Bench, hand: Hand) -> None:
    await bench.add_nodes(1, gpus=0, labels={"example.com/rack": "r-17"})
    name = f"{bench.namespace}-rack"
    selector = {"matchLabels": {"example.com/rack": "r-71"}}
    said = await hand.told(
        budget(name, 1_000, nodeSelector=selector),
        "Warning: spec.nodeSelector: no node is selected now",
        "no node has example.com/rack=r-71, but some have example.com/rack=r-17",
    )
    assert said.status == 0


async def test_a_misspelt_annotation_of_a_workload_gets_the_right_one_where_its_namespace_was_opted_in(
    bench: Bench, hand: Hand, admission: AdmissionPlugin
) -> None:
    deployment = bench.deployment("llm", annotations=TYPO)
    deployment["metadata"] |= {"namespace": bench.namespace}
    before = await hand.apply(deployment, "--dry-run=server")
    assert "Warning" not in before.text
    await admission.opt_in(bench.api, bench.namespace)
    said = await hand.told(
        deployment, "wattkeeper.dev/wats-per-replica: unknown annotation", "watts-per-replica if you"
    )
    assert said.status == 0


@pytest.mark.usefixtures("kserve")
async def test_a_bad_value_on_an_inference_service_is_a_warning_where_kserve_runs(
    bench: Bench, hand: Hand, admission: AdmissionPlugin
) -> None:
    await admission.opt_in(bench.api, bench.namespace)
    marked = inference_service(bench.namespace, "llm", annotations={WATTS_ANNOTATION: "3kW"})
    said = await hand.told(
        marked, f"Warning: metadata.annotations: {WATTS_ANNOTATION}: write watts as a positive number"
    )
    assert said.status == 0


async def test_a_namespace_whose_opt_in_is_misspelt_is_warned_of_it(bench: Bench, hand: Hand) -> None:
    said = await kubectl(
        bench.plane, "label", "--dry-run=server", "namespace", bench.namespace, "wattkeeper.dev/admision=enabled"
    )
    assert "unknown label: write wattkeeper.dev/admission if you mean that" in said.text
    assert said.status == 0


async def test_without_the_plugin_everything_is_taken_as_it_is(
    bench: Bench, hand: Hand, admission: AdmissionPlugin
) -> None:
    site, rack = f"{bench.namespace}-site", f"{bench.namespace}-rack"
    await bench.apply(budget(site, 1_000))
    too_large = budget(rack, 1_500, parentRef={"name": site})
    await hand.told(too_large, "denied the request")
    admission.kill_all()
    try:
        assert (await hand.apply(too_large, "--dry-run=server")).status == 0
    finally:
        await admission.start_all(bench.api)
