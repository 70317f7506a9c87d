import pytest

from tests.unit.power.readers.series import by_name, counter, run, series

OWN = {"namespace": "ml", "pod": "a"}


@pytest.mark.parametrize(
    "labels",
    [
        OWN,
        {"exported_namespace": "ml", "exported_pod": "a", "namespace": "monitoring", "pod": "gateway"},
        {"kubernetes_namespace": "ml", "kubernetes_pod_name": "a"},
    ],
)
def test_requests_are_those_running_and_waiting_by_any_of_the_usual_labels(labels: dict[str, str]):
    found = run(
        series("vllm:num_requests_running", [5], labels=labels), series("vllm:num_requests_waiting", [2], labels=labels)
    )
    assert by_name(found.measurements.pod_requests) == {"a": 7.0}


def test_tokens_are_generated_tokens_per_second_of_all_engines():
    found = run(
        counter("vllm:generation_tokens_total", 100, engine="0", labels=OWN),
        counter("vllm:generation_tokens_total", 50, engine="1", labels=OWN),
    )
    assert by_name(found.measurements.pod_tokens_per_second) == {"a": 150.0}


def test_without_its_queue_a_pods_demand_is_unknown():
    assert by_name(run(series("vllm:num_requests_running", [5], labels=OWN)).measurements.pod_requests) == {}


def test_names_without_a_colon_are_read():
    found = run(
        series("vllm_num_requests_running", [5], labels=OWN), series("vllm_num_requests_waiting", [0], labels=OWN)
    )
    assert by_name(found.measurements.pod_requests) == {"a": 5.0}


def test_requests_that_an_older_vllm_swapped_out_count():
    parts = [series(f"vllm:num_requests_{state}", [1], labels=OWN) for state in ("running", "waiting", "swapped")]
    assert by_name(run(parts).measurements.pod_requests) == {"a": 3.0}


def test_series_that_name_no_pod_are_said():
    found = run(series("vllm:num_requests_running", [5]), series("vllm:num_requests_waiting", [5]))
    assert by_name(found.measurements.pod_requests) == {}
    assert "name no pod" in " ".join(found.measurements.problems)
