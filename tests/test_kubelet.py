"""A kubelet that is stopped and started: what is run on its node, and what tells that it is there again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from apiserver import Answer as Says
from apiserver import ApiServer, event, kubeconfig, listed, pod, serving

from fixtures.attempt import attempt
from fixtures.client import Client, connect
from fixtures.defects import DEFECTS
from fixtures.defects.defect import Asked
from fixtures.defects.restart import held_without_npus, judged_again, never_lost, with_topology, without_force
from fixtures.errors import HarnessError
from fixtures.kubectl import Kubectl
from fixtures.kubelet import commands, container_id, containers_left, has_ended, killed, sandboxes_removed, stopped
from fixtures.process import ProgramError
from fixtures.record import Record
from fixtures.targets import Cluster
from fixtures.targets.nodes import gentle, kept_nodes
from fixtures.wait import WaitTimeout

NODE = "/api/v1/nodes/n1"


class Node:
    """Keeps the commands that are run on nodes, and answers as it is told."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, list[str]]] = []
        self.says = ""
        self.error: HarnessError | None = None

    def __call__(self, node: str, argv: Sequence[str]) -> str:
        self.ran.append((node, list(argv)))
        if self.error:
            raise self.error
        return self.says

    def run(self, argv: Sequence[str]) -> str:
        return self("n1", argv)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving() as plain:
        yield plain


@pytest.fixture
def client(server: ApiServer, tmp_path: Path) -> Iterator[Client]:
    with connect(kubeconfig(tmp_path, server.url), Record()) as connected:
        yield connected


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def cluster(client: Client, node: Node) -> Cluster:
    kubectl = Kubectl(Path("kubectl"), Path("config"), "test")
    return Cluster("kind", client, kubectl, frozenset({"disruptive"}), None, on_node=node)


def _node(heartbeat: str, *, ready: str = "True", version: str = "1", name: str = "n1", **npus: str) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready, "lastHeartbeatTime": heartbeat}]
    status = {"conditions": conditions, "capacity": dict(npus), "allocatable": dict(npus)}
    return {
        "kind": "Node",
        "metadata": {"name": name, "uid": name, "resourceVersion": version},
        "spec": {},
        "status": status,
    }


def test_a_kubelet_is_there_again_once_it_says_so_itself(cluster: Cluster, node: Node, server: ApiServer) -> None:
    server.on(f"GET {NODE}", _node("10:00"))
    server.on("GET /api/v1/nodes", listed("1", _node("10:00"), kind="Node"))
    away = event("MODIFIED", _node("10:00", ready="Unknown", version="2"))
    stale = event("MODIFIED", _node("10:00", version="3"))
    unready = event("MODIFIED", _node("10:01", ready="False", version="4"))
    there = event("MODIFIED", _node("10:02", version="5"))
    server.on("WATCH /api/v1/nodes", Says(pieces=[away, stale, unready, there], then="hold"))
    with stopped(cluster, "n1"):
        assert node.ran == [("n1", ["systemctl", "stop", "kubelet"])]
    assert node.ran[1:] == [("n1", ["systemctl", "start", "kubelet"])]
    (wait,) = cluster.client.record.waits
    assert len(wait.states) >= 1
    assert wait.outcome == "met"


def test_a_node_that_was_ready_before_is_not_taken_for_one_that_is_again(
    cluster: Cluster, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixtures.kubelet.STARTED_SECONDS", 0.3)
    server.on(f"GET {NODE}", _node("10:00"))
    server.on("GET /api/v1/nodes", listed("1", _node("10:00"), kind="Node"))
    server.on("WATCH /api/v1/nodes", Says(pieces=[], then="hold"))
    with pytest.raises(WaitTimeout, match="n1 to be ready under its new kubelet"), stopped(cluster, "n1"):
        pass


def test_a_kubelet_is_started_again_whatever_happens(cluster: Cluster, node: Node, server: ApiServer) -> None:
    server.on(f"GET {NODE}", _node("10:00"))
    with pytest.raises(KeyError), stopped(cluster, "n1"):
        raise KeyError
    assert node.ran[-1] == ("n1", ["systemctl", "start", "kubelet"])


def test_a_target_without_commands_is_told_so(client: Client) -> None:
    plain = Cluster("cluster", client, Kubectl(Path("kubectl"), Path("config"), "test"), frozenset(), None)
    with pytest.raises(HarnessError, match="No command can be run"):
        commands(plain, "n1")


def test_a_pod_loses_its_sandbox_by_its_uid(node: Node) -> None:
    node.says = "one\ntwo\n"
    sandboxes_removed(node.run, pod(uid="u7"))
    (_, looked), (_, removed) = node.ran
    assert looked[-1] == "io.kubernetes.pod.uid=u7"
    assert removed[-4:] == ["rmp", "--force", "one", "two"]
    assert containers_left(node.run, pod(uid="u7")) == ["one", "two"]
    node.says = ""
    with pytest.raises(HarnessError, match="no sandbox of a"):
        sandboxes_removed(node.run, pod())


def test_a_container_is_killed_by_the_signal(node: Node) -> None:
    node.says = "4711\n"
    killed(node.run, pod(containerStatuses=[{"containerID": "containerd://abc"}]))
    assert node.ran[0][1][-1] == "abc"
    assert node.ran[1][1] == ["kill", "-KILL", "4711"]


def test_a_process_that_does_not_end_is_no_error_of_the_harness(node: Node) -> None:
    assert has_ended(node.run, "1")
    node.error = ProgramError(["timeout"], 124, "failed", "", "Look.")
    assert not has_ended(node.run, "1")
    node.error = ProgramError(["timeout"], 1, "failed", "", "Look.")
    with pytest.raises(ProgramError):
        has_ended(node.run, "1")


def test_an_attempt_keeps_what_blames_the_product_and_nothing_else() -> None:
    def fails(error: HarnessError) -> str:
        raise error

    assert attempt(lambda: "done").result() == "done"
    failed = attempt(lambda: fails(WaitTimeout("It did not come.", "Look.")))
    with pytest.raises(WaitTimeout, match="It did not come"):
        failed.result()
    with pytest.raises(HarnessError, match="Broken"):
        attempt(lambda: fails(HarnessError("Broken.", "Mend it.")))


def test_the_same_node_is_kept_while_it_has_nothing_to_give(cluster: Cluster, server: ApiServer) -> None:
    npu = "aliyun.com/npu"
    nodes = [_node("1", name=name, **{npu: count}) for name, count in (("n1", "4"), ("n2", "4"), ("n3", "0"))]
    server.on("GET /api/v1/nodes", listed("1", _node("1", name="n9"), *nodes, kind="Node"))
    assert kept_nodes(cluster, npu) == ["n3"]
    assert gentle(cluster, npu) == {"n1": 4, "n2": 4}
    assert kept_nodes(cluster, "npu.test/none") == []
    server.on("GET /api/v1/nodes", listed("1", *nodes, _node("1", name="n4", **{npu: "4"}), kind="Node"))
    assert kept_nodes(cluster, npu) == ["n3", "n4"]
    assert gentle(cluster, npu) == {"n1": 4, "n2": 4}


def test_the_only_node_is_shared_and_kept(cluster: Cluster, server: ApiServer) -> None:
    server.on("GET /api/v1/nodes", listed("1", _node("1", **{"aliyun.com/npu": "4"}), kind="Node"))
    assert kept_nodes(cluster, "aliyun.com/npu") == ["n1"]
    assert gentle(cluster, "aliyun.com/npu") == {"n1": 4}


def test_npus_that_are_never_lost_stay_as_long_as_they_are_named() -> None:
    answered, npu = never_lost(), "npu.test/a"
    asked = Asked("GET", "/api/v1/nodes")
    for count in ("4", "0"):
        many = answered(asked, listed("1", _node("1", **{npu: count}), kind="Node"))
        assert many["items"][0]["status"]["capacity"] == {npu: "4"}
    assert answered(asked, _node("1", name="n2", **{npu: "0"}))["status"]["allocatable"] == {npu: "0"}
    assert answered(asked, _node("1"))["status"]["capacity"] == {}


def test_a_pod_that_succeeded_is_judged_again_and_no_other() -> None:
    asked = Asked("GET", "/api/v1/pods")
    assert judged_again(asked, pod(phase="Succeeded"))["status"]["phase"] == "Failed"
    assert judged_again(asked, pod(phase="Running")) == pod(phase="Running")


def test_only_a_pod_without_npus_that_is_to_be_scheduled_is_held() -> None:
    def asks(limits: dict[str, str], **spec: str) -> Asked:
        containers = [{"resources": {"limits": limits}}]
        return Asked("POST", "/api/v1/namespaces/a/pods", body={"spec": {"containers": containers, **spec}})

    assert "schedulingGates" in held_without_npus(asks({"cpu": "1"})).body["spec"]
    for other in (asks({"npu.test/a": "1"}), asks({}, nodeName="n1"), Asked("GET", "/api/v1/pods")):
        assert held_without_npus(other) == other


def test_only_a_deletion_that_is_forced_is_ignored() -> None:
    path = "/api/v1/namespaces/a/pods/b"
    assert without_force(Asked("DELETE", path, body={"gracePeriodSeconds": 0})) == {}
    gentler = Asked("DELETE", path, body={"gracePeriodSeconds": 1})
    assert without_force(gentler) == gentler


def test_topology_is_invented_for_every_device() -> None:
    devices = [{"resource_name": "npu.test/a", "device_ids": ["npu0"]}]
    answer = {"pods": {"pod_resources": [{"containers": [{"devices": devices}, {}]}]}, "allocatable": {}}
    changed = with_topology(answer, [])
    assert changed["pods"]["pod_resources"][0]["containers"][0]["devices"][0]["topology"]
    assert "topology" not in devices[0]


def test_only_its_own_command_is_another_one_on_a_node() -> None:
    for name, usual in (
        ("devices-forgotten-at-restart", ["systemctl", "start", "kubelet"]),
        ("containers-end-with-the-kubelet", ["systemctl", "stop", "kubelet"]),
    ):
        instead = DEFECTS[name].on_node
        assert instead is not None
        assert instead(usual)[:2] == ["sh", "-c"]
        assert instead(["systemctl", "status", "kubelet"]) == ["systemctl", "status", "kubelet"]


def test_a_status_that_names_no_container_has_no_id() -> None:
    assert container_id({"status": {"phase": "Running"}}) == ""
    assert container_id({"status": {"containerStatuses": [{"containerID": "containerd://ab"}]}}) == "ab"
