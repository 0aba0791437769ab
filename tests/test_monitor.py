"""The monitor: a device in two running containers at once is seen, and nothing that was not so."""

from __future__ import annotations

from pathlib import Path

import pytest
from apiserver import Answer, Object, event, kubeconfig, listed, serving
from apiserver import pod as bare
from hypothesis import given
from hypothesis import strategies as st

from fixtures.client import connect
from fixtures.monitor import Ledger, monitored
from fixtures.record import Record

NPU = "aliyun.com/npu"


def at(second: int) -> str:
    return f"2026-01-01T00:00:{second:02d}Z"


def pod(name: str, start: int, end: int | None = None, *, device: str = "npu0", node: str = "n1") -> Object:
    state = {"running": {"startedAt": at(start)}} if end is None else {
        "terminated": {"startedAt": at(start), "finishedAt": at(end)}}  # fmt: skip
    devices = [{"name": NPU, "resources": [{"resourceID": device, "health": "Healthy"}]}]
    made = bare(name, "Running", uid=f"u-{name}", containerStatuses=[
        {"name": "main", "state": state, "allocatedResourcesStatus": devices}])  # fmt: skip
    made["spec"]["nodeName"] = node
    return made


def ledger(*pods: Object) -> Ledger:
    kept = Ledger()
    for each in pods:
        kept.enter(each)
    return kept


@pytest.mark.parametrize(
    "pods",
    [
        (pod("a", 1, 5), pod("b", 5, 9)),
        (pod("a", 1, 5), pod("b", 6)),
        (pod("a", 1), pod("b", 2, device="npu1")),
        (pod("a", 1), pod("b", 2, node="n2")),
        (pod("a", 1), pod("a", 1, 5)),
    ],
)
def test_devices_that_follow_one_another_or_are_others_are_not_shared(pods: tuple[Object, ...]) -> None:
    assert ledger(*pods).shared() == []


OVERLAPPING = [(pod("a", 1, 5), pod("b", 4, 9)), (pod("a", 1), pod("b", 3)), (pod("b", 3), pod("a", 1))]


@pytest.mark.parametrize("pods", OVERLAPPING)
def test_a_device_in_two_running_containers_is_named_with_both(pods: tuple[Object, ...]) -> None:
    (said,) = ledger(*pods).shared()
    assert said.startswith(f"npu0 of {NPU} on n1 was in default/a (main) and in default/b (main) at 2026-01-01T00:00:0")


def test_what_was_running_and_has_ended_counts_by_its_end() -> None:
    assert ledger(pod("a", 1), pod("a", 1, 3), pod("b", 3)).shared() == []


def test_an_earlier_run_of_a_restarted_container_counts_too() -> None:
    restarted = pod("a", 10)
    restarted["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"startedAt": at(1), "finishedAt": at(8)}}
    assert len(ledger(restarted, pod("b", 5, 6)).shared()) == 1
    assert ledger(restarted, pod("b", 8, 9)).shared() == []


def test_a_run_whose_end_nobody_tells_is_not_judged() -> None:
    kept = ledger(pod("gone", 1), pod("b", 3))
    kept.settle([pod("b", 3)])
    assert kept.shared() == []
    still = ledger(pod("a", 1), pod("b", 3))
    still.settle([pod("a", 1), pod("b", 3)])
    assert len(still.shared()) == 1


spans = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted), min_size=2, max_size=2)


@given(spans)
def test_two_runs_are_shared_just_when_one_begins_within_the_other(two: list[list[int]]) -> None:
    (a, b), (c, d) = two
    first, second = sorted(((a, b), (c, d)))
    overlap = second[0] < first[1]
    assert bool(ledger(pod("a", a, b), pod("b", c, d)).shared()) is overlap


def test_what_ran_is_told_by_node() -> None:
    kept = ledger(pod("a", 1, 2), pod("b", 3, 4, device="npu1"), pod("c", 1, node="n2"), bare("d", "Pending"))
    assert kept.exercised(NPU) == {"n1": {"npu0", "npu1"}, "n2": {"npu0"}}
    assert kept.exercised("other.org/npu") == {}
    assert kept.exercised(NPU, "default") == kept.exercised(NPU)
    assert kept.exercised(NPU, "npu-e2e-") == {}


def test_states_that_pass_by_and_the_last_ones_are_entered(tmp_path: Path) -> None:
    pods = "/api/v1/pods"
    with serving() as server, connect(kubeconfig(tmp_path, server.url), Record()) as client:
        seen = pod("a", 1)
        server.on(f"GET {pods}", listed("1"), listed("9", pod("late", 3, 4, device="npu7")))
        server.on(f"WATCH {pods}", Answer(pieces=[event("ADDED", seen), event("DELETED", pod("a", 1, 2))], then="hold"))
        with monitored(client) as kept:
            while not kept.exercised(NPU):  # the thread enters it as soon as the server has sent it
                pass
    assert kept.exercised(NPU) == {"n1": {"npu0", "npu7"}}
