"""Sharing changes nothing that can be seen."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from wattkeeper.api.meta import ObjectMeta, OwnerReference
from wattkeeper.cluster.interning import Interner
from wattkeeper.cluster.objects import (
    Affinity,
    Container,
    NodeAffinity,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    PodSpec,
    PodStatus,
    RequiredNodeAffinity,
    Resources,
)

WORDS = st.sampled_from(["", "a", "b"])
DICTS = st.dictionaries(WORDS, WORDS, max_size=2)
RESOURCES = st.builds(Resources, requests=DICTS, limits=DICTS)
OWNERS = st.builds(OwnerReference, kind=WORDS, name=WORDS, uid=WORDS)
REQUIREMENTS = st.builds(NodeSelectorRequirement, key=WORDS, operator=st.just("In"), values=st.tuples(WORDS))
PODS = st.builds(
    Pod,
    metadata=st.builds(
        ObjectMeta,
        name=WORDS,
        namespace=WORDS,
        labels=DICTS,
        annotations=DICTS,
        owner_references=st.lists(OWNERS, max_size=2).map(tuple),
    ),
    spec=st.builds(
        PodSpec,
        node_name=WORDS,
        node_selector=DICTS,
        affinity=st.none()
        | REQUIREMENTS.map(
            lambda one: Affinity(
                node_affinity=NodeAffinity(
                    required_during_scheduling_ignored_during_execution=RequiredNodeAffinity(
                        node_selector_terms=(NodeSelectorTerm(match_expressions=(one,)),)
                    )
                )
            )
        ),
        containers=st.lists(st.builds(Container, name=WORDS, resources=RESOURCES), max_size=2).map(tuple),
    ),
    status=st.builds(PodStatus, phase=WORDS),
)


@given(st.lists(PODS, max_size=8))
def test_a_shared_pod_is_equal_to_what_was_decoded(pods: list[Pod]) -> None:
    interner = Interner()
    for pod in pods:
        wire = msgspec.json.encode(pod)
        decoded = msgspec.json.decode(wire, type=Pod)
        interner.share(decoded)
        assert decoded == msgspec.json.decode(wire, type=Pod)


def test_all_fields_of_a_container_are_in_the_key_it_is_shared_by() -> None:
    # A field that is added to these must be added to Interner's key, or containers that differ in it become one.
    assert Container.__struct_fields__ == ("name", "resources")
    assert Resources.__struct_fields__ == ("requests", "limits")
