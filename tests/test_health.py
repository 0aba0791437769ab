"""What a pod's status says of the health of its devices."""

from __future__ import annotations

from fixtures.health import device_health

LISTED = [
    {"name": "npu.test/a", "resources": [{"resourceID": "one", "health": "Healthy"}, {"resourceID": "two"}]},
    {"name": "npu.test/b", "resources": [{"resourceID": "three", "health": "Unhealthy"}]},
]
POD = {
    "status": {
        "containerStatuses": [{"name": "main", "allocatedResourcesStatus": LISTED}, {"name": "other"}],
        "initContainerStatuses": [{"name": "first", "allocatedResourcesStatus": LISTED[1:]}],
    }
}


def test_health_is_by_container_and_device() -> None:
    assert device_health(POD, "npu.test/a") == {"main": {"one": "Healthy", "two": ""}}
    assert device_health(POD, "npu.test/b", "initContainerStatuses") == {"first": {"three": "Unhealthy"}}


def test_a_pod_that_is_not_there_or_says_nothing_has_none() -> None:
    for pod in (None, {}, {"status": {"containerStatuses": None}}, {"status": {"containerStatuses": [{"name": "a"}]}}):
        assert device_health(pod, "npu.test/a") == {}
