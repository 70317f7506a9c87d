"""Whatever is sent, the answer is well-formed and lets the object through, or it is a client error. Nothing crashes.

The corpus holds bodies that are likely to hurt (corpus/answered and corpus/refused say which way each goes); hypothesis
adds ten thousand: reviews with parts exchanged, cut, doubled or overwritten, and plain noise.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, cast

import pytest
import uvloop
from hypothesis import HealthCheck, settings
from hypothesis import given as examples
from hypothesis import strategies as st

from admission.tls import ReloadingCertificates
from tests.contract.admission.serving import Listener, issue, listening, review, trusting
from tests.unit.admission.samples import container, deployment, pod, policy
from tests.unit.scaler.memory_cluster import MemoryView

CORPUS = Path(__file__).parent / "corpus"
BODIES = 10_000
AT_ONCE = 25


class Asked(NamedTuple):
    status: int
    body: bytes


class Asker:
    """A caller that keeps its connection."""

    def __init__(self, listener: Listener, connection: http.client.HTTPSConnection) -> None:
        self.listener = listener
        self._connection = connection

    def ask(self, body: bytes) -> Asked:
        self._connection.request("POST", "/mutate-pods", body)
        response = self._connection.getresponse()
        return Asked(response.status, response.read())

    def well_treated(self, body: bytes) -> Asked:
        """Asks, and checks what must hold for every body."""
        asked = self.ask(body)
        if asked.status != 200:
            assert asked.status == 400, asked
            return asked
        answer = json.loads(asked.body)
        sent = json.loads(body.decode(errors="replace"))
        assert answer["kind"] == "AdmissionReview"
        assert isinstance(answer["apiVersion"], str)
        assert answer["response"]["uid"] == sent["request"]["uid"]
        assert answer["response"]["allowed"] is True
        return asked


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Generator[Asker]:
    """A listener in a thread of its own, so that hypothesis can wait for its answers."""
    authority, files = issue(tmp_path_factory.mktemp("tls"))
    view = MemoryView()
    view.put(deployment(), policy())
    started, stop = threading.Event(), threading.Event()
    serving: list[Listener] = []

    async def serve() -> None:
        async with listening(view=view, certificates=ReloadingCertificates(files)) as (listener, _):
            serving.append(listener)
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: uvloop.run(serve()))
    thread.start()
    assert started.wait(30)
    connection = http.client.HTTPSConnection("localhost", serving[0].server.port, context=trusting(authority))
    try:
        yield Asker(serving[0], connection)
    finally:
        connection.close()
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def failures(asker: Asker) -> float:
    return asker.listener.count("failures", webhook="mutate-pods")


@pytest.mark.parametrize("path", sorted(CORPUS.rglob("*.body")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_nasty_body_of_the_corpus_goes_the_way_that_its_folder_says(asker: Asker, path: Path) -> None:
    body = path.read_bytes()
    asked = asker.ask(body)
    if path.parent.name == "refused":
        assert asked.status == 400
    else:
        assert asked.status == 200
        assert json.loads(asked.body)["response"]["allowed"] is True
    assert failures(asker) == 0


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["4", "500m", "16Gi", "-1", "nan", "1e400", "Always", "cpu", "memory", "wattkeeper.dev/power"])
)
WHOLE: dict[str, Any] = json.loads(
    review(
        pod(
            container(requests={"cpu": "4", "memory": "16Gi"}, limits={"cpu": "8", "nvidia.com/gpu": "1"}),
            container("proxy", requests={"cpu": "1"}),
            spec={
                "initContainers": [container("side", restartPolicy="Always"), container("download")],
                "schedulingGates": [{"name": "kueue.x-k8s.io/admission"}],
                "overhead": {"cpu": "100m"},
                "resources": {"requests": {}},
            },
            annotations={"a": "b"},
        )
    )
)
SOUND = json.dumps(WHOLE).encode()


def members(of: Any) -> list[tuple[str | int, Any]]:
    """Returns what an object or array holds, by name or place; nothing for other values."""
    if isinstance(of, dict):
        return list(cast("dict[str | int, Any]", of).items())
    return list(enumerate(cast("list[Any]", of))) if isinstance(of, list) else []


def places(of: Any) -> list[tuple[str | int, ...]]:
    """Returns the way to everything in a document."""
    found: list[tuple[str | int, ...]] = []
    for name, one in members(of):
        found += [(name,), *((name, *way) for way in places(one))]
    return found


def nested(dice: Random, leaves: list[Any], depth: int = 3) -> Any:
    """Returns a leaf, or an array or object of such, as deep as that."""
    shape = dice.random()
    if not depth or shape < 0.4:
        return dice.choice(leaves)
    count = dice.randint(0, 4)
    if shape < 0.7:
        return [nested(dice, leaves, depth - 1) for _ in range(count)]
    return {str(dice.choice(leaves)): nested(dice, leaves, depth - 1) for _ in range(count)}


def exchanged(dice: Random, leaves: list[Any]) -> bytes:
    """Returns a review in which one to three parts are something else, or gone."""
    document = json.loads(SOUND)
    for _ in range(dice.randint(1, 3)):
        *way, last = dice.choice(places(document))
        parent = document
        for part in way:
            parent = parent[part]
        if dice.random() < 0.5:
            parent[last] = nested(dice, leaves)
        else:
            del parent[last]
        if not places(document):
            break
    return json.dumps(document).encode()


def damaged(dice: Random) -> bytes:
    """Returns a review whose bytes were cut, doubled or overwritten."""
    body = bytearray(SOUND)
    for _ in range(dice.randint(1, 3)):
        begin = dice.randint(0, len(body))
        end = dice.randint(begin, min(begin + 200, len(body)))
        body[begin:end] = dice.choice((bytes(body[begin:end]) * 2, dice.randbytes(dice.randint(0, 6)), b""))
    return bytes(body)


@st.composite
def many_bodies(draw: st.DrawFn) -> list[bytes]:
    """Bodies of all kinds. What they are made of comes from hypothesis, and dice put it together, many times sooner."""
    dice = draw(st.randoms(use_true_random=True))
    leaves = draw(st.lists(LEAVES, min_size=AT_ONCE, max_size=AT_ONCE))
    noise = draw(st.lists(st.binary(max_size=64), min_size=AT_ONCE // 4, max_size=AT_ONCE // 4))
    kinds: dict[Callable[[], bytes], int] = {
        lambda: exchanged(dice, leaves): 7,
        lambda: damaged(dice): 3,
        lambda: json.dumps(nested(dice, leaves)).encode(): 1,
        lambda: dice.choice(noise): 1,
    }
    return [make() for make in dice.choices([*kinds], [*kinds.values()], k=AT_ONCE)]


@settings(
    max_examples=BODIES // AT_ONCE,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@examples(bodies=many_bodies())
def test_ten_thousand_malformed_bodies_are_answered_or_refused(asker: Asker, bodies: list[bytes]) -> None:
    for body in bodies:
        asker.well_treated(body)
    assert failures(asker) == 0


def test_a_sound_review_is_still_patched_after_all_of_that(asker: Asker) -> None:
    answer = json.loads(asker.well_treated(review()).body)
    assert answer["response"]["patchType"] == "JSONPatch"
