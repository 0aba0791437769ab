"""What a restart of a kubelet leaves as it was: the NPUs of the node, and those of its pods.

One restart of one kubelet is made for all of these checks (fixtures/restart.py); each judges a part of what was seen.
"""

from __future__ import annotations

from fixtures.attempt import Attempt
from fixtures.checks import check
from fixtures.client import Object
from fixtures.describe import summary
from fixtures.kubelet import container_id
from fixtures.ownplugin import counts
from fixtures.pods import ready
from fixtures.restart import DELETED, DONE, HELD, KEPT, LATE, REBOOTED, SUCCESSOR, TWICE, Moment, Restart


@check(
    "kubelet-restart-reregister",
    profile="conformance",
    needs=["disruptive", "faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_test.go:357",
    defects=["deaf"],
    verbs=[
        "nodes: get list watch",
        "pods/exec: create get",
        "pods/log: get",
        "pods: create delete get list watch",
    ],
)
def test_a_kubelet_that_restarts_has_its_npus_back(kubelet_restart: tuple[Restart, Attempt[Object]]) -> None:
    """A node whose kubelet restarts has its NPUs to give again, as its plugins notice that and register anew."""
    seen, whole = kubelet_restart
    seen.registered.result()
    # a node may name for a moment what the kubelet had before: it has an NPU that it gives
    assert _given(seen, seen.successor.result()), "It names its NPUs, and gives none."
    whole.result()


@check(
    "kubelet-restart-no-plugin",
    profile="conformance",
    needs=["disruptive", "faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_manager_test.go:285",
    defects=["npus-never-lost"],
    verbs=[
        "nodes: get list watch",
        "pods/exec: create get",
        "pods/log: get",
        "pods: create delete get list watch",
    ],
)
def test_a_kubelet_that_restarts_has_no_npus_of_a_plugin_that_is_away(
    kubelet_restart: tuple[Restart, Attempt[Object]],
) -> None:
    """A node whose kubelet restarts while a plugin is away has none of its NPUs, until it is back."""
    seen, _ = kubelet_restart
    seen.without.result()
    assert counts(seen.node_after, seen.late) == (0, 0), "They came back without the plugin."
    seen.returned.result()


@check(
    "keep-kubelet-restart",
    profile="conformance",
    needs=["disruptive", "faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_test.go:357",
    defects=["containers-end-with-the-kubelet", "devices-forgotten-at-restart"],
    verbs=[
        "nodes: get list watch",
        "pods/exec: create get",
        "pods/log: get",
        "pods: create delete get list watch",
    ],
)
def test_a_pod_keeps_its_npu_through_a_restart_of_the_kubelet(
    kubelet_restart: tuple[Restart, Attempt[Object]],
) -> None:
    """A pod goes on through a restart of its kubelet, with the NPU that it had."""
    seen, _ = kubelet_restart
    _unchanged(seen, seen.after, HELD, seen.kept)


@check(
    "keep-both",
    profile="conformance",
    needs=["disruptive", "faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_test.go:411",
    defects=["containers-end-with-the-kubelet", "devices-forgotten-at-restart"],
    verbs=[
        "nodes: get list watch",
        "pods/exec: create get",
        "pods/log: get",
        "pods: create delete get list watch",
    ],
)
def test_a_container_that_restarted_keeps_its_npu_through_a_restart_of_the_kubelet(
    kubelet_restart: tuple[Restart, Attempt[Object]],
) -> None:
    """A container that has restarted goes on through a restart of its kubelet, with the NPU that it had."""
    seen, _ = kubelet_restart
    _unchanged(seen, seen.after, TWICE, seen.kept)


@check(
    "keep-plugin-late",
    profile="conformance",
    needs=["disruptive", "faults", "podresources"],
    source="kubernetes/kubernetes#118559",
    defects=["containers-end-with-the-kubelet", "devices-forgotten-at-restart"],
    verbs=[
        "nodes: get list watch",
        "pods/exec: create get",
        "pods/log: get",
        "pods: create delete get list watch",
    ],
)
def test_a_pod_keeps_its_npu_when_the_plugin_comes_late(kubelet_restart: tuple[Restart, Attempt[Object]]) -> None:
    """A pod goes on through a restart of its kubelet, with the NPU that it had, when the plugin starts only later."""
    seen, _ = kubelet_restart
    seen.returned.result()
    _unchanged(seen, seen.last, LATE, seen.late)


@check(
    "succeeded-existing-over-allocatable",
    profile="conformance",
    needs=["disruptive", "faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:1078",
    defects=["containers-end-with-the-kubelet"],
    verbs=[
        "nodes: get list watch",
        "pods/exec: create get",
        "pods/log: get",
        "pods: create delete get list watch",
    ],
)
def test_a_running_pod_passes_a_restart_of_the_kubelet_without_its_plugin(
    kubelet_restart: tuple[Restart, Attempt[Object]],
) -> None:
    """A pod that runs is let in by a kubelet that restarts and has no NPU to give, as the plugin is away."""
    seen, _ = kubelet_restart
    # that the kubelet judged pods without the plugin
    assert _rejected(seen.refused.result())
    seen.without.result()
    _the_same(seen.before.pods[LATE], seen.after)


@check(
    "keep-kubelet-and-plugin",
    profile="conformance",
    needs=["disruptive", "faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_test.go:579",
    defects=["containers-end-with-the-kubelet", "devices-forgotten-at-restart"],
    verbs=[
        "nodes: get list watch",
        "pods/exec: create get",
        "pods/log: get",
        "pods: create delete get list watch",
    ],
)
def test_pods_keep_their_npus_when_kubelet_and_plugin_restart(
    kubelet_restart: tuple[Restart, Attempt[Object]],
) -> None:
    """Pods go on through a restart of their kubelet and then of the plugin, with the NPUs that they had."""
    seen, _ = kubelet_restart
    seen.registered.result()
    seen.recovered.result()
    for name in KEPT:
        _unchanged(seen, seen.last, name, seen.kept)


@check(
    "plugin-crash",
    profile="conformance",
    needs=["disruptive", "faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_failures_test.go:345",
    defects=["npus-never-lost"],
    verbs=[
        "nodes: get list watch",
        "pods/exec: create get",
        "pods/log: get",
        "pods: create delete get list watch",
    ],
)
def test_a_plugin_that_is_killed_is_replaced(kubelet_restart: tuple[Restart, Attempt[Object]]) -> None:
    """A plugin that is killed and leaves its socket behind has no NPU to give, and the next one has all of them."""
    seen, _ = kubelet_restart
    (status,) = seen.killed["status"]["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 128 + 9, summary(seen.killed)
    left = [name for name in seen.sockets if name.startswith(seen.kept.replace("/", "_"))]
    assert left, f"It took its socket with it; there are {sorted(seen.sockets)}."
    seen.crashed.result()
    seen.recovered.result()


@check(
    "restart-plugin-stuck",
    profile="conformance",
    needs=["disruptive", "faults", "podresources"],
    source="kubernetes/kubernetes#129249",
    defects=["deaf", "pods-without-npus-held"],
    verbs=[
        "nodes: get list watch",
        "pods/exec: create get",
        "pods/log: get",
        "pods: create delete get list watch",
    ],
)
def test_a_plugin_that_hangs_holds_nobody_up(kubelet_restart: tuple[Restart, Attempt[Object]]) -> None:
    """A plugin that hangs as a kubelet that restarted asks for its options holds up no other plugin, and no pod."""
    seen, _ = kubelet_restart
    seen.plain.result()
    seen.registered.result()
    seen.successor.result()


@check(
    "succeeded-not-readmitted",
    profile="conformance",
    needs=["disruptive", "faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_test.go:473",
    defects=["ended-pods-judged-again"],
    verbs=[
        "nodes: get list watch",
        "pods/exec: create get",
        "pods/log: get",
        "pods: create delete get list watch",
    ],
)
def test_a_pod_that_has_succeeded_is_not_judged_again(kubelet_restart: tuple[Restart, Attempt[Object]]) -> None:
    """A pod that has succeeded stays so through a restart of its kubelet, though its NPU's plugin is away."""
    seen, _ = kubelet_restart
    # that the kubelet judged a younger pod of the same resource without the plugin, so that it has come past this one
    assert _rejected(seen.refused.result())
    done = seen.last.pods[DONE]
    assert done["metadata"]["uid"] == seen.before.pods[DONE]["metadata"]["uid"]
    assert done["status"]["phase"] == "Succeeded", summary(done)
    assert not seen.last.ids(DONE, seen.late)


@check(
    "release-deleted-kubelet-down",
    profile="conformance",
    needs=["disruptive", "faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_test.go:644",
    defects=["forced-deletion-ignored"],
    verbs=[
        "nodes: get list watch",
        "pods/exec: create get",
        "pods/log: get",
        "pods: create delete get list watch",
    ],
)
def test_a_pod_deleted_without_a_kubelet_gives_its_npu_back(kubelet_restart: tuple[Restart, Attempt[Object]]) -> None:
    """A pod that is deleted while its kubelet is away ends with the kubelet's return, and gives its NPU to the next."""
    seen, _ = kubelet_restart
    held = seen.before.ids(DELETED, seen.kept)
    assert len(held) == 1, f"It held {sorted(held)}."
    assert DELETED not in seen.after.pods, "The API server still has it."
    assert seen.vanished, "Its container still runs."
    seen.successor.result()
    assert not [name for name in seen.after.account.held if name.endswith(f"/{DELETED}")]
    assert seen.after.ids(SUCCESSOR, seen.kept) == held
    assert frozenset(seen.sights[SUCCESSOR].visible) == held


@check(
    "pr-topology-after-restart",
    profile="conformance",
    needs=["disruptive", "faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/podresources_test.go:1948",
    defects=["topology-invented"],
    verbs=[
        "nodes: get list watch",
        "pods/exec: create get",
        "pods/log: get",
        "pods: create delete get list watch",
    ],
)
def test_an_npu_without_topology_has_none(kubelet_restart: tuple[Restart, Attempt[Object]]) -> None:
    """An NPU without topology has none in what a kubelet says of it, before and after a restart of the kubelet."""
    seen, _ = kubelet_restart
    for moment in (seen.before, seen.after):
        entries = [entry for entry in _devices(moment) if entry["resource_name"] == seen.kept]
        held = {name for name in (*KEPT, DELETED, SUCCESSOR) if moment.ids(name, seen.kept)}
        assert len(held) >= len(KEPT), f"Only {sorted(held)} hold one."
        assert len(entries) > len(held), "GetAllocatableResources names none."
        topologies = [entry["topology"] for entry in entries if entry.get("topology")]
        assert not topologies, f"It names {topologies[0]}."


def _devices(moment: Moment) -> list[Object]:
    """Every entry of a device in what the kubelet says, of pods and of what can be given."""
    answer = moment.account.raw
    containers = [one for pod in answer["pods"].get("pod_resources") or [] for one in pod.get("containers") or []]
    return [entry for one in (*containers, answer["allocatable"]) for entry in one.get("devices") or []]


def _unchanged(seen: Restart, moment: Moment, name: str, resource: str) -> None:
    """The pod of before still runs at that moment, with the NPU that it then had, as it sees and the kubelet says."""
    _the_same(seen.before.pods[name], moment)
    held = seen.before.ids(name, resource)
    assert len(held) == 1, f"It held {sorted(held)} before."
    assert moment.ids(name, resource) == held, f"The kubelet says that it holds {sorted(moment.ids(name, resource))}."
    sight = seen.sights[name]
    assert frozenset(sight.visible) == held, f"It was told {sight.visible}, and the kubelet says {sorted(held)}."
    assert len(sight.opened) == 1


def _the_same(before: Object, moment: Moment) -> None:
    """The pod at that moment is that of before, with the container of before, and is ready."""
    now = moment.pods[before["metadata"]["name"]]
    assert now["metadata"]["uid"] == before["metadata"]["uid"]
    assert now["status"]["phase"] == "Running", summary(now)
    assert container_id(now) == container_id(before), f"It has another container: {summary(now)}"
    assert ready(now), summary(now)


def _given(seen: Restart, pod: Object) -> bool:
    name = pod["metadata"]["name"]
    return len(seen.sights[name].opened) == 1 and frozenset(seen.sights[name].visible) == seen.last.ids(name, seen.kept)


def _rejected(pod: Object) -> bool:
    """Whether the kubelet did not let in the pod that lost its sandbox."""
    assert pod["metadata"]["name"] == REBOOTED
    return bool(pod["status"].get("reason") == "UnexpectedAdmissionError")
