"""A request for zero NPUs, which is none at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fixtures.apipaths import path_of
from fixtures.checkfixtures import Share
from fixtures.checks import check
from fixtures.client import Object
from fixtures.describe import summary
from fixtures.documented import manifest
from fixtures.errors import HarnessError
from fixtures.options import Settings
from fixtures.pods import ended, never_pulled
from fixtures.podspecs import pod
from fixtures.probe import only
from fixtures.targets import Cluster
from fixtures.wait import Seen, WaitFailed, WaitTimeout, wait_for

SHOW = """
for file in /dev/* $1; do if test -e "$file"; then echo "file $file"; fi; done
env | while read -r line; do echo "variable ${line%%=*}"; done
"""
"""Argument: the pattern of all device nodes. Prints names of device nodes and of variables that a container can see."""
POD_SECONDS = 120.0


@check(
    "zero-ok",
    profile="conformance",
    source="k8s 1.37.2 noderesources/fit.go:766",
    defects=["zero-made-one"],
    verbs=["pods/log: get", "pods: create delete get list watch"],
)
def test_zero_npus_are_none(cluster: Cluster, namespace: str, settings: Settings, npus: Callable[..., Share]) -> None:
    """A pod that asks for zero NPUs runs and is given none, on the node where one that asks for an NPU is given it."""
    npu, pods = settings.resource, path_of("Pod", namespace)
    image = manifest(cluster.image, npu)["spec"]["containers"][0]["image"]
    command = ["sh", "-c", SHOW, "sh", settings.device_path_pattern]
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": only(npus(1).node)}}
    for name, count in (("one", "1"), ("zero", "0")):
        limits = {npu: count}
        cluster.client.create(pods, pod(namespace, name, image, limits=limits, command=command, affinity=affinity))
    try:
        one = _end(cluster, namespace, "one", npu)
    except (WaitFailed, WaitTimeout) as error:
        raise _no_control(error.cause) from error
    zero = _end(cluster, namespace, "zero", npu)
    assert zero.pod["status"]["phase"] == "Succeeded", summary(zero.pod)
    assert not zero.given, f"The kubelet gave {sorted(zero.given)} to the pod that asks for zero."
    if one.pod["status"]["phase"] != "Succeeded" or one.seen <= zero.seen:
        raise _no_control(f"it sees nothing that the one without does not see, {summary(one.pod)}.")
    assert zero.pod["spec"]["nodeName"] == one.pod["spec"]["nodeName"]
    assert zero.seen <= one.seen, f"Only the pod that asks for zero sees {sorted(zero.seen - one.seen)}."
    if one.given:  # kubelets tell it in the pod's status from 1.36 on
        assert len(one.given) == 1, f"The kubelet gave {sorted(one.given)} to the pod that asks for one."


@dataclass(frozen=True)
class _End:
    """A pod that has ended: what its container saw, and ids of the devices that the kubelet says it gave to it."""

    pod: Object
    seen: frozenset[str]
    given: frozenset[str]


def _end(cluster: Cluster, namespace: str, name: str, resource: str) -> _End:
    states, what = Seen(), f"the pod {name} to end"
    path = path_of("Pod", namespace, name)
    found = wait_for(cluster.client, what, path, ended, timeout=POD_SECONDS, failed=never_pulled, seen=states)
    given = {
        device["resourceID"]
        for _, state in states
        for container in state["status"].get("containerStatuses", [])
        for allocated in container.get("allocatedResourcesStatus", [])
        if allocated["name"] == resource
        for device in allocated.get("resources", [])
    }
    log = ""
    if found["status"]["phase"] == "Succeeded":
        log = cluster.kubectl.run("logs", name, "--namespace", namespace)
    return _End(found, frozenset(log.splitlines()), frozenset(given))


def _no_control(why: str) -> HarnessError:
    return HarnessError(
        f"The pod that asks for an NPU shows none, so that zero proves nothing: {why}",
        "See whether a node has an NPU left (`kubectl describe nodes`), and what the check alloc-basic says.",
    )
