"""What a plugin is asked beside Allocate: before a container starts, and which devices it would rather give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fixtures.apipaths import path_of
from fixtures.checks import check
from fixtures.client import Object
from fixtures.describe import summary
from fixtures.ownplugin import OwnPlugin
from fixtures.podresources import account
from fixtures.probe import CONTAINER, START_SECONDS, Family, at_end, container, created, end, pod, running, sight
from fixtures.runtime import container_id
from fixtures.targets import Cluster
from fixtures.wait import Predicate, wait_for

BACK_OFF_SECONDS = 90.0
"""For a container that could not be started to be tried again: ten seconds at first, then twice as long each time."""


@check(
    "prestart",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:985",
    defects=["no-pre-start"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_the_plugin_is_called_before_each_start(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A plugin that wants to is called with a container's devices before each of its starts, and Allocate only once."""
    own = plugin(count=2, pre_start_required="true")
    own.advertised(2, 2)
    one = container(replace(family, resource=own.resource), cluster.image, 1, stays=True)
    made = created(cluster, namespace, pod("twice", one, restartPolicy="Always"))
    first = running(cluster, made)
    sight(cluster.client, first)  # it has told, so it can be told to end
    end(cluster, first)
    held = _reached(cluster, made, "the container to run again", _runs_again)
    seen = sight(cluster.client, held)
    assert len(seen.opened) == 1, f"It opened {sorted(seen.opened)}."
    assert account(cluster, own.node).of(held, own.resource) == {CONTAINER: frozenset(seen.visible)}
    calls = [(entry["event"], entry["ids"]) for entry in own.log() if entry["event"] in {"allocated", "pre-start"}]
    ids = list(seen.visible)
    assert calls == [("allocated", ids), ("pre-start", ids), ("pre-start", ids)]


@check(
    "prestart-not-wanted",
    profile="conformance",
    needs=["faults"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:1030",
    defects=["pre-start-forced"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_plugin_that_does_not_want_to_is_not_called(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A plugin that does not say that it wants to be called before a start is not, and the container starts."""
    own = plugin(count=1, faults="PreStartContainer error --message 'not wanted'")
    own.advertised(1, 1)
    one = container(replace(family, resource=own.resource), cluster.image, 1)
    ended = at_end(cluster, created(cluster, namespace, pod("one", one)))
    assert ended["status"]["phase"] == "Succeeded", summary(ended)
    assert len(sight(cluster.client, ended).opened) == 1
    assert "call-failed-by-fault" not in [entry["event"] for entry in own.log()]


@check(
    "prestart-error",
    profile="conformance",
    needs=["faults"],
    source="k8s 1.37.2 pkg/kubelet/kuberuntime/kuberuntime_container.go:257",
    defects=["no-pre-start"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_container_is_not_started_before_the_plugin_is_ready(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A container whose plugin fails before its start waits, says why, and is started once the plugin does not fail."""
    own = plugin(count=1, pre_start_required="true", faults="PreStartContainer error --message 'still warm'")
    own.advertised(1, 1)
    one = container(replace(family, resource=own.resource), cluster.image, 1)
    made = created(cluster, namespace, pod("one", one))
    why = "device plugin PreStartContainer rpc failed with err: rpc error: code = Internal desc = still warm"
    waits = _waits_for("CreateContainerConfigError", why)
    held = _reached(cluster, made, "the container to wait for the plugin", waits)
    (state,) = held["status"]["containerStatuses"]
    assert not state.get("containerID"), "The container was made all the same."
    own.ctl("fault", "clear")
    ended = at_end(cluster, made, timeout=BACK_OFF_SECONDS)
    assert ended["status"]["phase"] == "Succeeded", summary(ended)
    assert len(sight(cluster.client, ended).opened) == 1


@check(
    "alloc-endpoint-stopped",
    profile="conformance",
    needs=["faults", "npu-node-access"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/endpoint.go:121",
    defects=["no-pre-start"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_plugin_that_has_ended_is_waited_for(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A container that has to start while its plugin is away is not started, says why, and is once the plugin is back.

    Seen where a plugin is asked before each start: a new pod never comes to a plugin that is away, as its devices are
    unhealthy then.
    """
    own = plugin(count=1, pre_start_required="true")
    own.advertised(1, 1)
    one = container(replace(family, resource=own.resource), cluster.image, 1, stays=True)
    made = created(cluster, namespace, pod("one", one, restartPolicy="Always"))
    held = running(cluster, made)
    before = sight(cluster.client, held)
    own.stopped()
    own.advertised(1, 0)
    assert cluster.on_node
    cluster.on_node(own.node, ["crictl", "stop", "--timeout", "1", container_id(held, CONTAINER)])
    waits = _waits_for("CreateContainerConfigError", "device plugin PreStartContainer rpc failed with err: endpoint")
    held = _reached(cluster, made, "the container to wait for the plugin", waits)
    assert "has been stopped" in held["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    own.named("again").started().advertised(1, 1)
    held = _reached(cluster, made, "the container to run again", _runs_again, timeout=BACK_OFF_SECONDS)
    assert sight(cluster.client, held) == before


@check(
    "preferred",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:712",
    defects=["no-preference"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_the_devices_that_the_plugin_prefers_are_given(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A plugin that wants to is asked which of the free devices to give, and those that it names are given."""
    own = plugin(count=8)
    own.advertised(8, 8)
    ours = replace(family, resource=own.resource)
    counts = {"three": 3, "two": 2}
    made = [
        created(cluster, namespace, pod(name, container(ours, cluster.image, count, stays=True)))
        for name, count in counts.items()
    ]
    held = [running(cluster, each) for each in made]
    said = account(cluster, own.node)
    given = [said.of(each, own.resource)[CONTAINER] for each in held]
    for each, ids in zip(held, given, strict=True):
        assert frozenset(sight(cluster.client, each).visible) == ids
    calls = [entry for entry in own.log() if entry["event"] in {"preferred", "allocated"}]
    assert [entry["event"] for entry in calls] == ["preferred", "allocated"] * 2
    first, second = calls[0], calls[2]
    assert (first["available"], second["available"]) == (8, 8 - first["size"])
    # by chance a kubelet would give these once in 560 times
    assert {frozenset(entry["ids"]) for entry in (first, second)} == set(given)
    for asked, answered in ((calls[0], calls[1]), (calls[2], calls[3])):
        assert sorted(asked["ids"]) == sorted(answered["ids"])


@check(
    "preferred-unavailable",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:746",
    defects=["no-preference"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_devices_that_are_not_there_are_not_given(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A pod whose plugin prefers devices that are not there gets as many others as it asks for."""
    own = plugin(count=4, faults="GetPreferredAllocation unavailable")
    own.advertised(4, 4)
    two = container(replace(family, resource=own.resource), cluster.image, 2, stays=True)
    held = running(cluster, created(cluster, namespace, pod("two", two)))
    seen = sight(cluster.client, held)
    assert len(seen.opened) == 2, f"It opened {sorted(seen.opened)}."
    assert account(cluster, own.node).of(held, own.resource) == {CONTAINER: frozenset(seen.visible)}
    asked = [entry["ids"] for entry in own.log() if entry["event"] == "preferred"]
    assert asked == [["not-there-0", "not-there-1"]]


@check(
    "preferred-error",
    profile="conformance",
    needs=["faults"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:1070",
    defects=["no-preference", "refusal-hidden"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_plugin_that_cannot_say_what_it_prefers_fails_the_pod(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A pod whose plugin fails when it is asked what it prefers is refused, and the next one gets all devices."""
    own = plugin(count=2, faults="GetPreferredAllocation error --message 'no idea' --calls 1")
    own.advertised(2, 2)
    ours = replace(family, resource=own.resource)
    refused = at_end(cluster, created(cluster, namespace, pod("refused", container(ours, cluster.image, 1))))
    assert refused["status"]["phase"] == "Failed", summary(refused)
    assert refused["status"]["reason"] == "UnexpectedAdmissionError", summary(refused)
    why = "device plugin GetPreferredAllocation rpc failed with err: rpc error: code = Internal desc = no idea"
    assert f"Allocate failed due to {why}, which is unexpected" in refused["status"]["message"]
    both = at_end(cluster, created(cluster, namespace, pod("both", container(ours, cluster.image, 2))))
    assert both["status"]["phase"] == "Succeeded", summary(both)
    assert len(sight(cluster.client, both).opened) == 2


def _reached(
    cluster: Cluster, made: Object, what: str, reached: Predicate, *, timeout: float = START_SECONDS
) -> Object:
    """The pod that was created, once that is true of it."""
    path = path_of("Pod", made["metadata"]["namespace"], made["metadata"]["name"])
    return wait_for(cluster.client, what, path, reached, timeout=timeout, uid=made["metadata"]["uid"])


def _runs_again(obj: Object | None) -> bool:
    states = ((obj or {}).get("status") or {}).get("containerStatuses") or []
    return any(state["restartCount"] > 0 and "running" in state["state"] for state in states)


def _waits_for(reason: str, why: str) -> Predicate:
    """Whether a container of the pod waits for this reason, with such a message."""

    def waits(obj: Object | None) -> bool:
        states = ((obj or {}).get("status") or {}).get("containerStatuses") or []
        found = [state["state"].get("waiting") or {} for state in states]
        return any(one.get("reason") == reason and why in one.get("message", "") for one in found)

    return waits
