"""Defects of a kubelet's account of devices: what a check sees of each, and what it does not touch."""

from __future__ import annotations

from typing import Any

from fixtures.defects.defect import Asked
from fixtures.defects.inventory import (
    health_ignored,
    lost_at_takeover,
    registrations_taken,
    streams_reopened,
    use_counted,
    zeros_dropped,
)

NODES = Asked("GET", "/api/v1/nodes")
NODE = Asked("GET", "/api/v1/nodes/a")


def node(capacity: dict[str, str], allocatable: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": "a"}, "status": {"capacity": capacity, "allocatable": allocatable}}


def test_a_refused_registration_may_look_like_one_that_was_taken() -> None:
    assert registrations_taken(b'{"event": "register-refused"}') == b'{"event": "registered"}'
    assert registrations_taken(b'{"event": "serving"}') == b'{"event": "serving"}'


def test_a_stream_that_ended_may_look_like_one_that_was_opened() -> None:
    assert streams_reopened(b'{"event": "stream-closed"}') == b'{"event": "stream-opened"}'


def test_ill_devices_may_look_allocatable_on_one_node_and_in_a_list() -> None:
    for asked, wrap in ((NODE, lambda x: x), (NODES, lambda x: {"items": [x]})):
        found = node({"cpu": "2", "a.test/npu": "4"}, {"cpu": "1", "a.test/npu": "3"})
        health_ignored(asked, wrap(found))
        assert found["status"]["allocatable"] == {"cpu": "1", "a.test/npu": "4"}


def test_what_there_is_none_of_may_go_unnamed() -> None:
    found = zeros_dropped(NODE, node({"cpu": "0", "a.test/npu": "0"}, {"a.test/npu": "0", "b.test/npu": "1"}))
    assert found["status"] == {"capacity": {"cpu": "0"}, "allocatable": {"b.test/npu": "1"}}


def test_each_pod_that_was_created_may_lower_what_a_node_gives() -> None:
    answered = use_counted()
    pod = {"spec": {"containers": [{"resources": {"limits": {"a.test/npu": "3", "cpu": "1"}}}, {"name": "none"}]}}
    answered(Asked("POST", "/api/v1/namespaces/a/pods"), pod)
    found = answered(NODE, node({}, {"a.test/npu": "4", "b.test/npu": "2", "cpu": "2"}))
    assert found["status"]["allocatable"] == {"a.test/npu": "1", "b.test/npu": "2", "cpu": "2"}


def test_a_second_plugin_may_take_its_resource_away() -> None:
    answered = lost_at_takeover()
    plugin = {"spec": {"containers": [{"env": [{"name": "FAKE_NPU_RESOURCE_NAME", "value": "a.test/npu"}]}]}}
    sets = "/apis/apps/v1/namespaces/a/daemonsets"
    for asked, made, left in (
        (Asked("POST", "/api/v1/namespaces/a/pods"), plugin, "2"),
        (Asked("POST", "/api/v1/namespaces/a/pods"), {"spec": {"containers": [{"name": "none"}]}}, "2"),
        (Asked("PATCH", f"{sets}/fleet"), {"spec": {"template": plugin}}, "0"),
    ):
        answered(asked, made)
        found = answered(NODE, node({"a.test/npu": "2"}, {"a.test/npu": "2", "b.test/npu": "1"}))
        assert found["status"]["allocatable"] == {"a.test/npu": left, "b.test/npu": "1"}


def test_what_is_no_node_is_left_alone() -> None:
    pods = Asked("GET", "/api/v1/namespaces/a/pods")
    pod = {"kind": "Pod", "status": {"phase": "Running"}}
    for answered in (health_ignored, zeros_dropped, use_counted()):
        assert answered(pods, dict(pod)) == pod
