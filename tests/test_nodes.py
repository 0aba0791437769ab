"""The nodes that checks share, and what plugins of theirs leave behind on them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from apiserver import ApiServer, Object, kubeconfig, listed, serving

from fixtures.client import Client, connect
from fixtures.kubectl import Kubectl
from fixtures.record import Record
from fixtures.targets import Cluster
from fixtures.targets.nodes import forget_test_resources, gentle, npu_nodes

NPU = "aliyun.com/npu"


def node(name: str, resources: Object | None = None, *, ready: bool = True, cordoned: bool = False) -> Object:
    given = {NPU: "4", **(resources or {})}
    state = "True" if ready else "False"
    return {
        "metadata": {"name": name},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {"capacity": given, "allocatable": given, "conditions": [{"type": "Ready", "status": state}]},
    }


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving() as plain:
        yield plain


@pytest.fixture
def client(server: ApiServer, tmp_path: Path) -> Iterator[Client]:
    with connect(kubeconfig(tmp_path, server.url), Record()) as connected:
        yield connected


def cluster(client: Client, *capabilities: str) -> Cluster:
    return Cluster("kind", client, Kubectl(Path("kubectl"), Path("k")), frozenset(capabilities), None)


def test_only_nodes_that_are_ready_and_take_pods_have_npus_to_give(server: ApiServer, client: Client) -> None:
    nodes = [node("a"), node("b", ready=False), node("c", cordoned=True), node("d", {NPU: "0"})]
    server.on("GET /api/v1/nodes", listed("1", *nodes, kind="Node"))
    assert npu_nodes(cluster(client), NPU) == {"a": 4}


def test_one_of_several_nodes_is_kept_for_what_disrupts(server: ApiServer, client: Client) -> None:
    server.on("GET /api/v1/nodes", listed("1", node("a"), node("b"), kind="Node"))
    assert gentle(cluster(client, "disruptive"), NPU) == {"a": 4}
    assert gentle(cluster(client), NPU) == {"a": 4, "b": 4}
    server.on("GET /api/v1/nodes", listed("1", node("a"), kind="Node"))
    assert gentle(cluster(client, "disruptive"), NPU) == {"a": 4}


def test_only_what_plugins_of_checks_left_is_forgotten(server: ApiServer, client: Client) -> None:
    left = node("a", {"npu.test/gone": "0", "npu.test/there": "2", "other.org/npu": "0"})
    server.on("GET /api/v1/nodes", listed("1", left, node("b"), kind="Node"))
    server.on("PATCH /api/v1/nodes/a/status", {"kind": "Node"})
    forget_test_resources(client)
    (patch,) = server.asked_for("PATCH /api/v1/nodes/a/status")
    none = {"npu.test/gone": None}
    assert json.loads(patch.body) == {"status": {"capacity": none, "allocatable": none}}
    assert not server.asked_for("PATCH /api/v1/nodes/b/status")
