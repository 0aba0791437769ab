"""What a container is given with its NPUs, and for how long: from Allocate to release."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fixtures.checkfixtures import Share
from fixtures.checks import check
from fixtures.describe import summary
from fixtures.ownplugin import OwnPlugin
from fixtures.podresources import account
from fixtures.probe import CONTAINER, Family, at_end, container, created, pod, running, sight
from fixtures.targets import Cluster


@check(
    "alloc-basic",
    profile="conformance",
    needs=["podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_test.go:228",
    defects=["no-node", "no-variable", "all-devices"],
    verbs=["pods: create delete deletecollection get list watch", "pods/log: get"],
)
def test_a_container_gets_the_one_npu_that_it_asks_for(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """A container that asks for one NPU sees exactly one, and it is the one that the kubelet says it gave."""
    share = npus(1)
    wanted = pod("one", container(family, cluster.image, 1, stays=True), node=share.node)
    held = running(cluster, created(cluster, namespace, wanted))
    seen = sight(cluster.client, held)
    said = account(cluster, share.node).of(held, family.resource)
    assert len(seen.opened) == 1, f"It opened {sorted(seen.opened)} of {sorted(seen.nodes)}."
    assert seen.nodes == seen.opened
    assert said == {CONTAINER: frozenset(seen.visible)}, f"It was told {seen.visible}, and the kubelet says {said}."
    assert len(seen.visible) == 1


@check(
    "alloc-exclusive",
    profile="conformance",
    needs=["podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_test.go:335",
    defects=["same-device"],
    verbs=["pods: create delete deletecollection get list watch", "pods/log: get"],
)
def test_two_pods_never_share_a_device(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """Two pods that ask for one NPU each get different ones, as they see and as the kubelet says."""
    share = npus(2)
    asked = [pod(name, container(family, cluster.image, 1, stays=True), node=share.node) for name in ("one", "two")]
    made = [created(cluster, namespace, manifest) for manifest in asked]
    held = [running(cluster, each) for each in made]
    seen = [sight(cluster.client, each) for each in held]
    assert not seen[0].nodes & seen[1].nodes, f"Both see {sorted(seen[0].nodes & seen[1].nodes)}."
    said = account(cluster, share.node)
    ids = [said.of(each, family.resource)[CONTAINER] for each in held]
    assert not ids[0] & ids[1], f"The kubelet gave {sorted(ids[0] & ids[1])} to both."
    assert ids == [frozenset(each.visible) for each in seen]


@check(
    "alloc-error",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:926",
    defects=["npus-ignored"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create", "pods/log: get"],
)
def test_an_error_of_allocate_fails_the_pod_and_gives_the_device_back(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A pod whose Allocate fails is refused with the plugin's reason, and its device goes to the next pod."""
    broken = plugin(count=1, faults="Allocate error --message 'no firmware' --calls 1")
    broken.advertised(1, 1)
    one = container(replace(family, resource=broken.resource), cluster.image, 1)
    refused = at_end(cluster, created(cluster, namespace, pod("refused", one)))
    assert refused["status"]["phase"] == "Failed", summary(refused)
    assert refused["status"]["reason"] == "UnexpectedAdmissionError", summary(refused)
    assert "Allocate failed due to rpc error" in refused["status"]["message"]
    assert "no firmware" in refused["status"]["message"]
    next_one = at_end(cluster, created(cluster, namespace, pod("next", one)))
    assert next_one["status"]["phase"] == "Succeeded", summary(next_one)
    assert len(sight(cluster.client, next_one).opened) == 1
