"""State in sharded ConfigMaps."""

from __future__ import annotations

import random
from base64 import b64decode

import pytest

from tests.contract.cluster.conftest import MakeCluster
from tests.contract.cluster.fake_api import Answer, FakeApi
from wattkeeper.cluster.client import KubernetesCluster
from wattkeeper.cluster.errors import ClusterError, RefusedError, StateCorruptError
from wattkeeper.cluster.state import SHARD_BYTES

MAPS = "/api/v1/namespaces/wk/configmaps"
LARGE = random.Random(1).randbytes(2 * SHARD_BYTES + 17)


async def write(cluster: KubernetesCluster, state: bytes) -> None:
    await cluster.write_state(namespace="wk", name="learned", state=state)


async def read(cluster: KubernetesCluster) -> bytes | None:
    return await cluster.read_state(namespace="wk", name="learned")


async def test_there_is_none_at_first(make_cluster: MakeCluster) -> None:
    assert await read(make_cluster()) is None


@pytest.mark.parametrize("state", [b"", b"x", LARGE[:SHARD_BYTES], LARGE], ids=["empty", "small", "one", "three"])
async def test_what_is_written_is_read(state: bytes, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await write(cluster, state)
    assert await read(cluster) == state


async def test_shards_stay_within_512_kib_and_the_first_is_written_last(
    api: FakeApi, make_cluster: MakeCluster
) -> None:
    await write(make_cluster(), LARGE)
    order = [path.removeprefix(f"{MAPS}/") for method, path, _ in api.bodies if method == "PATCH"]
    assert order == ["learned-2", "learned-1", "learned-0"]
    sizes = [len(b64decode(one["binaryData"]["state"])) for one in api.objects.values()]
    assert sizes == [17, SHARD_BYTES, SHARD_BYTES]


async def test_shards_that_are_no_longer_needed_go(api: FakeApi, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await write(cluster, LARGE)
    await write(cluster, b"small")
    assert list(api.objects) == [f"{MAPS}/learned-0"]
    assert await read(cluster) == b"small"


async def test_a_clean_up_that_was_cut_off_is_finished_by_the_next_write(
    api: FakeApi, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster()
    await write(cluster, LARGE)
    api.answers["DELETE", f"{MAPS}/learned-1"].append(Answer(code=503))
    with pytest.raises(ClusterError):
        await write(cluster, b"small")
    assert await read(cluster) == b"small"
    await write(cluster, b"small")
    assert list(api.objects) == [f"{MAPS}/learned-0"]


@pytest.mark.parametrize("fails", ["learned-0", "learned-1"])
async def test_a_torn_write_is_detected(fails: str, api: FakeApi, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await write(cluster, LARGE)
    api.answers["PATCH", f"{MAPS}/{fails}"].append(Answer(code=503))
    with pytest.raises(ClusterError):
        await write(cluster, LARGE[::-1])
    with pytest.raises(StateCorruptError, match="Delete the ConfigMaps learned-"):
        await read(cluster)


async def test_a_torn_first_write_is_detected(api: FakeApi, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    api.answers["PATCH", f"{MAPS}/learned-0"].append(Answer(code=503))
    with pytest.raises(ClusterError):
        await write(cluster, LARGE)
    with pytest.raises(StateCorruptError, match="no first shard"):
        await read(cluster)


async def test_a_missing_shard_is_detected(api: FakeApi, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await write(cluster, LARGE)
    del api.objects[f"{MAPS}/learned-1"]
    with pytest.raises(StateCorruptError, match="lacks shard 1"):
        await read(cluster)


@pytest.mark.parametrize("broken", ["!", "AAAA"])
async def test_edited_data_is_detected(broken: str, api: FakeApi, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    await write(cluster, b"state")
    api.objects[f"{MAPS}/learned-0"]["binaryData"]["state"] = broken
    with pytest.raises(StateCorruptError):
        await read(cluster)


async def test_too_much_state_is_refused(make_cluster: MakeCluster) -> None:
    with pytest.raises(RefusedError, match="128 shards"):
        await write(make_cluster(), bytes(128 * SHARD_BYTES + 1))
