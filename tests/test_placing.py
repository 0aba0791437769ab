"""Why a pod fits no node: NPUs, taints and selectors, in recordings altered in one place."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from causeworld import NPU, WORKER, WORKER2, node, objects, provoked, told

from gate.taints import Taint, Toleration, untolerated


def give(content: dict[str, Any], name: str, allocatable: int) -> None:
    node(content, name)["status"]["allocatable"][NPU] = str(allocatable)


def taint(content: dict[str, Any], name: str, key: str) -> None:
    node(content, name)["spec"]["taints"] = [{"key": key, "value": "only", "effect": "NoSchedule"}]


def scheduler_says(content: dict[str, Any], message: str) -> None:
    conditions = provoked(content)["status"]["conditions"]
    next(one for one in conditions if one["type"] == "PodScheduled")["message"] = message


def others_plugin(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Pods of another vendor's device plugin, ready on both workers."""
    found: list[dict[str, Any]] = deepcopy(objects("unhealthy-device")["plugins"])
    for one in found:
        one["metadata"] |= {"name": f"gpu-plugin-{one['metadata']['name'][-5:]}", "namespace": "gpu-system"}
    return found


# NPUs


def test_more_npus_than_any_node_has_are_too_many_though_one_is_unhealthy() -> None:
    content = objects("request-too-large")
    give(content, WORKER, 3)
    cause = told(content)
    assert (cause.code, "asks for 1000" in cause.sentence) == ("request-too-large", True)


def test_an_unhealthy_npu_and_the_holders_of_the_others_are_both_named() -> None:
    content = objects("npus-in-use")
    give(content, WORKER, 3)
    held = told(content)
    assert held.code == "npus-in-use", "all are held: the pod would not fit if the NPU were healthy"
    assert "holder-1 (4 on npu-e2e-worker)" in held.sentence
    assert "unhealthy: 1 of 4 on npu-e2e-worker." in held.sentence
    next(one for one in content["holders"] if one["spec"]["nodeName"] == WORKER)["spec"]["containers"][0]["resources"][
        "requests"
    ][NPU] = "3"
    sick = told(content)
    assert sick.code == "unhealthy-device"
    assert "holder-2 (4 on npu-e2e-worker2)" in sick.sentence


def test_a_plugin_is_gone_from_one_node_while_another_is_full() -> None:
    content = objects("plugin-not-registered")
    give(content, WORKER, 4)
    content["holders"] = [one for one in objects("npus-in-use")["holders"] if one["spec"]["nodeName"] == WORKER]
    cause = told(content)
    assert cause.code == "plugin-not-registered"
    assert "not registered on npu-e2e-worker2:" in cause.sentence
    assert "4 of 4 NPUs are in use, by" in cause.sentence


def test_another_vendors_plugin_is_not_the_npus() -> None:
    content = objects("plugin-not-registered")
    content["plugins"] = others_plugin(content) + content["plugins"]
    cause = told(content)
    assert cause.code == "plugin-not-registered"
    assert cause.command == "kubectl describe pods fake-npu-6bbvz --namespace npu-system"
    content["plugins"] = others_plugin(content)
    assert "unhealthy, or their device plugin is not registered: 4 of 4" in told(content).sentence


def test_a_pod_of_another_vendor_is_not_the_next_thing_to_look_at() -> None:
    content = objects("plugin-not-registered")
    content["plugins"] = others_plugin(content)
    for name in (WORKER, WORKER2):
        node(content, name)["status"]["capacity"][NPU] = "0"
    assert told(content).command == "kubectl get daemonsets --all-namespaces --output wide"


def test_another_resource_whose_name_begins_alike_is_not_npus() -> None:
    content = objects("npus-in-use")
    scheduler_says(content, f"0/3 nodes are available: 3 Insufficient {NPU}-memory.")
    assert told(content).code == "unschedulable"


@pytest.mark.parametrize("capacity", [None, "4"])
def test_a_pod_without_npus_does_not_wait_for_them(capacity: str | None) -> None:
    content = objects("taint")
    for name in (WORKER, WORKER2):
        for where in ("capacity", "allocatable"):
            node(content, name)["status"][where].pop(NPU)
        if capacity:
            node(content, name)["status"] |= {"capacity": {NPU: capacity}, "allocatable": {NPU: "0"}}
    content["plugins"] = []
    assert told(content).code == "taint"


def test_npus_behind_a_taint_are_not_counted() -> None:
    content = objects("npus-in-use")
    content["holders"] = [one for one in content["holders"] if one["spec"]["nodeName"] == WORKER]
    taint(content, WORKER2, "maintenance")
    cause = told(content)
    assert "4 of 4 NPUs are in use" in cause.sentence
    assert "leave out npu-e2e-worker2" in cause.sentence


# taints


@pytest.mark.parametrize("other", ["2 Insufficient cpu", "2 Too many pods"])
@pytest.mark.parametrize("code", ["taint", "selector"])
def test_a_taint_is_no_cause_where_other_nodes_have_another_reason(code: str, other: str) -> None:
    content = objects(code)
    words = f"0/3 nodes are available: 1 node(s) had untolerated taint(s), {other}. preemption: none"
    scheduler_says(content, words)
    cause = told(content)
    assert (cause.code, words in cause.sentence) == ("unschedulable", True)


def test_a_taint_that_the_pod_tolerates_is_not_named() -> None:
    content = objects("selector")
    provoked(content)["spec"].pop("nodeSelector")
    taint(content, WORKER, "npu")
    taint(content, WORKER2, "npu")
    scheduler_says(content, "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s).")
    cause = told(content)
    assert (cause.code, "the taint npu: only," in cause.sentence) == ("taint", True)
    provoked(content)["spec"]["tolerations"] = [{"key": "npu", "operator": "Exists"}]
    scheduler_says(content, "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu.")
    assert told(content).code == "unschedulable"


def test_a_taint_on_every_node_is_named_though_the_selector_fits_none() -> None:
    content = objects("selector")
    taint(content, WORKER, "npu")
    taint(content, WORKER2, "npu")
    scheduler_says(content, "0/3 nodes are available: 3 node(s) had untolerated taint(s).")
    cause = told(content)
    assert (cause.code, "npu: only" in cause.sentence) == ("taint", True)


def test_a_selector_that_fits_a_node_without_cpu_is_no_cause() -> None:
    content = objects("selector")
    provoked(content)["spec"]["nodeSelector"] = {"kubernetes.io/hostname": WORKER}
    words = "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector."
    scheduler_says(content, words)
    assert told(content).code == "unschedulable"


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        (Toleration(operator="Exists"), True),
        (Toleration("sla", "Exists"), True),
        (Toleration("other", "Exists"), False),
        (Toleration("sla", "Exists", effect="NoExecute"), False),
        (Toleration("sla", "", "900"), True),
        (Toleration("sla", "Equal", "901", "NoSchedule"), False),
        (Toleration("sla", "Gt", "899"), True),
        (Toleration("sla", "Gt", "900"), False),
        (Toleration("sla", "Lt", "901"), True),
        (Toleration("sla", "Lt", "high"), False),
        (Toleration("sla", "In", "900"), False),
    ],
)
def test_tolerations_are_applied_as_kubernetes_does(*, toleration: Toleration, tolerated: bool) -> None:
    sla = Taint("sla", "900", "NoSchedule")
    assert untolerated([sla], [toleration]) == (() if tolerated else (sla,))
    assert untolerated([Taint("sla", "900", "PreferNoSchedule")], []) == ()
