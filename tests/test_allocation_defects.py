"""Defects of allocation, as the checks see them."""

from __future__ import annotations

import subprocess

import pytest

from fixtures.apierrors import Invalid
from fixtures.defects import DEFECTS
from fixtures.defects.allocation import admitted, in_inspection, other_after_end, resized, twice_given
from fixtures.defects.defect import Asked
from fixtures.podresources import read_account
from fixtures.probe import read_sight

PODS = "/api/v1/namespaces/a/pods"


def test_only_a_pod_that_its_kubelet_refused_passes() -> None:
    asked = Asked("GET", PODS)
    refused = {"kind": "Pod", "status": {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no"}}
    assert admitted(asked, refused) == {"kind": "Pod", "status": {"phase": "Succeeded"}}
    listed = {"kind": "PodList", "items": [refused]}
    assert admitted(asked, listed)["items"] == [{"kind": "Pod", "status": {"phase": "Succeeded"}}]
    for other in ({"kind": "Pod", "status": {"phase": "Failed"}}, {"kind": "Node", "status": {}}, {"kind": "Status"}):
        assert admitted(asked, other) == other


def test_the_second_log_tells_of_another_device() -> None:
    change = other_after_end()
    lines = [b"visible npu1", b"node /dev/npu1", b"opened /dev/npu1", b"end"]
    first, second = ([change(line).decode() for line in lines] for _ in range(2))
    assert first == [line.decode() for line in lines]
    assert read_sight(second).nodes == {"/dev/npu10"}
    assert read_sight(second).visible == ("npu10",)


def test_a_device_has_several_holders() -> None:
    def entry(name: str, device: str, namespace: str = "a") -> dict[str, object]:
        devices = [{"resource_name": "a/npu", "device_ids": [device]}]
        return {"namespace": namespace, "name": name, "containers": [{"name": "c", "devices": devices}]}

    pods = [entry("z", "npu2", "b"), entry("x", "npu0"), entry("y", "npu1")]
    answer = {"pods": {"pod_resources": pods}, "allocatable": {}}
    held = read_account(twice_given(answer, [])).held
    assert held["b/z"] == {"c": {"a/npu": frozenset({"npu2"})}}, "what others hold is no matter"
    assert held["a/x"] == held["a/y"] == {"c": {"a/npu": frozenset({"npu0"})}}
    assert read_account(answer).held["a/y"] == {"c": {"a/npu": frozenset({"npu1"})}}


def test_only_inspections_are_changed() -> None:
    instead = in_inspection("s/inspect/changed/")
    assert instead(["crictl", "ps"]) == ["crictl", "ps"]
    changed = instead(["crictl", "inspect", "x"])
    (where,) = [place for place, word in enumerate(changed) if word == "crictl"]
    told = subprocess.run([*changed[:where], "echo", *changed[where + 1 :]], capture_output=True, text=True, check=True)
    assert told.stdout == "changed x\n"


def test_zero_becomes_one() -> None:
    limits = {"a/npu": "0", "cpu": "2"}
    body = {"spec": {"containers": [{"name": "c", "resources": {"limits": limits}}, {"name": "d"}]}}
    change = DEFECTS["zero-made-one"].request
    assert change is not None
    asked = change(Asked("POST", PODS, body=body))
    assert isinstance(asked, Asked)
    assert asked.body["spec"]["containers"][0]["resources"] == {"limits": {"a/npu": "1", "cpu": "2"}}
    assert limits["a/npu"] == "0"


def test_a_refused_resize_is_taken_and_nothing_else() -> None:
    refused = Invalid("PATCH x", 422, "Invalid", "no", {})
    assert resized(Asked("PATCH", f"{PODS}/x/resize", body={"spec": {}}), refused)["spec"] == {}
    with pytest.raises(Invalid):
        resized(Asked("POST", PODS), refused)
