"""What becomes of NPUs, and of the pods that hold them, when they fall ill, get well, are added and are taken away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fixtures import podexec
from fixtures.apipaths import path_of
from fixtures.checkfixtures import Share
from fixtures.checks import check
from fixtures.client import Object
from fixtures.describe import summary
from fixtures.history import history_of, stays
from fixtures.ownplugin import OwnPlugin, counts
from fixtures.podresources import account
from fixtures.pods import unscheduled
from fixtures.probe import CONTAINER, Family, container, created, pod, running, sight
from fixtures.targets import Cluster
from fixtures.wait import gone, wait_for

REPORT_SECONDS = 12.0
"""In which a kubelet has told the API server of a change: nodeStatusUpdateFrequency is 10 s by default."""
SYNC_SECONDS = 10.0
"""In which a kubelet that would end a pod for its device's health has ended it: it has synced the pod several times."""
SETTLED_SECONDS = 3.0
"""In which a kubelet that is still busy with what it was told shows it: it tells the API server every second."""
FLIPS = 100
FLAP = """
import json, socket, sys
device, last, flips = sys.argv[1], sys.argv[2], int(sys.argv[3])
words = ("Healthy", "Unhealthy") if last == "Unhealthy" else ("Unhealthy", "Healthy")
for flip in range(flips):
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect("/run/fake-npu/control.sock")
        request = {"command": "health", "devices": [device], "health": words[flip % 2]}
        asked.sendall(json.dumps(request).encode() + b"\\n")
        answer = json.loads(asked.makefile().readline())
        if not answer["ok"]:
            sys.exit(json.dumps(answer))
"""
"""Flips a device's health as fast as the plugin takes it: what `npuctl health` does, without a process for each."""


def asking(cluster: Cluster, family: Family, plugin: OwnPlugin, name: str, npus: int = 1) -> Object:
    """A pod that asks for devices of the plugin, just created."""
    one = container(replace(family, resource=plugin.resource), cluster.image, npus, stays=True)
    return created(cluster, plugin.namespace, pod(name, one))


def given(cluster: Cluster, plugin: OwnPlugin, made: Object) -> frozenset[str]:
    """Ids of a pod that runs, as it and the kubelet say together."""
    held = running(cluster, made)
    ids = frozenset(sight(cluster.client, held).visible)
    said = account(cluster, plugin.node).of(held, plugin.resource)
    assert said == {CONTAINER: ids}, f"{made['metadata']['name']} was told {sorted(ids)}, the kubelet says {said}."
    return ids


def waits(cluster: Cluster, made: Object) -> None:
    """The scheduler has found no node for the pod."""
    namespace, name, uid = (made["metadata"][key] for key in ("namespace", "name", "uid"))
    what = f"{name} to find no node"
    wait_for(cluster.client, what, path_of("Pod", namespace, name), unscheduled, timeout=30, uid=uid)


def runs(pod: Object | None) -> bool:
    """Whether a pod runs, and none of its containers has been started again."""
    return (
        pod is not None
        and pod["status"]["phase"] == "Running"
        and not pod["metadata"].get("deletionTimestamp")
        and [each["restartCount"] for each in pod["status"]["containerStatuses"]] == [0]
    )


def to_give(cluster: Cluster, plugin: OwnPlugin) -> frozenset[str]:
    """Ids that the kubelet has to give, or has given."""
    return account(cluster, plugin.node).allocatable.get(plugin.resource, frozenset())


@check(
    "unhealthy-one-of-n",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_failures_test.go:215",
    defects=["late-health", "mute-after-first-list", "unhealthy-stays-allocatable"],
    verbs=["nodes: list watch", "pods: create get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_an_unhealthy_npu_is_taken_from_allocatable(cluster: Cluster, plugin: Callable[..., OwnPlugin]) -> None:
    """NPUs that become unhealthy are taken from allocatable and come back with their health; the capacity stays."""
    ours = plugin(count=4)
    ours.advertised(4, 4)
    for healthy, devices, health in (
        (3, ["npu0"], "Unhealthy"),
        (4, ["npu0"], "Healthy"),
        (2, ["npu1", "npu2"], "Unhealthy"),
    ):
        ours.ctl("health", *devices, health)
        ours.advertised(4, healthy)
    assert to_give(cluster, ours) == {"npu0", "npu3"}
    for healthy, device in ((3, "npu1"), (4, "npu2")):
        ours.ctl("health", device, "Healthy")
        ours.advertised(4, healthy)
    assert to_give(cluster, ours) == {"npu0", "npu1", "npu2", "npu3"}


@check(
    "unhealthy-sole",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_failures_test.go:131",
    defects=["late-health", "mute-after-first-list", "unhealthy-stays-allocatable"],
    verbs=["nodes: list watch", "pods: create get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_the_only_npu_decides_between_all_and_nothing(cluster: Cluster, plugin: Callable[..., OwnPlugin]) -> None:
    """A node whose only NPU is unhealthy has one and none to give, until it is healthy again."""
    ours = plugin(count=1)
    ours.advertised(1, 1)
    ours.ctl("health", "npu0", "Unhealthy")
    ours.advertised(1, 0)
    assert to_give(cluster, ours) == frozenset()
    ours.ctl("health", "npu0", "Healthy")
    ours.advertised(1, 1)
    assert to_give(cluster, ours) == {"npu0"}


@check(
    "unhealthy-in-use",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_failures_test.go:160",
    defects=["mute-after-first-list", "unhealthy-stays-allocatable"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_pod_keeps_running_on_an_npu_that_becomes_unhealthy(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A pod whose NPU becomes unhealthy keeps running with it, and its end gives back no NPU that could be given.

    Kubernetes' design: what to do about it is left to who sees the health in the pod's status.
    """
    ours = plugin(count=1)
    ours.advertised(1, 1)
    made = asking(cluster, family, ours, "held")
    assert given(cluster, ours, made) == {"npu0"}
    ours.ctl("health", "npu0", "Unhealthy")
    ours.advertised(1, 0)
    path, uid = path_of("Pod", namespace, "held"), made["metadata"]["uid"]
    held = stays(cluster.client, "held to run on", path, runs, seconds=SYNC_SECONDS, uid=uid)
    assert account(cluster, ours.node).of(held, ours.resource) == {CONTAINER: {"npu0"}}
    cluster.client.delete(path, uid=uid)
    wait_for(cluster.client, "held to be gone", path, gone, timeout=60, uid=uid)
    ours.keeps(1, 0, seconds=SETTLED_SECONDS)
    assert to_give(cluster, ours) == frozenset()


@check(
    "health-comes-back",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:293; NVIDIA/k8s-device-plugin#189",
    defects=["late-health", "mute-after-first-list", "unhealthy-stays-allocatable"],
    verbs=["nodes: list watch", "pods: create get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_an_npu_is_given_again_once_it_is_healthy(
    cluster: Cluster, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """An unhealthy NPU goes to nobody, and once it is healthy to the pod that waits."""
    ours = plugin(count=2)
    ours.advertised(2, 2)
    ours.ctl("health", "npu0", "Unhealthy")
    ours.advertised(2, 1)
    assert given(cluster, ours, asking(cluster, family, ours, "first")) == {"npu1"}
    second = asking(cluster, family, ours, "second")
    waits(cluster, second)
    ours.ctl("health", "npu0", "Healthy")
    assert given(cluster, ours, second) == {"npu0"}
    ours.advertised(2, 2)


@check(
    "health-flapping",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:293; kubernetes/kubernetes#62773",
    defects=["mute-after-first-list", "unhealthy-stays-allocatable"],
    verbs=["nodes: list watch", "pods: create get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_health_that_flaps_settles_to_its_last_state(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """Health that flips a hundred times at once settles to what it was last, and the pod on that NPU runs on."""
    ours = plugin(count=2, preferred_allocation="false")
    ours.advertised(2, 2)
    made = asking(cluster, family, ours, "held", npus=2)
    assert given(cluster, ours, made) == {"npu0", "npu1"}
    for last, left in (("Unhealthy", 1), ("Healthy", 2)):
        argv = ("python3", "-c", FLAP, "npu0", last, str(FLIPS))
        podexec.output(cluster.client, namespace, ours.name, argv)
        ours.advertised(2, left)
        ours.keeps(2, left, seconds=SETTLED_SECONDS)
        assert to_give(cluster, ours) == ({"npu1"} if last == "Unhealthy" else {"npu0", "npu1"})
    sent = [entry["event"] for entry in ours.log()].count("devices-sent")
    assert sent > FLIPS // 2, f"Of {2 * FLIPS} flips the kubelet was told {sent} times: they did not come one by one."
    held = cluster.client.get(path_of("Pod", namespace, "held"))
    assert held["metadata"]["uid"] == made["metadata"]["uid"]
    assert runs(held), summary(held)


@check(
    "use-does-not-lower-allocatable",
    profile="conformance",
    needs=["podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_failures_test.go:183",
    defects=["use-lowers-allocatable"],
    verbs=["nodes: get list watch", "pods: create delete get list watch", "pods/log: get"],
)
def test_npus_in_use_are_still_allocatable(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """NPUs in use are still allocatable to their node: what is free is the scheduler's and the kubelet's knowledge."""
    share = npus(1)
    with history_of(cluster.client, path_of("Node", None, share.node)) as history:
        asked = pod("one", container(family, cluster.image, 1, stays=True), node=share.node)
        held = running(cluster, created(cluster, namespace, asked))
        said = account(cluster, share.node)
        assert len(said.of(held, family.resource)[CONTAINER]) == 1
        path, uid = path_of("Pod", namespace, "one"), held["metadata"]["uid"]
        stays(cluster.client, "one to run on", path, runs, seconds=REPORT_SECONDS, uid=uid)
    seen = {counts(node, family.resource)[1] for _, node in history.states}
    assert seen == {share.capacity}, f"Of {share.capacity} allocatable NPUs there were {sorted(seen)}."
    assert said.of(held, family.resource)[CONTAINER] <= said.allocatable[family.resource]


@check(
    "device-removed",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:293",
    defects=["mute-after-first-list", "zeros-not-named"],
    verbs=["nodes: list watch", "pods: create get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_an_npu_that_is_listed_no_more_is_taken_from_the_capacity(
    cluster: Cluster, plugin: Callable[..., OwnPlugin]
) -> None:
    """An NPU that its plugin lists no more is taken from capacity and allocatable, the last one too."""
    ours = plugin(count=2)
    ours.advertised(2, 2)
    ours.ctl("devices", "remove", "npu1")
    ours.advertised(1, 1)
    assert to_give(cluster, ours) == {"npu0"}
    ours.ctl("devices", "remove", "npu0")
    node = ours.advertised(0, 0)
    assert node["status"]["capacity"].get(ours.resource) == "0", "The node does not name the resource any more."
    assert to_give(cluster, ours) == frozenset()


@check(
    "hot-plug",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:293",
    defects=["mute-after-first-list"],
    verbs=["nodes: list watch", "pods: create get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_npus_come_and_go_while_pods_run(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """An NPU that is added goes to the pod that waits, and one that is taken away stays with the pod that holds it."""
    ours = plugin(count=1)
    ours.advertised(1, 1)
    first = asking(cluster, family, ours, "first")
    assert given(cluster, ours, first) == {"npu0"}
    second = asking(cluster, family, ours, "second")
    waits(cluster, second)
    ours.ctl("devices", "add")
    assert given(cluster, ours, second) == {"npu1"}
    ours.advertised(2, 2)
    ours.ctl("devices", "remove", "npu0")
    ours.advertised(1, 1)
    path, uid = path_of("Pod", namespace, "first"), first["metadata"]["uid"]
    held = stays(cluster.client, "first to run on", path, runs, seconds=SYNC_SECONDS, uid=uid)
    assert account(cluster, ours.node).of(held, ours.resource) == {CONTAINER: {"npu0"}}
    assert to_give(cluster, ours) == {"npu1"}
