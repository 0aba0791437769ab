"""What a node and its pods see of it when a device plugin is restarted, replaced, or has a second one beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fixtures.apipaths import path_of
from fixtures.checks import check
from fixtures.client import Object
from fixtures.describe import summary
from fixtures.history import History, history_of
from fixtures.ownplugin import OwnPlugin, counts, daemonset
from fixtures.podresources import account
from fixtures.pods import unscheduled
from fixtures.probe import CONTAINER, Family, container, created, pod, running, sight
from fixtures.targets import Cluster
from fixtures.upstream import known_upstream
from fixtures.wait import wait_for, wait_for_all

TRIES = "30"
"""Of a registration that is refused until a check lets it be right: more than a check takes."""
ROLLOUT_SECONDS = 90.0
ENDS_FOR_BOTH = ("kubernetes/kubernetes#121994", "1.25..1.36")
"""These kubelets know one plugin of a resource: the end of the first is taken for that of the second."""


def holder(cluster: Cluster, family: Family, plugin: OwnPlugin, name: str) -> tuple[Object, frozenset[str]]:
    """A running pod with one of the plugin's devices, and the device's id as pod and kubelet say it together."""
    asked = pod(name, container(replace(family, resource=plugin.resource), cluster.image, 1, stays=True))
    held = running(cluster, created(cluster, plugin.namespace, asked))
    ids = frozenset(sight(cluster.client, held).visible)
    said = account(cluster, plugin.node).of(held, plugin.resource)
    assert len(ids) == 1, f"{name} was told {sorted(ids)}."
    assert said == {CONTAINER: ids}, f"{name} was told {sorted(ids)}, and the kubelet says {said}."
    return held, ids


def assert_holds(cluster: Cluster, plugin: OwnPlugin, held: Object, ids: frozenset[str]) -> None:
    """The pod has run all the time, and the kubelet still says that these ids are its."""
    now = cluster.client.get(path_of("Pod", plugin.namespace, held["metadata"]["name"]))
    assert now["metadata"]["uid"] == held["metadata"]["uid"]
    assert now["status"]["phase"] == "Running", summary(now)
    assert [each["restartCount"] for each in now["status"]["containerStatuses"]] == [0]
    assert account(cluster, plugin.node).of(held, plugin.resource) == {CONTAINER: ids}


def changes(history: History, plugin: OwnPlugin) -> list[tuple[int, int]]:
    """Capacity and allocatable of the plugin's resource, one after the other."""
    seen: list[tuple[int, int]] = []
    for _, state in history.states:
        now = counts(state, plugin.resource)
        if not seen or seen[-1] != now:
            seen.append(now)
    return seen


def kubelet(node: Object) -> str:
    """The version of a node's kubelet."""
    return str(node["status"]["nodeInfo"]["kubeletVersion"])


def waiting(cluster: Cluster, family: Family, plugin: OwnPlugin, name: str) -> Object:
    """A pod that asks for one of the plugin's devices, for which the scheduler has found no node."""
    made = created(
        cluster,
        plugin.namespace,
        pod(name, container(replace(family, resource=plugin.resource), cluster.image, 1, stays=True)),
    )
    path, uid = path_of("Pod", plugin.namespace, name), made["metadata"]["uid"]
    return wait_for(cluster.client, f"{name} to find no node", path, unscheduled, timeout=30, uid=uid)


def taken(second: OwnPlugin) -> None:
    """The kubelet has let in a second plugin at once, and watches its devices too."""
    said = second.has_said("stream-opened", "register-refused")
    assert said["event"] == "stream-opened", f"The kubelet refuses a second plugin: {said['answer']}."


def rolled_out(cluster: Cluster, fleet: OwnPlugin) -> None:
    """The DaemonSet's one pod is of its newest version and ready, and no other is there any more."""

    def done(found: Object | None) -> bool:
        status = (found or {}).get("status") or {}
        return (
            found is not None
            and status.get("observedGeneration", 0) >= found["metadata"]["generation"]
            and [status.get(key) for key in ("desiredNumberScheduled", "updatedNumberScheduled", "numberReady")]
            == [1, 1, 1]
        )

    path = path_of("DaemonSet", fleet.namespace, fleet.name)
    wait_for(cluster.client, f"{fleet.name} to be rolled out", path, done, timeout=ROLLOUT_SECONDS)
    wait_for_all(
        cluster.client,
        f"one pod of {fleet.name} to be left",
        path_of("Pod", fleet.namespace),
        lambda pods: len(pods) == 1,
        labels=f"app={fleet.name}",
        timeout=ROLLOUT_SECONDS,
    )


@check(
    "restart-plugin-reregister",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_test.go:526",
    defects=["unhealthy-stays-allocatable"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_plugin_that_restarts_has_its_npus_back(
    cluster: Cluster, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A plugin that is killed and started again has its NPUs back, pods keep theirs, and the next gets another."""
    killed = plugin(count=2)
    killed.advertised(2, 2)
    held, ids = holder(cluster, family, killed, "held")
    killed.stopped()
    killed.advertised(2, 0)
    killed.started().advertised(2, 2)
    assert_holds(cluster, killed, held, ids)
    _, others = holder(cluster, family, killed, "next")
    assert not ids & others, f"Both have {sorted(ids)}."


@check(
    "multi-plugin-rollout",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_multiple_test.go:145",
    defects=["npus-lost-at-takeover"],
    verbs=["nodes: get list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_one_plugin_takes_over_from_another(cluster: Cluster, family: Family, plugin: Callable[..., OwnPlugin]) -> None:
    """One plugin takes over from another: the node's NPUs stay, and pods start before, beside and after."""
    old = plugin(count=3)
    node = old.advertised(3, 3)
    with history_of(cluster.client, path_of("Node", None, node["metadata"]["name"])) as history:
        held = [holder(cluster, family, old, "before")]
        new = old.named("new").started()
        taken(new)
        held.append(holder(cluster, family, old, "beside"))
        old_log = old.log()
        with known_upstream(*ENDS_FOR_BOTH, seen=kubelet(node)):
            old.stopped()
            held.append(holder(cluster, family, old, "after"))
            history.caught_up()
            assert changes(history, old) == [(3, 3)]
    assert len(frozenset[str]().union(*(ids for _, ids in held))) == 3, f"Of 3 NPUs these were given: {held}."
    for each, ids in held:
        assert_holds(cluster, new, each, ids)
    served = [[entry["event"] for entry in log].count("allocated") for log in (old_log, new.log())]
    assert served == [1, 2], f"The old plugin allocated {served[0]} times, the new one {served[1]} times."


@check(
    "multi-plugin-slow-dp2",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_multiple_test.go:199",
    defects=["every-registration-taken"],
    verbs=["nodes: get list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_second_plugin_that_fails_does_not_disturb_the_first(
    cluster: Cluster, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A second plugin that is refused leaves the first to serve, and can take over once it is let in."""
    first = plugin(count=2)
    node = first.advertised(2, 2)
    with history_of(cluster.client, path_of("Node", None, node["metadata"]["name"])) as history:
        second = first.named("second", faults="GetDevicePluginOptions error", register_attempts=TRIES).started()
        said = second.has_said("registered", "register-refused")
        assert said["event"] == "register-refused", "The kubelet let in a plugin that does not tell its options."
        one, ids = holder(cluster, family, first, "one")
        second.ctl("fault", "clear")
        said = second.has_said("stream-opened", "plugin-failed")
        assert said["event"] == "stream-opened", f"The kubelet went on refusing it: {said['reason']}."
        assert [entry["event"] for entry in first.log()].count("allocated") == 1
        with known_upstream(*ENDS_FOR_BOTH, seen=kubelet(node)):
            first.stopped()
            _, others = holder(cluster, family, first, "two")
            history.caught_up()
            assert changes(history, first) == [(2, 2)]
    assert not ids & others, f"Both have {sorted(ids)}."
    assert_holds(cluster, second, one, ids)


@check(
    "multi-plugin-dp2-gone",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_multiple_test.go:271",
    defects=["npus-lost-at-takeover"],
    verbs=["nodes: get list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_second_plugin_that_goes_leaves_the_first_in_charge(
    cluster: Cluster, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A second plugin that registers and goes leaves the first in charge: no NPU is missed, and a pod gets one."""
    first = plugin(count=2)
    node = first.advertised(2, 2)
    with history_of(cluster.client, path_of("Node", None, node["metadata"]["name"])) as history:
        second = first.named("second").started()
        taken(second)
        with known_upstream(*ENDS_FOR_BOTH, seen=kubelet(node)):
            second.stopped()
            holder(cluster, family, first, "held")
            history.caught_up()
            assert changes(history, first) == [(2, 2)]
    assert [entry["event"] for entry in first.log()].count("allocated") == 1


@check(
    "upgrade-with-gap",
    profile="conformance",
    needs=["faults", "podresources"],
    source="kubernetes/kubernetes#63630",
    defects=["unhealthy-stays-allocatable"],
    verbs=["nodes: get list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_an_upgrade_with_a_gap_lets_pods_wait(
    cluster: Cluster, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A plugin that is replaced with a gap lets new pods wait until the next one is there, and running pods run on."""
    old = plugin(count=2)
    node = old.advertised(2, 2)
    held, ids = holder(cluster, family, old, "held")
    with history_of(cluster.client, path_of("Node", None, node["metadata"]["name"])) as history:
        old.stopped(grace=5)
        old.advertised(2, 0)
        assert not account(cluster, old.node).allocatable.get(old.resource)
        waits = waiting(cluster, family, old, "waits")
        new = old.named("new", preferred_allocation="false").started()
        served = running(cluster, waits)
        new.advertised(2, 2)
    assert changes(history, old) == [(2, 2), (2, 0), (2, 2)]
    assert_holds(cluster, new, held, ids)
    given = account(cluster, new.node).of(served, new.resource)[CONTAINER]
    assert given == frozenset(sight(cluster.client, served).visible)
    assert not given & ids, f"Both have {sorted(ids)}."


@check(
    "upgrade-without-gap",
    profile="conformance",
    needs=["faults", "podresources"],
    source="kubernetes/kubernetes#63630",
    defects=["npus-lost-at-takeover"],
    verbs=[
        "daemonsets.apps: create delete get list patch watch",
        "nodes: get list watch",
        "pods: create delete get list watch",
        "pods/exec: create get",
        "pods/log: get",
    ],
)
def test_an_upgrade_without_a_gap_is_not_noticed(
    cluster: Cluster, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A DaemonSet of plugins that is rolled out with maxSurge never lets the node's NPUs go, nor its pods'."""
    fleet = plugin(count=2, name="fleet", starts=False)
    sets = path_of("DaemonSet", fleet.namespace)
    cluster.client.create(sets, daemonset(fleet, maxSurge=1, maxUnavailable=0))
    node = fleet.advertised(2, 2)
    rolled_out(cluster, fleet)
    held, ids = holder(cluster, family, fleet, "held")
    with history_of(cluster.client, path_of("Node", None, node["metadata"]["name"])) as history:
        env = [{"name": "FAKE_NPU_PREFERRED_ALLOCATION", "value": "false"}]
        template = {"spec": {"containers": [{"name": "plugin", "env": env}]}}
        strategic = "application/strategic-merge-patch+json"
        with known_upstream(*ENDS_FOR_BOTH, seen=kubelet(node)):
            cluster.client.patch(f"{sets}/{fleet.name}", {"spec": {"template": template}}, strategic)
            rolled_out(cluster, fleet)
            _, others = holder(cluster, family, fleet, "next")
            history.caught_up()
            assert changes(history, fleet) == [(2, 2)]
    assert_holds(cluster, fleet, held, ids)
    assert not ids & others, f"Both have {sorted(ids)}."
