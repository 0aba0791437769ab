"""What may be written into the status of nodes and pods about NPUs, and by whom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fixtures.apipaths import path_of
from fixtures.checks import check
from fixtures.client import Client, Object
from fixtures.describe import summary
from fixtures.dryrun import accepted, causes, dry_run, invalid, refused, unsupported
from fixtures.errors import HarnessError
from fixtures.options import Settings
from fixtures.podspecs import MAIN, held_pod, pod
from fixtures.targets import Cluster
from fixtures.targets.nodes import gentle
from fixtures.wait import condition, wait_for

KUBELET_SECONDS = 60.0
"""Of which a kubelet looks at its node's status every ten (nodeStatusUpdateFrequency), unless told otherwise."""
SCHEDULER_SECONDS = 30.0


@check(
    "node-status-quantity",
    profile="conformance",
    needs=["admin"],
    source="k8s 1.37.2 pkg/apis/core/validation/validation.go:7648",
    defects=["fraction-rounded-up"],
    verbs=["nodes/status: patch", "nodes: list"],
)
def test_a_node_has_whole_npus(cluster: Cluster, settings: Settings) -> None:
    """A node's status cannot hold a part of an NPU, or fewer than none."""
    client, npu = cluster.client, settings.resource
    path = path_of("Node", None, _schedulable_node(cluster, npu)) + "/status"
    for field in ("capacity", "allocatable"):
        accepted(client, path, {"status": {field: {npu: "2"}}}, method="PATCH")
        for count, sentence in (("1500m", "must be an integer"), ("-1", "must be greater than or equal to 0")):
            error = refused(client, path, {"status": {field: {npu: count}}}, method="PATCH")
            assert causes(error) == {(f"status.{field}.{npu}", invalid(count, sentence))}


@check(
    "fake-resource-patch",
    profile="conformance",
    needs=["own-cluster"],
    source="k8s 1.37.2 test/e2e/framework/node/helper.go:198",
    defects=["npus-ignored"],
    verbs=["nodes/status: patch", "nodes: get list watch", "pods: create get list watch"],
)
def test_a_patched_capacity_is_scheduled(cluster: Cluster, namespace: str, settings: Settings) -> None:
    """A capacity that is patched into a node's status becomes allocatable, is counted, and goes when it is removed."""
    client, name = cluster.client, f"npu.test/{namespace}"
    node = path_of("Node", None, _schedulable_node(cluster, settings.resource))

    def allocatable(obj: Object | None) -> str | None:
        found: str | None = ((obj or {}).get("status") or {}).get("allocatable", {}).get(name)
        return found

    with _capacity(client, node, name, "2"):
        what = f"the kubelet to make {name} allocatable"
        wait_for(client, what, node, lambda obj: allocatable(obj) == "2", timeout=KUBELET_SECONDS)
        bound = _pod_condition(cluster, pod(namespace, "two", _image(cluster), limits={name: "2"}, command=["true"]))
        assert bound["spec"].get("nodeName") == node.rpartition("/")[2], f"It asks for {name}: {summary(bound)}"
        waiting = _pod_condition(cluster, pod(namespace, "third", _image(cluster), limits={name: "3"}), "False")
        (said,) = (one for one in waiting["status"]["conditions"] if one["type"] == "PodScheduled")
        assert said["reason"] == "Unschedulable"
        assert f"Insufficient {name}" in said["message"]
    wait_for(client, f"{name} to be gone", node, lambda obj: allocatable(obj) is None, timeout=KUBELET_SECONDS)


@check(
    "ercs-node-cannot-write",
    profile="conformance",
    needs=["admin"],
    source="k8s 1.37.2 plugin/pkg/admission/noderestriction/admission.go:370",
    defects=["nodes-not-restricted"],
    verbs=["groups: impersonate", "pods/status: patch", "pods: create", "users: impersonate"],
)
def test_a_kubelet_does_not_name_claims(cluster: Cluster, namespace: str, settings: Settings) -> None:
    """A node cannot say which claim stands for its pod's NPUs, though it may write the rest of the pod's status."""
    # no kubelet is disturbed, as no such node exists; its user is judged by its name and group all the same
    node = f"{namespace}-node"
    bound = pod(namespace, "bound", "npu.test/none", limits={settings.resource: "1"}, nodeName=node)
    cluster.client.create(path_of("Pod", namespace), bound)
    status = path_of("Pod", namespace, "bound") + "/status"
    mapping = {"containerName": MAIN, "resourceName": settings.resource, "requestName": "container-0-request-0"}
    claim = {"resourceClaimName": "npus", "requestMappings": [mapping]}
    patch = {"status": {"extendedResourceClaimStatus": claim}}
    # that the status is valid, as shown by who may write it
    written = dry_run(cluster.client, status, patch, method="PATCH")["status"]
    if "extendedResourceClaimStatus" not in written:
        raise HarnessError(
            "The API server drops extendedResourceClaimStatus, so nobody can write it.",
            "See that the feature gate DRAExtendedResource is on; it is from Kubernetes 1.36 on.",
        )
    with cluster.client.impersonating(f"system:node:{node}", "system:nodes") as kubelet:
        accepted(kubelet, status, {"status": {"message": "seen"}}, method="PATCH")
        error = refused(kubelet, status, patch, method="PATCH")
    assert f'node "{node}" cannot update extended resource claim status' in error.message


@check(
    "ars-valid",
    profile="conformance",
    needs=["admin"],
    source="k8s 1.37.2 pkg/apis/core/validation/validation.go:9863",
    defects=["device-health-not-validated"],
    verbs=["pods/status: patch", "pods: create"],
)
def test_device_health_has_known_words(cluster: Cluster, namespace: str, settings: Settings) -> None:
    """A pod's status can hold a device once, with a known word for its health, under a resource that was asked for."""
    client, npu = cluster.client, settings.resource
    client.create(path_of("Pod", namespace), held_pod(namespace, "health", {npu: "3"}))
    path, field = path_of("Pod", namespace, "health") + "/status", "allocatedResourcesStatus"

    def health(name: str, *devices: tuple[str, str], kind: str = "containerStatuses") -> Object:
        listed = [{"resourceID": identity, "health": word} for identity, word in devices]
        state = {"name": MAIN, "image": "npu.test/none", "imageID": "", "ready": False, "restartCount": 0}
        return {"status": {kind: [{**state, field: [{"name": name, "resources": listed}]}]}}

    words = ("Healthy", "Unhealthy", "Unknown")
    written = accepted(client, path, health(npu, *((f"npu{n}", word) for n, word in enumerate(words))), method="PATCH")
    kept = written["status"]["containerStatuses"][0].get(field, [{"resources": []}])[0]["resources"]
    assert tuple(device["health"] for device in kept) == words
    first = f"status.containerStatuses[0].{field}[0]"
    ephemeral = "ephemeralContainerStatuses"
    for patch, where, sentence in (
        (
            health("npu.test/other", ("npu0", "Healthy")),
            f"{first}.name",
            invalid("npu.test/other", "must match one of the container's resource requests"),
        ),
        (health(npu, ("npu0", "Well")), f"{first}.resources[0].health", unsupported("Well", *words)),
        (
            health(npu, ("npu0", "Healthy"), ("npu0", "Healthy")),
            f"{first}.resources[1].resourceID",
            'Duplicate value: "npu0"',
        ),
        (
            health(npu, ("npu0", "Healthy"), kind=ephemeral),
            f"status.{ephemeral}[0].{field}",
            "Forbidden: must not be specified in container status",
        ),
    ):
        assert causes(refused(client, path, patch, method="PATCH")) == {(where, sentence)}


def _schedulable_node(cluster: Cluster, resource: str) -> str:
    """A node that has NPUs, that checks share."""
    if nodes := gentle(cluster, resource):
        return min(nodes)
    raise HarnessError(f"No ready node that takes pods has {resource}.", "See `kubectl describe nodes`.")


@contextmanager
def _capacity(client: Client, node: str, name: str, count: str) -> Iterator[None]:
    """The node has this capacity, and afterwards has not: a kubelet keeps capacities that it does not know."""
    client.patch(f"{node}/status", {"status": {"capacity": {name: count}}})
    try:
        yield
    finally:
        client.patch(f"{node}/status", {"status": {"capacity": {name: None}, "allocatable": {name: None}}})


def _pod_condition(cluster: Cluster, body: Object, status: str = "True") -> Object:
    """The pod, created, once the scheduler has said that it is scheduled, or that it is not."""
    name, pods = body["metadata"]["name"], path_of("Pod", body["metadata"]["namespace"])
    cluster.client.create(pods, body)
    scheduled = condition("PodScheduled", status)
    what = f"PodScheduled of {name} to be {status}"
    return wait_for(cluster.client, what, f"{pods}/{name}", scheduled, timeout=SCHEDULER_SECONDS)


def _image(cluster: Cluster) -> str:
    if cluster.image is None:
        raise HarnessError("This target has no image for pods of a check.", "Name one by `--image`.")
    return cluster.image
