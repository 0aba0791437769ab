"""The kubelet's own account of devices: its podresources API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from fixtures.apipaths import path_of
from fixtures.checkfixtures import Share
from fixtures.checks import check
from fixtures.describe import summary
from fixtures.errors import HarnessError
from fixtures.ownplugin import OwnPlugin
from fixtures.podresources import Account, account, alone, refusals
from fixtures.probe import CONTAINER, ENDS, START_SECONDS, Family, at_end, container, created, end, pod, running, sight
from fixtures.process import ProgramError
from fixtures.targets import Cluster
from fixtures.wait import gone, wait_for

TIMES = 1000
"""How often the kubelet is asked without a pause; each time for two accounts, List and GetAllocatableResources."""
RATE = 100.0
"""Calls a second that a kubelet answers (pkg/kubelet/apis/podresources/constants.go)."""
BURST = 10
"""Calls that it answers at once before it looks at the rate."""


@check(
    "pr-list",
    profile="conformance",
    needs=["podresources"],
    source="k8s 1.37.2 test/e2e_node/podresources_test.go:533",
    defects=["podresources-empty", "podresources-holders-only", "podresources-remembers"],
    verbs=["pods/log: get", "pods: create delete get list watch"],
)
def test_the_kubelet_lists_each_pod_and_its_npus(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """List names a pod with its NPU and a pod without any from when they run, and the one that is deleted no more."""
    share = npus(1)
    assert not _listed(account(cluster, share.node), namespace)
    asked = {name: container(family, cluster.image, count, stays=True) for name, count in (("holder", 1), ("other", 0))}
    made = [created(cluster, namespace, pod(name, one, node=share.node)) for name, one in asked.items()]
    holder, other = (running(cluster, each) for each in made)
    ids = frozenset(sight(cluster.client, holder).visible)
    listed = _listed(account(cluster, share.node), namespace)
    assert listed == {"holder": {CONTAINER: {family.resource: ids}}, "other": {CONTAINER: {}}}
    assert len(ids) == 1
    path = path_of("Pod", namespace, "holder")
    cluster.client.delete(path, uid=holder["metadata"]["uid"])
    wait_for(cluster.client, "holder to be gone", path, gone, timeout=START_SECONDS, uid=holder["metadata"]["uid"])
    assert _listed(account(cluster, share.node), namespace) == {"other": {CONTAINER: {}}}, summary(other)


@check(
    "pr-list-terminal",
    profile="conformance",
    needs=["podresources"],
    source="k8s 1.37.2 test/e2e_node/podresources_test.go:1387",
    defects=["podresources-empty", "podresources-remembers"],
    verbs=["pods/exec: create get", "pods: create delete get list watch"],
)
def test_the_kubelet_lists_no_pod_that_has_ended(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """List names pods that hold NPUs while they run, and no more once they have succeeded or failed."""
    share = npus(2)
    made = []
    for name, status in (("succeeds", 0), ("fails", 1)):
        asking = container(family, cluster.image, 1, command=["sh", "-c", ENDS.format(status=status)])
        made.append(created(cluster, namespace, pod(name, asking, node=share.node)))
    for each in made:
        running(cluster, each)
    before = account(cluster, share.node)
    for each in made:
        held = before.of(each, family.resource)
        assert [len(ids) for ids in held.values()] == [1], f"{each['metadata']['name']} holds {held}."
        end(cluster, each)
    phases = [at_end(cluster, each)["status"]["phase"] for each in made]
    assert phases == ["Succeeded", "Failed"]
    after = _listed(account(cluster, share.node), namespace)
    assert not after, f"Both have ended, and the kubelet still lists {sorted(after)}."


@check(
    "pr-init",
    profile="conformance",
    needs=["podresources"],
    source="k8s 1.37.2 test/e2e_node/podresources_test.go:462",
    defects=["podresources-lists-init", "podresources-without-sidecars"],
    verbs=["pods/log: get", "pods: create delete get list watch"],
)
def test_the_kubelet_lists_init_containers_that_stay(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """List names an init container that goes on, with its NPU as any container's, and none that has ended."""
    share = npus(2)
    first = container(family, cluster.image, 1, name="init")
    beside = container(family, cluster.image, 1, stays=True, name="beside", restartPolicy="Always")
    main = container(family, cluster.image, 1, stays=True)
    made = created(cluster, namespace, pod("both", main, node=share.node, initContainers=[first, beside]))
    held = running(cluster, made)
    ids = {name: frozenset(sight(cluster.client, held, name).visible) for name in ("beside", CONTAINER)}
    listed = _listed(account(cluster, share.node), namespace)
    assert listed == {"both": {name: {family.resource: its} for name, its in ids.items()}}
    assert [len(its) for its in ids.values()] == [1, 1]


@check(
    "pr-get",
    profile="conformance",
    needs=["podresources"],
    source="k8s 1.37.2 test/e2e_node/podresources_test.go:911",
    defects=["podresources-get-empty"],
    verbs=["pods/log: get", "pods: create delete get list watch"],
)
def test_the_kubelet_says_of_a_pod_what_it_lists(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """Get says of a pod what List says, and knows neither a pod that has ended nor one that never was."""
    share = npus(1)
    holder = container(family, cluster.image, 1, stays=True)
    made = [
        created(cluster, namespace, pod(name, one, node=share.node))
        for name, one in (("holder", holder), ("ended", container(family, cluster.image)))
    ]
    held = running(cluster, made[0])
    at_end(cluster, made[1])
    ids = frozenset(sight(cluster.client, held).visible)
    listed = _listed(account(cluster, share.node), namespace)
    assert listed == {"holder": {CONTAINER: {family.resource: ids}}}
    assert alone(cluster, share.node, namespace, "holder") == listed["holder"]
    for name in ("ended", "never"):
        said = _refusal(cluster, share.node, namespace, name)
        assert f"pod {name} in namespace {namespace} not found" in said, f"Get says of {name}: {said}"


@check(
    "pr-allocatable",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:1137",
    defects=["mute-after-first-list", "podresources-allocatable-free-only", "podresources-allocatable-unhealthy"],
    verbs=["nodes: list watch", "pods/exec: create get", "pods/log: get", "pods: create delete get list watch"],
)
def test_allocatable_devices_are_the_healthy_ones(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """GetAllocatableResources names every healthy NPU, whether a pod holds it or not, and none that is unhealthy."""
    own = plugin(count=3)
    own.advertised(3, 3)
    asking = container(replace(family, resource=own.resource), cluster.image, 1, stays=True)
    held = running(cluster, created(cluster, namespace, pod("holder", asking)))
    (used,) = sight(cluster.client, held).visible
    every = frozenset(device["id"] for device in own.ctl("list")["devices"])
    said = account(cluster, own.node)
    assert said.of(held, own.resource) == {CONTAINER: frozenset({used})}
    assert said.allocatable.get(own.resource) == every
    ill = min(every - {used})
    own.ctl("health", ill, "Unhealthy")
    own.advertised(3, 2)
    assert account(cluster, own.node).allocatable.get(own.resource) == every - {ill}


@check(
    "pr-topology",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/podresources_test.go:1948",
    defects=["podresources-topology-made-up", "podresources-without-topology"],
    verbs=["nodes: list watch", "pods/exec: create get", "pods/log: get", "pods: create delete get list watch"],
)
def test_devices_have_the_topology_that_their_plugin_tells(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A device whose plugin tells no NUMA node has no topology in the kubelet's account, one that tells it has."""
    plain = plugin(count=1)
    name = f"{plain.resource}-told"
    told = replace(plain.named("told", numa_nodes="0", resource_name=name), resource=name).started()
    for own in (plain, told):
        own.advertised(1, 1)
    asked = [
        container(replace(family, resource=own.resource), cluster.image, 1, stays=True, name=own.name)
        for own in (plain, told)
    ]
    running(cluster, created(cluster, namespace, pod("holder", *asked)))
    said = account(cluster, plain.node)
    assert _topologies(said, plain.resource) == [None, None]
    assert _topologies(said, told.resource) == [[0], [0]]


@check(
    "pr-throttle",
    profile="conformance",
    needs=["disruptive", "podresources"],
    source="k8s 1.37.2 test/e2e_node/podresources_test.go:2070",
    defects=["podresources-never-refuses"],
    verbs=["nodes: list watch", "pods/exec: create get", "pods: delete list watch"],
)
def test_who_asks_too_fast_is_turned_away(cluster: Cluster, worker: str) -> None:
    """A kubelet turns away who asks more than a hundred times a second, and answers again afterwards."""
    began = time.monotonic()
    refused = refusals(cluster, worker, TIMES)
    seconds = time.monotonic() - began
    if not refused and BURST + RATE * seconds >= 2 * TIMES:
        raise HarnessError(
            f"{2 * TIMES} calls took {seconds:.0f} s, too long for the kubelet of {worker} to refuse any.",
            "Run the check again on a machine that has less to do.",
        )
    assert refused, f"None of {2 * TIMES} calls in {seconds:.0f} s was refused."
    assert all("RESOURCE_EXHAUSTED" in why and "rejected by rate limit" in why for why in refused), refused
    assert account(cluster, worker).allocatable


def _listed(said: Account, namespace: str) -> dict[str, Mapping[str, Mapping[str, frozenset[str]]]]:
    """What an account says of a namespace's pods, by name."""
    split = ((full.partition("/"), held) for full, held in said.held.items())
    return {name: held for (where, _, name), held in split if where == namespace}


def _refusal(cluster: Cluster, node: str, namespace: str, name: str) -> str:
    """Why Get does not know a pod; what it answers, if it does."""
    try:
        return f"{alone(cluster, node, namespace, name)}"
    except ProgramError as error:
        if error.status is None:
            raise
        return error.output


def _topologies(said: Account, resource: str) -> list[list[int] | None]:
    """NUMA nodes, or None, of each entry of a resource: of those that containers hold, then of those to be given."""
    pods = said.raw["pods"].get("pod_resources") or []
    held = (entry for one in pods for each in one.get("containers") or [] for entry in each.get("devices") or [])
    return list(_nodes(held, resource)) + list(_nodes(said.raw["allocatable"].get("devices") or [], resource))


def _nodes(entries: Any, resource: str) -> Iterator[list[int] | None]:
    for entry in entries:
        if entry.get("resource_name") == resource:
            topology = entry.get("topology")
            yield None if topology is None else [int(node.get("ID", 0)) for node in topology.get("nodes") or []]
