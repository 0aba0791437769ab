"""What a container is given with its NPUs, and for how long: from Allocate to release."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fixtures.apipaths import path_of
from fixtures.checkfixtures import Share
from fixtures.checks import check
from fixtures.client import Object
from fixtures.describe import summary
from fixtures.ownplugin import OwnPlugin
from fixtures.podresources import account
from fixtures.probe import CONTAINER, START_SECONDS, Family, container, created, end, pod, running, sight, told
from fixtures.runtime import inspected
from fixtures.targets import Cluster
from fixtures.wait import wait_for

ANNOTATION = "npu-conformance/devices"
"""Of a container in the runtime, as the fake NPU's plugin answers it: ids, comma between."""
FACTS = """
for file in /run/npu/*.json; do
  test -e "$file" || continue
  echo "file ${file##*/} $(cat "$file")"
  if (: >> "$file") 2>/dev/null; then echo "writable $file"; fi
done
echo end
"""
"""Prints what the fake NPU's plugin mounts: a file a device."""


@check(
    "alloc-basic",
    profile="conformance",
    needs=["podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_test.go:228",
    defects=[
        "all-devices",
        "allocates-never",
        "garbage",
        "no-node",
        "no-variable",
        "npus-ignored",
        "podresources-empty",
    ],
    verbs=["pods: create delete get list watch", "pods/log: get"],
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
    defects=[
        "all-devices",
        "allocates-never",
        "allocates-once",
        "device-held-twice",
        "garbage",
        "no-variable",
        "npus-ignored",
        "other-device-after-restart",
        "podresources-empty",
        "same-device",
    ],
    verbs=["pods: create delete get list watch", "pods/log: get"],
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
    ids = [said.of(each, family.resource).get(CONTAINER, frozenset()) for each in held]
    assert [len(each) for each in ids] == [1, 1], f"The kubelet gave {[sorted(each) for each in ids]}."
    assert not ids[0] & ids[1], f"The kubelet gave {sorted(ids[0] & ids[1])} to both."
    assert ids == [frozenset(each.visible) for each in seen]


@check(
    "alloc-mounts",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/pod_devices.go:312",
    defects=["no-facts"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_what_the_plugin_mounts_is_in_the_container(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """What the plugin mounts, read-only, is in the container that asked for the NPU, and not in the one beside it."""
    own = plugin(count=2)
    own.advertised(2, 2)
    ours = replace(family, resource=own.resource)
    asking = container(ours, cluster.image, 1, tell=FACTS, stays=True)
    beside = container(ours, cluster.image, tell=FACTS, stays=True, name="beside")
    held = running(cluster, created(cluster, namespace, pod("one", asking, beside)))
    lines = told(cluster.client, held)
    said = account(cluster, own.node).of(held, own.resource)
    assert len(lines) == 1, f"It sees {lines}, and the plugin mounts one file, read-only."
    file, name, facts = lines[0].split(" ", 2)
    assert file == "file", f"It can write to {name}."
    assert said == {CONTAINER: frozenset({name.removesuffix(".json")})}
    assert own.node in facts, f"{name} is of another node: {facts}."
    assert told(cluster.client, held, "beside") == []


@check(
    "alloc-envs-devices-annotations",
    profile="conformance",
    needs=["faults", "npu-node-access", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/pod_devices.go:280",
    defects=["annotation-dropped", "mknod-allowed", "no-node", "no-variable"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_variable_device_and_annotation_of_the_plugin_reach_the_container(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A variable, a device node with its permissions and an annotation that the plugin answers are the container's.

    The annotation is the container's in the runtime; the pod's own annotations stay as they are.
    """
    own = plugin(count=1)
    own.advertised(1, 1)
    one = container(replace(family, resource=own.resource), cluster.image, 1, stays=True)
    held = running(cluster, created(cluster, namespace, pod("one", one)))
    seen = sight(cluster.client, held)
    said = account(cluster, own.node).of(held, own.resource)
    assert said == {CONTAINER: frozenset(seen.visible)}, f"It was told {seen.visible}, and the kubelet says {said}."
    assert len(seen.visible) == len(seen.opened) == 1, f"It was told {seen.visible}, and opened {sorted(seen.opened)}."
    info = inspected(cluster, held, CONTAINER)["info"]
    annotation = info["config"].get("annotations", {}).get(ANNOTATION)
    assert annotation == seen.visible[0], f"The runtime was told {annotation} for the annotation {ANNOTATION}."
    assert ANNOTATION not in held["metadata"].get("annotations", {})
    assert seen.nodes == seen.opened
    (path,) = seen.nodes
    permissions = _permissions(info["runtimeSpec"], path)
    assert permissions == "rw", f"The container may {permissions or 'do nothing'} to {path}, and the plugin says rw."


@check(
    "alloc-cdi",
    profile="conformance",
    needs=["faults", "npu-node-access", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_test.go:289",
    defects=["no-node"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_cdi_device_of_the_plugin_is_applied(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A container whose plugin answers the name of a CDI device gets exactly the nodes and mounts of that device."""
    own = plugin(count=2, cdi="true")
    own.advertised(2, 2)
    one = container(replace(family, resource=own.resource), cluster.image, 1, stays=True)
    held = running(cluster, created(cluster, namespace, pod("one", one)))
    seen = sight(cluster.client, held)
    said = account(cluster, own.node).of(held, own.resource)
    assert said == {CONTAINER: frozenset(seen.visible)}, f"It was told {seen.visible}, and the kubelet says {said}."
    (device,) = seen.visible
    info = inspected(cluster, held, CONTAINER)["info"]
    names = [each["name"] for each in info["config"].get("CDI_devices", [])]
    assert names == [f"{own.resource}={device}"], f"The runtime was told the CDI devices {names}."
    assert not info["config"].get("devices"), "The plugin handed a node over beside the CDI device."
    assert len(seen.opened) == 1, f"It opened {sorted(seen.opened)} of {sorted(seen.nodes)}."
    assert seen.nodes == seen.opened
    mounted = [mount["destination"] for mount in info["runtimeSpec"]["mounts"]]
    assert f"/run/npu/{device}.json" in mounted


@check(
    "alloc-init-reuse",
    profile="conformance",
    needs=["podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_test.go:693",
    defects=["all-devices", "podresources-empty", "same-device"],
    verbs=["pods: create delete get list watch", "pods/log: get"],
)
def test_an_init_containers_npu_goes_on_to_the_sidecar(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """An init container's NPU is given on to the sidecar after it, and the container beside that has another one."""
    share = npus(2)
    init = container(family, cluster.image, 1, name="init")
    sidecar = container(family, cluster.image, 1, stays=True, name="sidecar", restartPolicy="Always")
    app = container(family, cluster.image, 1, stays=True)
    wanted = pod("one", app, node=share.node, initContainers=[init, sidecar])
    held = running(cluster, created(cluster, namespace, wanted))
    seen = {name: sight(cluster.client, held, name) for name in ("init", "sidecar", CONTAINER)}
    said = account(cluster, share.node).of(held, family.resource)
    for name, each in seen.items():
        assert len(each.opened) == 1, f"The container {name} opened {sorted(each.opened)}."
        assert each.nodes == each.opened, f"The container {name} sees {sorted(each.nodes)}."
    assert seen["init"] == seen["sidecar"]
    assert seen["sidecar"].nodes != seen[CONTAINER].nodes, f"Sidecar and container share {seen[CONTAINER].visible}."
    # the init container has ended: the kubelet names it no more
    assert said == {name: frozenset(seen[name].visible) for name in ("sidecar", CONTAINER)}


@check(
    "keep-container-restart",
    profile="conformance",
    needs=["podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_test.go:301",
    defects=["other-device-after-restart"],
    verbs=["pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_container_that_restarts_keeps_its_npu(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """A container that ends and is started again has the NPU that it had, and the pod beside it keeps its own."""
    share = npus(2)
    stays = container(family, cluster.image, 1, stays=True)
    asked = [pod("again", stays, node=share.node, restartPolicy="Always"), pod("beside", stays, node=share.node)]
    held, beside = (running(cluster, one) for one in [created(cluster, namespace, manifest) for manifest in asked])
    # what it told is read while it runs: the kubelet may remove a container that has ended, and its log, at any time
    before = sight(cluster.client, held)
    end(cluster, held)
    what, path = "the container to run for the second time", path_of("Pod", namespace, "again")
    held = wait_for(cluster.client, what, path, _runs_again, timeout=START_SECONDS)
    after = sight(cluster.client, held)
    assert before == after, f"It had {before}, and has {after} now."
    assert len(after.opened) == 1, f"It opened {sorted(after.opened)}."
    other = sight(cluster.client, beside)
    assert not other.nodes & after.nodes
    said = account(cluster, share.node)
    assert said.of(held, family.resource) == {CONTAINER: frozenset(after.visible)}
    assert said.of(beside, family.resource) == {CONTAINER: frozenset(other.visible)}
    untouched = cluster.client.get(path_of("Pod", namespace, "beside"))
    assert untouched["status"]["containerStatuses"][0]["restartCount"] == 0, summary(untouched)


def _runs_again(obj: Object | None) -> bool:
    states = ((obj or {}).get("status") or {}).get("containerStatuses") or []
    return any(state["restartCount"] == 1 and "running" in state["state"] for state in states)


def _permissions(spec: Object, path: str) -> str:
    """What the device cgroup of a container lets it do to a device node."""
    linux = spec["linux"]
    numbers = [(node["type"], node["major"], node["minor"]) for node in linux["devices"] if node["path"] == path]
    rules = [
        rule["access"]
        for rule in linux["resources"]["devices"]
        if rule["allow"] and (rule.get("type"), rule.get("major"), rule.get("minor")) in numbers
    ]
    return "".join(sorted(set("".join(rules))))
