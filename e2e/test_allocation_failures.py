"""What becomes of a pod whose devices cannot be given, or are given wrongly, late or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fixtures.apipaths import path_of
from fixtures.checks import check
from fixtures.client import Object
from fixtures.describe import summary
from fixtures.ownplugin import OwnPlugin
from fixtures.podresources import account
from fixtures.probe import (
    CONTAINER,
    START_SECONDS,
    TELL,
    Family,
    at_end,
    container,
    created,
    pod,
    read_sight,
    running,
    sight,
    told,
)
from fixtures.targets import Cluster
from fixtures.upstream import known_upstream
from fixtures.wait import WaitTimeout, condition, wait_for, wait_for_all

EVENT_SECONDS = 30.0
"""For an event to be there after what it tells of."""
SLOW_SECONDS = 12
"""Longer than a kubelet waits for a plugin elsewhere, which is ten seconds (plugin/v1beta1/client.go:133)."""
BLOCKED_SECONDS = 30.0
"""For a pod without NPUs to start and end beside one that hangs: ten times what it takes when nothing hangs."""
NUMBERS = """for node in $2; do test -e "$node" && echo "numbers $(stat -c '%n %F:%t:%T' "$node")"; done
"""
"""Prints kind, major and minor number of each device node."""


@check(
    "alloc-error",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:926",
    defects=["allocates-once", "refusal-hidden"],
    verbs=[
        "events: list watch",
        "nodes: list watch",
        "pods: create delete get list watch",
        "pods/exec: create get",
        "pods/log: get",
    ],
)
def test_an_error_of_allocate_fails_the_pod_and_gives_the_device_back(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A pod whose Allocate fails is refused with the plugin's reason, and its device goes to the next pod."""
    broken = plugin(count=1, faults="Allocate error --message 'no firmware' --calls 1")
    broken.advertised(1, 1)
    one = container(replace(family, resource=broken.resource), cluster.image, 1)
    refused = at_end(cluster, created(cluster, namespace, pod("refused", one)))
    why = "rpc error: code = Internal desc = no firmware"
    _is_refused(refused, "UnexpectedAdmissionError", f"Allocate failed due to {why}, which is unexpected")
    what, fields = "the event of the refusal", "involvedObject.name=refused,reason=UnexpectedAdmissionError"
    events = wait_for_all(
        cluster.client,
        what,
        path_of("Event", namespace),
        bool,
        timeout=EVENT_SECONDS,
        fields=fields,
    )
    assert [event["type"] for event in events.values()] == ["Warning"]
    next_one = at_end(cluster, created(cluster, namespace, pod("next", one)))
    assert next_one["status"]["phase"] == "Succeeded", summary(next_one)
    assert len(sight(cluster.client, next_one).opened) == 1


@check(
    "alloc-empty-response",
    profile="conformance",
    needs=["faults"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:937",
    defects=["allocates-never", "refusal-hidden"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_an_empty_answer_of_allocate_fails_the_pod(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A pod whose Allocate is answered with no container is refused, and one that is answered well gets its device."""
    broken = plugin(count=2, faults="Allocate empty --calls 1")
    broken.advertised(2, 2)
    one = container(replace(family, resource=broken.resource), cluster.image, 1)
    refused = at_end(cluster, created(cluster, namespace, pod("refused", one)))
    why = "Allocate failed due to no containers return in allocation response"
    _is_refused(refused, "UnexpectedAdmissionError", why)
    # of the other device: the refused pod's may be lost for a while, see alloc-empty-response-returned
    next_one = at_end(cluster, created(cluster, namespace, pod("next", one)))
    assert next_one["status"]["phase"] == "Succeeded", summary(next_one)
    assert len(sight(cluster.client, next_one).opened) == 1


@check(
    "alloc-empty-response-returned",
    level="should",
    profile="conformance",
    needs=["disruptive", "faults"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:937",
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_the_device_of_an_empty_answer_is_given_back(
    cluster: Cluster,
    namespace: str,
    family: Family,
    worker: str,  # another pod that ends on the node lets its kubelet find the device again
    plugin: Callable[..., OwnPlugin],
) -> None:
    """The device of a pod that was refused for an empty answer goes to the next pod.

    Kubelets of up to 1.37 keep it for the refused pod until some other pod with devices has ended on the node.
    """
    broken = plugin(count=1, faults="Allocate empty --calls 1 --after 1")
    broken.advertised(1, 1)
    one = container(replace(family, resource=broken.resource), cluster.image, 1)
    control = at_end(cluster, created(cluster, namespace, pod("control", one)))
    assert control["status"]["phase"] == "Succeeded", summary(control)
    refused = at_end(cluster, created(cluster, namespace, pod("refused", one)))
    assert "no containers return" in refused["status"].get("message", ""), summary(refused)
    next_one = at_end(cluster, created(cluster, namespace, pod("next", one)))
    with known_upstream("kubernetes/kubernetes#137317", "..1.37", seen=_kubelet(cluster, broken.node)):
        assert next_one["status"]["phase"] == "Succeeded", summary(next_one)


@check(
    "alloc-unhealthy",
    profile="conformance",
    needs=["faults"],
    source="k8s 1.37.2 pkg/kubelet/lifecycle/predicate.go:218",
    defects=["mute-after-first-list", "refusal-hidden"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_no_pod_runs_on_an_unhealthy_npu(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A pod that is bound to a node whose NPUs are all unhealthy is refused there, and one that comes later is not.

    Where the kubelet's own record of the node knows of it already, as here, it counts: OutOf and the resource. Else it
    comes to the devices: UnexpectedAdmissionError, `no healthy devices present`.
    """
    own = plugin(count=1)
    own.advertised(1, 1)
    one = container(replace(family, resource=own.resource), cluster.image, 1)
    own.ctl("health", "all", "Unhealthy")
    own.advertised(1, 0)
    refused = at_end(cluster, created(cluster, namespace, pod("refused", one, nodeName=own.node)))
    assert refused["status"]["phase"] == "Failed", summary(refused)
    reasons = {
        f"OutOf{own.resource}": f"Node didn't have enough resource: {own.resource}, requested: 1, used: 0, capacity: 0",
        "UnexpectedAdmissionError": f"no healthy devices present; cannot allocate unhealthy devices {own.resource}",
    }
    assert reasons.get(refused["status"].get("reason"), "another reason") in refused["status"]["message"]
    own.ctl("health", "all", "Healthy")
    own.advertised(1, 1)
    later = at_end(cluster, created(cluster, namespace, pod("later", one, nodeName=own.node)))
    assert later["status"]["phase"] == "Succeeded", summary(later)


@check(
    "zero-request-with-no-healthy-device",
    profile="conformance",
    needs=["faults"],
    source="kubernetes/kubernetes#128854",
    defects=["zero-made-one"],
    verbs=["nodes: get list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_zero_npus_are_to_be_had_where_none_is_healthy(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A pod that asks for zero NPUs runs on a node whether or not one of its NPUs is healthy.

    Kubelets of up to 1.37 refuse it where the resource is registered and no device is healthy.
    """
    own = plugin(count=1)
    own.advertised(1, 1)
    zero = container(family, cluster.image, resources={"limits": {own.resource: "0"}})
    control = at_end(cluster, created(cluster, namespace, pod("control", zero, node=own.node)))
    assert control["status"]["phase"] == "Succeeded", summary(control)
    seen = sight(cluster.client, control).nodes
    assert not seen, f"It asks for zero NPUs, and sees {sorted(seen)}."
    own.ctl("health", "all", "Unhealthy")
    own.advertised(1, 0)
    zeroed = at_end(cluster, created(cluster, namespace, pod("zero", zero, node=own.node)))
    if "no healthy devices present" in zeroed["status"].get("message", ""):
        with known_upstream("kubernetes/kubernetes#128854", "..1.37", seen=_kubelet(cluster, own.node)):
            assert zeroed["status"]["phase"] == "Succeeded", summary(zeroed)
    assert zeroed["status"]["phase"] == "Succeeded", summary(zeroed)


@check(
    "allocate-hung",
    level="should",
    profile="conformance",
    needs=["disruptive", "faults"],
    source="kubernetes/kubernetes#129249",
    verbs=["nodes: get list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_plugin_that_hangs_holds_up_its_own_pods_alone(
    cluster: Cluster,
    namespace: str,
    family: Family,
    worker: str,
    plugin: Callable[..., OwnPlugin],
) -> None:
    """While an Allocate hangs, pods that ask for none of its NPUs start on that node, and its own does once it ends.

    Kubelets of up to 1.37 admit one pod after the other and set no time for Allocate: all pods that come to the node
    wait, and go on when the plugin does.
    """
    own = plugin(count=1, faults="Allocate hang")
    own.advertised(1, 1)
    one = container(replace(family, resource=own.resource), cluster.image, 1)
    hanging = created(cluster, namespace, pod("hanging", one))
    # a kubelet hears of pods in the order in which they were bound to its node
    wait_for(
        cluster.client,
        "hanging to be bound",
        path_of("Pod", namespace, "hanging"),
        condition("PodScheduled"),
        timeout=START_SECONDS,
    )
    other = created(cluster, namespace, pod("other", container(family, cluster.image), nodeName=worker))
    blocked: WaitTimeout | None = None
    try:
        at_end(cluster, other, timeout=BLOCKED_SECONDS)
    except WaitTimeout as error:
        blocked = error
    still = cluster.client.get(path_of("Pod", namespace, "hanging"))
    own.ctl("fault", "clear")
    assert still["status"]["phase"] == "Pending", summary(still)
    for each in (at_end(cluster, hanging), at_end(cluster, other)):
        assert each["status"]["phase"] == "Succeeded", summary(each)
    assert len(sight(cluster.client, hanging).opened) == 1
    if blocked:
        with known_upstream("kubernetes/kubernetes#129249", "..1.37", seen=_kubelet(cluster, worker)):
            raise blocked


@check(
    "allocate-slow",
    profile="conformance",
    needs=["disruptive", "faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/endpoint.go:109",
    defects=["allocates-never"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_slow_allocate_is_waited_for(
    cluster: Cluster,
    namespace: str,
    family: Family,
    worker: str,  # all pods that come to a node wait for it, see allocate-hung
    plugin: Callable[..., OwnPlugin],
) -> None:
    """A pod whose Allocate takes its time runs with its device in the end, and the plugin is asked once."""
    own = plugin(count=1, faults=f"Allocate delay --seconds {SLOW_SECONDS}")
    own.advertised(1, 1)
    one = container(replace(family, resource=own.resource), cluster.image, 1, stays=True)
    held = running(cluster, created(cluster, namespace, pod("slow", one)))
    seen = sight(cluster.client, held)
    assert len(seen.opened) == 1, f"It opened {sorted(seen.opened)}."
    assert account(cluster, worker).of(held, own.resource) == {CONTAINER: frozenset(seen.visible)}
    answers = [entry for entry in own.log() if entry["event"] == "allocated"]
    assert [entry["ids"] for entry in answers] == [list(seen.visible)]
    assert answers[0]["faults"] == ["delay"]


@check(
    "allocate-garbage",
    profile="conformance",
    needs=["faults", "npu-node-access", "podresources"],
    source="AliyunContainerService/gpushare-scheduler-extender#80",
    defects=["wrong-device"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_what_a_container_was_given_is_the_device_and_not_only_called_so(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """The device node that a container was given is the node's own device of the id that the kubelet names.

    A kubelet runs a pod whatever the plugin answers. So the first pod is given garbage on purpose, and has to be told
    from a good one by what it sees; the second one is to have the device.
    """
    own = plugin(count=2, faults="Allocate garbage --calls 1")
    own.advertised(2, 2)
    one = container(replace(family, resource=own.resource), cluster.image, 1, stays=True, tell=NUMBERS + TELL)
    made = [created(cluster, namespace, pod(name, one)) for name in ("first", "second")]
    held = [running(cluster, each) for each in made]
    # which of the two came first is the scheduler's
    found = sorted((_wrongs(cluster, each, own) for each in held), key=len)
    assert len(found[1]) == 2, f"A variable and a node that are none pass for the device: {found[1] or 'nothing'}."
    assert not found[0], found[0]


def _is_refused(obj: Object, reason: str, why: str) -> None:
    """The pod was refused by its kubelet for this reason, and says why."""
    status = obj["status"]
    assert (status["phase"], status.get("reason")) == ("Failed", reason), summary(obj)
    assert status["message"].startswith("Pod was rejected: "), status["message"]
    assert why in status["message"], status["message"]


def _kubelet(cluster: Cluster, node: str) -> str:
    """The version of a node's kubelet."""
    return str(cluster.client.get(path_of("Node", None, node))["status"]["nodeInfo"]["kubeletVersion"])


def _wrongs(cluster: Cluster, held: Object, own: OwnPlugin) -> list[str]:
    """What a container was given that is not what its kubelet says: its variable, its node."""
    assert cluster.on_node
    lines = told(cluster.client, held)
    ids = account(cluster, own.node).of(held, own.resource)[CONTAINER]
    visible = frozenset(read_sight(lines).visible)
    seen = sorted(line.removeprefix("numbers ") for line in lines if line.startswith("numbers "))
    paths = [f"/dev/{device}" for device in sorted(ids)]
    there = cluster.on_node(own.node, ["stat", "-c", "%n %F:%t:%T", *paths]).splitlines()
    return [
        *([] if visible == ids else [f"It was told {sorted(visible)}, and the kubelet says {sorted(ids)}."]),
        *([] if seen == there else [f"It sees {seen}, and the node has {there}."]),
    ]
