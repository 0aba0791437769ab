"""A plugin of a check's own: the pod and the DaemonSet that are made of it, and what is heard of its log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from apiserver import Answer, ApiServer, kubeconfig, listed, serving

from fixtures.client import Client, connect
from fixtures.errors import HarnessError
from fixtures.kubectl import Kubectl
from fixtures.ownplugin import OwnPlugin, daemonset, own_plugin
from fixtures.record import Record
from fixtures.targets import Cluster
from fixtures.wait import WaitFailed, WaitTimeout

LOG = "/api/v1/namespaces/npu-e2e-1a/pods/plugin/log"


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving() as plain:
        plain.on("GET /api/v1/namespaces/default/events", listed("1", kind="Event"))
        yield plain


@pytest.fixture
def client(server: ApiServer, tmp_path: Path) -> Iterator[Client]:
    with connect(kubeconfig(tmp_path, server.url), Record()) as connected:
        yield connected


@pytest.fixture
def plugin(client: Client) -> OwnPlugin:
    cluster = Cluster("kind", client, cast(Kubectl, None), frozenset({"faults"}), "image", plugin_image="plugin:1")
    return own_plugin(cluster, "npu-e2e-1a", "worker", count=3, instance="same", starts=False)


def _said(*entries: dict[str, Any]) -> Answer:
    return Answer(pieces=[json.dumps(entry).encode() + b"\n" for entry in entries], then="end")


def _node(version: str, capacity: int, allocatable: int) -> dict[str, Any]:
    counts = {"npu.test/npu-1a": str(capacity)}, {"npu.test/npu-1a": str(allocatable)}
    ready = {"type": "Ready", "status": "True"}
    return {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {"name": "worker", "uid": "u1", "resourceVersion": version},
        "status": {"capacity": counts[0], "allocatable": counts[1], "conditions": [ready]},
    }


def test_a_daemonset_runs_on_its_node_alone_and_waits_until_its_plugin_is_watched(plugin: OwnPlugin) -> None:
    made = daemonset(plugin, maxSurge=1, maxUnavailable=0)
    spec = made["spec"]["template"]["spec"]
    assert "nodeName" not in spec
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchFields"] == [{"key": "metadata.name", "operator": "In", "values": ["worker"]}]
    assert spec["containers"][0]["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert made["spec"]["selector"]["matchLabels"] == made["spec"]["template"]["metadata"]["labels"]
    assert made["spec"]["updateStrategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_a_variable_of_the_manifest_gives_way_to_what_the_check_asks_for(plugin: OwnPlugin) -> None:
    env = daemonset(plugin)["spec"]["template"]["spec"]["containers"][0]["env"]
    names = [variable["name"] for variable in env]
    assert len(names) == len(set(names))
    assert {"name": "FAKE_NPU_INSTANCE", "value": "same"} in env
    assert {"name": "FAKE_NPU_COUNT", "value": "3"} in env
    assert "FAKE_NPU_CONFIG" not in names


def test_a_log_is_its_events_and_nothing_else(server: ApiServer, plugin: OwnPlugin) -> None:
    server.on(
        f"GET {LOG}", Answer(pieces=[b'{"event": "serving"}\nnot JSON\n{"event": "reg', b'istered"}\n'], then="end")
    )
    assert [entry["event"] for entry in plugin.log()] == ["serving", "registered"]


def test_one_of_several_events_is_heard_by_its_fields(server: ApiServer, plugin: OwnPlugin) -> None:
    refused = [{"event": "register-refused", "attempt": attempt} for attempt in (1, 2)]
    server.on(f"GET {LOG}", _said({"event": "serving"}, *refused))
    assert plugin.has_said("registered", "register-refused") == refused[0]
    assert plugin.has_said("register-refused", attempt=2) == refused[1]


def test_an_event_that_is_not_in_the_log_is_told_with_what_is(server: ApiServer, plugin: OwnPlugin) -> None:
    server.on(f"GET {LOG}", _said({"event": "serving"}, {"event": "plugin-failed", "reason": "no kubelet"}))
    told = "has not said registered with {'attempt': 3} within 5 s; it said serving, plugin-failed no kubelet"
    with pytest.raises(HarnessError, match=re.escape(told)):
        plugin.has_said("registered", attempt=3, timeout=5)


def test_a_count_that_does_not_come_or_does_not_stay_is_told(server: ApiServer, plugin: OwnPlugin) -> None:
    server.on("GET /api/v1/nodes", {**listed("1", _node("1", 3, 2)), "kind": "NodeList"})
    server.on("WATCH /api/v1/nodes", Answer(pieces=[], then="hold"))
    assert plugin.advertised(3, 2)["metadata"]["name"] == "worker"
    assert plugin.keeps(3, 2, seconds=0.1)["metadata"]["name"] == "worker"
    with pytest.raises(WaitTimeout, match=r"last seen: 3 npu\.test/npu-1a, 2 of them allocatable"):
        plugin.advertised(3, 3, timeout=0.2)
    with pytest.raises(WaitFailed, match=r"after 0\.\d s: 3 npu.test/npu-1a, 2 of them allocatable"):
        plugin.keeps(3, 3, seconds=60)
