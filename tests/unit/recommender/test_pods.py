from tests.unit.recommender.frozen_view import pod
from wattkeeper.api.readings import PodKey, PodPhase, ServiceKey
from wattkeeper.recommender.pods import PodTable, phase_of, service_of

CHAT = ServiceKey("llm", "Deployment", "chat")


def test_a_pod_belongs_to_the_deployment_that_its_replica_set_is_named_after() -> None:
    assert service_of(pod("chat", 1)) == CHAT


def test_phases_follow_what_draws_watts() -> None:
    phases = [
        phase_of(pod("chat", 1)),
        phase_of(pod("chat", 1, on="a", ready=False)),
        phase_of(pod("chat", 1, on="a")),
        phase_of(pod("chat", 1, on="a", deleted="2026-01-01T00:00:00Z")),
    ]
    assert phases == [PodPhase.PENDING, PodPhase.LOADING, PodPhase.RUNNING, PodPhase.TERMINATING]


def test_gpus_under_limits_alone_count() -> None:
    table = PodTable()
    table.change(None, pod("chat", 1, on="a", gpus=4))
    assert table.gpus.tolist() == [4.0]


def test_a_removed_row_is_filled_by_the_last() -> None:
    table = PodTable()
    for number in range(3):
        table.change(None, pod("chat", number, on=f"node-{number}"))
    table.change(pod("chat", 0, on="node-0"), None)
    rows = table.node_names.rows({"node-1": 1, "node-2": 2})[table.node_id]
    assert (table.keys, rows.tolist()) == (
        [PodKey("llm", "chat-abc-2"), PodKey("llm", "chat-abc-1")],
        [2, 1],
    )


def test_who_has_reported_is_remembered_by_pod_and_not_by_row() -> None:
    table = PodTable()
    for number in range(3):
        table.change(None, pod("chat", number, on="a"))
    table.reported_requests[2] = True
    table.change(None, pod("chat", 2, on="a", ready=False))
    table.change(pod("chat", 0, on="a"), None)
    table.change(None, pod("chat", 3, on="a"))
    assert dict(zip(table.keys, table.reported_requests.tolist(), strict=True)) == {
        PodKey("llm", "chat-abc-2"): True,
        PodKey("llm", "chat-abc-1"): False,
        PodKey("llm", "chat-abc-3"): False,
    }


def test_a_finished_pod_draws_nothing() -> None:
    table = PodTable()
    table.change(None, pod("chat", 1, on="a"))
    table.change(pod("chat", 1, on="a"), pod("chat", 1, on="a", phase="Succeeded"))
    assert len(table) == 0


def test_a_terminating_pod_stays_until_it_is_gone() -> None:
    table = PodTable()
    table.change(None, pod("chat", 1, on="a"))
    table.change(None, pod("chat", 1, on="a", deleted="2026-01-01T00:00:00Z"))
    assert table.phase.tolist() == [PodPhase.TERMINATING]


def test_the_table_grows_past_its_first_capacity() -> None:
    table = PodTable()
    for number in range(3000):
        table.change(None, pod("chat", number, on="a"))
    assert (len(table), int((table.gpus == 1).sum())) == (3000, 3000)
