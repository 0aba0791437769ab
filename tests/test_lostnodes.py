"""Nodes that a run loses: told at once, blamed on whoever had them, and left alone by every check that follows."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from apiserver import Answer, ApiServer, Object, event, kubeconfig, listed, serving

from fixtures.apierrors import ApiError, Forbidden
from fixtures.checks import Check
from fixtures.client import Client, NotFound, connect
from fixtures.coverage import devices_watched
from fixtures.errors import HarnessError
from fixtures.kubectl import Kubectl
from fixtures.lostnodes import LostNodes, losses_watched, lost_nodes
from fixtures.record import Record
from fixtures.results import CheckResult, Run
from fixtures.shares import node_taken
from fixtures.steps import Steps
from fixtures.takennodes import kubelet_gives, not_lost, taken_worker
from fixtures.targets import Cluster

NPU = "aliyun.com/npu"
NODES, PODS = "/api/v1/nodes", "/api/v1/pods"


def node(name: str, count: int = 4, *, ready: bool = True, version: str = "1", cordoned: bool = False) -> Object:
    conditions = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
    given = {NPU: str(count)}
    return {
        "kind": "Node",
        "metadata": {"name": name, "uid": name, "resourceVersion": version},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {"conditions": conditions, "capacity": given, "allocatable": given},
    }


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving() as plain:
        plain.on(f"GET {PODS}", listed("1"))
        plain.on(f"WATCH {PODS}", Answer(pieces=[], then="hold"))
        yield plain


@pytest.fixture
def client(server: ApiServer, tmp_path: Path) -> Iterator[Client]:
    with connect(kubeconfig(tmp_path, server.url), Record()) as connected:
        yield connected


@pytest.fixture
def cluster(client: Client) -> Cluster:
    return Cluster("kind", client, Kubectl(Path("kubectl"), Path("k")), frozenset({"disruptive"}), None)


@pytest.fixture
def lost(tmp_path: Path, cluster: Cluster) -> LostNodes:
    return lost_nodes(tmp_path, cluster)


def happens(server: ApiServer, *changed: Object) -> None:
    """Two nodes are well when the run begins; then these states come."""
    server.on(f"GET {NODES}", listed("1", node("a"), node("b"), kind="Node"))
    server.on(f"WATCH {NODES}", Answer(pieces=[event("MODIFIED", one) for one in changed], then="hold"))


class Told:
    """What is told of lost nodes; `last` is set once it is told of the node `b`."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.last = threading.Event()

    def __call__(self, name: str, _: Object | None) -> None:
        self.names.append(name)
        if name == "b":
            self.last.set()


@pytest.mark.parametrize("now", [node("a", ready=False, version="2"), node("a", 3, version="2")])
def test_a_node_that_is_lost_is_told_at_once(server: ApiServer, cluster: Cluster, tmp_path: Path, now: Object) -> None:
    happens(server, now, node("b", 0, version="3"))
    server.on(f"GET {NODES}/a", now)
    server.on(f"GET {NODES}/b", node("b", 0, version="3"))
    told = Told()
    with losses_watched(cluster, NPU, tmp_path, {"a": 4, "b": 4}, told):
        assert told.last.wait(10)
    assert told.names == ["a", "b"]


def test_who_has_the_whole_node_answers_for_it(server: ApiServer, cluster: Cluster, tmp_path: Path) -> None:
    happens(server, node("a", ready=False, version="2"), node("b", 0, version="3"))
    server.on(f"GET {NODES}/a", node("a", ready=False, version="2"))
    server.on(f"GET {NODES}/b", node("b", 0, version="3"))
    told = Told()
    with node_taken(tmp_path, "a"), losses_watched(cluster, NPU, tmp_path, {"a": 4, "b": 4}, told):
        assert told.last.wait(10)
    assert told.names == ["b"]


def test_what_a_check_has_mended_by_now_is_no_loss(server: ApiServer, cluster: Cluster, tmp_path: Path) -> None:
    happens(server, node("a", ready=False, version="2"), node("b", 0, version="3"))
    server.on(f"GET {NODES}/a", node("a", version="5"))
    server.on(f"GET {NODES}/b", node("b", 0, version="3"))
    told = Told()
    with losses_watched(cluster, NPU, tmp_path, {"a": 4, "b": 4}, told):
        assert told.last.wait(10)
    assert told.names == ["b"]


def test_the_first_sentence_stands_and_no_check_starts_there(lost: LostNodes) -> None:
    assert lost.sentences() == {}
    lost.require_not("a")
    lost.add("a", "a is not ready.")
    lost.add("a", "a is not ready, still.")
    assert lost.sentences() == {"a": "a is not ready."}
    lost.require_not("b")
    with pytest.raises(HarnessError, match=r"No further check starts on this node: a is not ready\.") as raised:
        lost.require_not("a")
    assert "kubectl describe node a" in raised.value.remedy


def test_a_check_goes_to_a_node_that_is_left(lost: LostNodes) -> None:
    lost.add("a", "a is not ready.")
    assert not_lost({"a": 4, "b": 4}, "space", lost) == ["b"]
    with pytest.raises(HarnessError, match="No further check starts on this node"):
        not_lost({"a": 4}, "space", lost)
    with pytest.raises(HarnessError, match="No node with NPUs is ready"):
        not_lost({}, "space", lost)


def test_a_worker_that_nobody_proved_whole_is_lost(
    server: ApiServer, cluster: Cluster, lost: LostNodes, tmp_path: Path
) -> None:
    server.on(f"GET {NODES}", listed("1", node("a"), node("b"), kind="Node"))
    with (
        pytest.raises(HarnessError, match="pods do not go"),
        taken_worker(cluster, NPU, tmp_path, "kubelet-restart"),
    ):
        raise HarnessError("The pods do not go.", "")
    with (
        pytest.raises(HarnessError, match="b was not given back as it was by kubelet-restart"),
        taken_worker(cluster, NPU, tmp_path, "plugin-crash"),
    ):
        pass


def daemon(*, ready: bool) -> Object:
    return {
        "kind": "Pod",
        "metadata": {
            "name": "plugin",
            "namespace": "npu-system",
            "uid": "p",
            "resourceVersion": "1",
            "ownerReferences": [{"kind": "DaemonSet", "name": "plugin"}],
        },
        "spec": {"nodeName": "b"},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def test_a_worker_is_whole_with_its_daemons_ready(
    server: ApiServer, cluster: Cluster, lost: LostNodes, tmp_path: Path
) -> None:
    server.on(f"GET {NODES}", listed("1", node("b"), kind="Node"))
    server.on(f"GET {PODS}", listed("1", daemon(ready=False)))
    ready = daemon(ready=True)
    ready["metadata"]["resourceVersion"] = "2"
    server.on(f"WATCH {PODS}", Answer(pieces=[event("MODIFIED", ready)], then="hold"))
    with taken_worker(cluster, NPU, tmp_path, "plugin-crash") as (name, whole):
        assert whole()["metadata"]["name"] == name == "b"
    assert lost.sentences() == {}
    assert server.asked_for(f"WATCH {PODS}"), "the pod that was not ready was not waited for"


def test_a_kubelet_that_does_not_answer_yet_is_asked_again(cluster: Cluster) -> None:
    refused = "error dialing backend: dial tcp 172.17.0.4:10250: connect: connection refused"
    allocatable = {"devices": [{"resource_name": NPU, "device_ids": ["npu0", "npu1"]}]}
    answers: list[Exception | str] = [
        ApiError("GET exec", 500, "InternalError", refused, {}),
        NotFound("GET exec", 404, "NotFound", "pods not found", {}),
        json.dumps({"pods": {"pod_resources": []}, "allocatable": {"devices": []}}),
        json.dumps({"pods": {"pod_resources": []}, "allocatable": allocatable}),
    ]

    def asked(_: str) -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    kubelet_gives(replace(cluster, pod_resources=asked), "b", NPU, 2)
    assert not answers


def test_who_may_not_ask_a_kubelet_is_not_made_to_wait(cluster: Cluster) -> None:
    def asked(_: str) -> str:
        raise Forbidden("GET exec", 403, "Forbidden", "no", {})

    with pytest.raises(Forbidden):
        kubelet_gives(replace(cluster, pod_resources=asked), "b", NPU, 2)


def run_of(*running: str) -> Run:
    run = Run([], {}, Steps(None), Record())
    for identity in running:
        check = Check(identity, "must", "A claim.", "conformance")
        run.results[identity] = CheckResult(check, f"e2e/test_x.py::{identity}")
        run.running.add(f"e2e/test_x.py::{identity}")
    return run


def test_a_run_names_the_checks_that_ran_when_a_node_was_lost(
    server: ApiServer, cluster: Cluster, lost: LostNodes, tmp_path: Path
) -> None:
    happens(server, node("a", 3, version="2"), node("b", ready=False, version="3"))
    server.on(f"GET {NODES}/a", node("a", 3, version="2"))
    server.on(f"GET {NODES}/b", node("b", ready=False, version="3"))
    run = run_of("flow-completed", "alloc-basic")
    with devices_watched(cluster, NPU, run, tmp_path):
        while len(lost.sentences()) < 2:  # the thread enters it as soon as the server has sent it
            pass
    [violation], [trouble] = run.violations, run.troubles
    assert violation.startswith("a has 3 aliyun.com/npu to give, and had 4 since ")
    assert violation.endswith(", while alloc-basic and flow-completed ran.")
    assert trouble.startswith("b is not ready since ")
    assert lost.sentences() == {}, "what this run lost is nothing to the next"


def test_a_run_says_what_became_of_nodes_at_its_end(server: ApiServer, cluster: Cluster, tmp_path: Path) -> None:
    happens(server)
    run = run_of()
    with devices_watched(cluster, NPU, run, tmp_path):
        server.on(f"GET {NODES}", listed("9", node("a", cordoned=True), kind="Node"))
    assert run.violations == [], "a node that somebody cordoned has lost nothing"
    assert run.troubles == ["b was removed at the end of the run."]
    assert run.devices == {"a": {"of": 4, "exercised": []}, "b": {"of": 4, "exercised": []}}
