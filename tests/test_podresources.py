"""The kubelet's account of devices, as it is read, and as defects of it change it."""

from __future__ import annotations

import copy
from typing import Any

from fixtures.defects import DEFECTS
from fixtures.defects.defect import Asked
from fixtures.podresources import Account, read_account, read_containers

RESOURCE = "npu.test/npu"
DEVICE = {"resource_name": RESOURCE, "device_ids": ["one"]}
HOLDER: dict[str, Any] = {
    "namespace": "a",
    "name": "holder",
    "containers": [{"name": "beside"}, {"name": "main", "devices": [DEVICE]}],
}
OTHER = {"namespace": "a", "name": "other", "containers": [{"name": "main"}]}
ANSWER: dict[str, Any] = {
    "pods": {"pod_resources": [HOLDER, OTHER]},
    "allocatable": {"devices": [DEVICE, {**DEVICE, "device_ids": ["two"]}]},
}


def changed(name: str, answer: dict[str, Any] = ANSWER) -> dict[str, Any]:
    change = DEFECTS[name].podresources
    assert change is not None
    before = copy.deepcopy(answer)
    found: dict[str, Any] = change(answer, [])
    assert answer == before
    return found


def read(name: str) -> Account:
    return read_account(changed(name))


def test_an_account_has_every_pod_and_devices_by_container() -> None:
    found = read_account(ANSWER)
    assert found.held == {"a/holder": {"beside": {}, "main": {RESOURCE: {"one"}}}, "a/other": {"main": {}}}
    assert found.allocatable == {RESOURCE: {"one", "two"}}
    assert read_containers(HOLDER) == found.held["a/holder"]
    assert read_containers({}) == {}


def test_defects_of_the_list_of_pods() -> None:
    assert read("podresources-holders-only").held.keys() == {"a/holder"}
    assert read("podresources-lists-init").held["a/holder"].keys() == {"init", "beside", "main"}
    assert read("podresources-without-sidecars").held["a/holder"].keys() == {"main"}
    changed("podresources-remembers")
    emptied = changed("podresources-remembers", {**ANSWER, "pods": {}})
    assert read_account(emptied).held.keys() >= {"a/holder", "a/other"}


def test_defects_of_allocatable_devices() -> None:
    assert read("podresources-allocatable-free-only").allocatable == {RESOURCE: {"two"}}
    changed("podresources-allocatable-unhealthy")
    ill = changed("podresources-allocatable-unhealthy", {**ANSWER, "allocatable": {"devices": [DEVICE]}})
    assert read_account(ill).allocatable == {RESOURCE: {"one", "two"}}


def test_defects_of_topology() -> None:
    made_up = changed("podresources-topology-made-up")
    assert made_up["allocatable"]["devices"][0]["topology"] == {"nodes": [{"ID": "0"}]}
    bare = changed("podresources-without-topology", made_up)
    assert bare["allocatable"] == ANSWER["allocatable"]
    assert bare["pods"]["pod_resources"][0]["containers"][1] == HOLDER["containers"][1]


def test_defects_of_get_and_of_refusals() -> None:
    assert changed("podresources-get-empty") == ANSWER
    got = changed("podresources-get-empty", {"pod": {"pod_resources": HOLDER}})
    assert read_containers(got["pod"]["pod_resources"]) == {"beside": {}, "main": {}}
    assert changed("podresources-never-refuses", {**ANSWER, "refused": {"RESOURCE_EXHAUSTED": 3}})["refused"] == {}


def asked(name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    request = DEFECTS[name].request
    assert request is not None
    body = {"spec": {"containers": list(containers), **spec}}
    found = request(Asked("POST", "/api/v1/namespaces/a/pods", {}, body))
    assert isinstance(found, Asked)
    changed_spec: dict[str, Any] = found.body["spec"]
    return changed_spec


def test_defects_of_what_confines_a_container() -> None:
    asking = {"name": "asking", "resources": {"limits": {RESOURCE: "1"}}}
    for name, key in (
        ("unconfined", "securityContext"),
        ("variable-for-all", "env"),
        ("facts-for-all", "volumeMounts"),
    ):
        spec = asked(name, asking, {"name": "other"})
        assert spec["containers"][0] == asking
        assert key in spec["containers"][1]
    forging = {**asking, "env": [{"name": "NPU_VISIBLE_DEVICES", "value": "npu0"}]}
    spec = asked("forged-variable-honoured", asking, forging)
    assert ["securityContext" in one for one in spec["containers"]] == [False, True]


def test_a_device_plugins_own_pod_has_no_such_defect() -> None:
    plugin = {"name": "plugin"}
    assert asked("unconfined", plugin, volumes=[{"name": "dev", "hostPath": {"path": "/dev"}}])["containers"] == [
        plugin
    ]


def test_a_status_without_health() -> None:
    answer = DEFECTS["health-not-in-status"].answer
    assert answer is not None
    status = {"name": "main", "allocatedResourcesStatus": [{"name": RESOURCE}]}
    found = answer(Asked("GET", "/api/v1/namespaces/a/pods"), {"items": [{"status": {"containerStatuses": [status]}}]})
    assert found == {"items": [{"status": {"containerStatuses": [{"name": "main"}]}}]}
