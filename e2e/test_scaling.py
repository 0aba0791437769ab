"""Workloads of many NPU pods, and nodes whose NPUs come and go: what fits runs, the rest waits, and none is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace

from fixtures.apipaths import path_of
from fixtures.checkfixtures import Share, emptied
from fixtures.checks import check
from fixtures.client import Object
from fixtures.describe import summary
from fixtures.history import stays
from fixtures.namespaces import namespace_of
from fixtures.ownplugin import OwnPlugin
from fixtures.podresources import account
from fixtures.podscheduling import (
    deleted,
    is_unschedulable,
    is_waiting,
    now,
    priority_class,
    unschedulable,
    verdict,
)
from fixtures.probe import Family, container, created, pod, running, sight
from fixtures.targets import Cluster
from fixtures.wait import condition, wait_for, wait_for_all
from fixtures.workloads import INDEX, deployed, deployment, held_ids, indexed_job, scale, settled, uids

MANY_SECONDS = 120.0
"""For twice as many pods as a node has NPUs to run, one after the other where they wait."""
QUOTA_SECONDS = 30.0
"""For the controller manager to count what a new quota has in use, which admission waits for."""
LOWER = 12
"""Pods of lower priority: without priorities, one of them would have the NPU in all but few cases."""
BACKOFF_SECONDS = 3
"""The scheduler leaves a pod alone for a second after it found no node for it the first time
(pkg/scheduler/backend/queue/scheduling_queue.go:65), and nothing tells when that is over."""


@check(
    "scale-deployment-past-capacity",
    profile="conformance",
    needs=["podresources"],
    source="document",
    defects=["scheduler-ignores-npus"],
    verbs=[
        "deployments.apps/scale: patch",
        "deployments.apps: create delete get list watch",
        "pods: delete get list watch",
        "pods/log: get",
    ],
)
def test_a_deployment_larger_than_its_node_runs_what_fits(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """A Deployment scaled past its node's NPUs runs as many pods as there are; the rest waits, and none is lost."""
    share = npus()
    one = pod("many", container(family, cluster.image, 1, stays=True), node=share.node)
    with deployed(cluster, namespace, deployment("many", 1, one)) as path:
        first, _ = settled(cluster, namespace, run=1)
        scale(cluster, namespace, "many", share.count + 2)
        runs, waits = settled(cluster, namespace, run=share.count, wait=2, timeout=MANY_SECONDS)
        assert uids(first) <= uids(runs), "The pod that ran already was replaced."
        for one in waits:
            assert f"1 Insufficient {family.resource}" in verdict(one), verdict(one)
        ids = held_ids(cluster, share.node, family, runs)
        assert len(frozenset().union(*ids)) == share.count == sum(map(len, ids)), (
            f"They hold {sorted(map(sorted, ids))}."
        )
        wait_for(
            cluster.client, "the Deployment to count them", path, _counts(share.count + 2, share.count), timeout=30
        )


@check(
    "scale-deployment-down",
    profile="conformance",
    needs=["podresources"],
    source="document",
    defects=["scale-down-ignored"],
    verbs=[
        "deployments.apps/scale: patch",
        "deployments.apps: create delete get list watch",
        "pods: create delete get list watch",
        "pods/log: get",
    ],
)
def test_a_deployment_that_is_scaled_down_gives_its_npus_back(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """A Deployment that is scaled down gives the NPUs of the pods that go to others, and leaves the rest alone."""
    share = npus()
    one = pod("many", container(family, cluster.image, 1, stays=True), node=share.node)
    with deployed(cluster, namespace, deployment("many", share.count, one)):
        before, _ = settled(cluster, namespace, run=share.count)
        kept = 1 if share.count > 1 else 0
        left = share.count - kept
        next_one = pod("next", container(family, cluster.image, left, stays=True), node=share.node)
        waits = unschedulable(cluster, created(cluster, namespace, next_one))
        scale(cluster, namespace, "many", kept)
        taker = running(cluster, waits)
        after, _ = settled(cluster, namespace, run=kept, labels="app=many")
        assert uids(after) <= uids(before), "A pod that should be left alone was replaced."
        ids = held_ids(cluster, share.node, family, [taker, *after])
        assert len(ids[0]) == left
        assert len(frozenset().union(*ids)) == share.count, f"They hold {sorted(map(sorted, ids))}."


@check(
    "scale-job-indexed",
    profile="conformance",
    needs=["idle-nodes"],
    source="document",
    defects=["npus-ignored"],
    verbs=[
        "jobs.batch: create get list watch",
        "pods: delete list",
        "pods/log: get",
    ],
)
def test_a_job_with_more_indexes_than_npus_completes_each_once(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """An indexed Job of more pods than there are NPUs completes every index once, each on one NPU, with no failure."""
    share = npus()
    completions = share.count + 2
    one = pod("job", container(family, cluster.image, 1), node=share.node)
    cluster.client.create(path_of("Job", namespace), indexed_job("job", completions, one))
    path = path_of("Job", namespace, "job")
    ended = wait_for(
        cluster.client, "the Job to complete", path, condition("Complete"), timeout=MANY_SECONDS, failed=_job_failed
    )
    assert ended["status"]["succeeded"] == completions
    assert not ended["status"].get("failed"), summary(ended)
    assert ended["status"]["completedIndexes"] == f"0-{completions - 1}"
    pods = cluster.client.items(path_of("Pod", namespace))
    indexes = Counter(int(one["metadata"]["annotations"][INDEX]) for one in pods)
    assert indexes == Counter(range(completions)), f"Pods by index: {dict(indexes)}"
    for one in pods:
        saw = sight(cluster.client, one)
        assert len(saw.opened) == 1, f"{one['metadata']['name']} opened {sorted(saw.opened)}."


@check(
    "scale-one-pod-many-npus",
    profile="conformance",
    needs=["podresources"],
    source="document",
    defects=["no-node", "no-variable", "same-device"],
    verbs=["pods: create delete get list watch", "pods/log: get"],
)
def test_one_pod_gets_all_npus_of_a_node(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """A pod that asks for all NPUs of a node gets each of them, as it sees and as the kubelet says."""
    share = npus()
    every = pod("every", container(family, cluster.image, share.count, stays=True), node=share.node)
    held = running(cluster, created(cluster, namespace, every))
    (ids,) = held_ids(cluster, share.node, family, [held])
    assert len(ids) == share.count
    assert ids == account(cluster, share.node).allocatable[family.resource]


@check(
    "scale-many-pods-one-npu",
    profile="conformance",
    needs=["idle-nodes"],
    source="k8s 1.37.2 test/e2e/scheduling/nvidia-gpus.go",
    defects=["npus-ignored"],
    verbs=["pods: create delete list watch", "pods/log: get"],
)
def test_many_pods_of_one_npu_each_come_to_their_turn(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """Of twice as many pods as a node has NPUs, asking for one each at the same time, every one comes to run on one."""
    share = npus()
    one = container(family, cluster.image, 1)
    for number in range(2 * share.count):
        created(cluster, namespace, pod(f"one-{number}", one, node=share.node))
    pods = wait_for_all(
        cluster.client,
        f"{2 * share.count} pods to succeed",
        path_of("Pod", namespace),
        lambda found: _phases(found.values()) == {"Succeeded": 2 * share.count},
        timeout=MANY_SECONDS,
        failed=lambda found: next(
            (summary(one) for one in found.values() if one["status"].get("phase") == "Failed"), None
        ),
    )
    for one in pods.values():
        saw = sight(cluster.client, one)
        assert len(saw.opened) == 1, f"{one['metadata']['name']} opened {sorted(saw.opened)}."


@check(
    "scale-npus-added-while-pods-wait",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/scheduler/framework/plugins/noderesources/fit.go:595",
    defects=["mute-after-first-list"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_pods_that_wait_get_the_npus_that_are_added(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """NPUs that are added to a node go to pods that wait for them, as many as there are, and who runs goes on."""
    own = plugin(count=1)
    own.advertised(1, 1)
    theirs = replace(family, resource=own.resource)
    one = container(theirs, cluster.image, 1, stays=True)
    first = running(cluster, created(cluster, namespace, pod("first", one, node=own.node)))
    made = [created(cluster, namespace, pod(name, one, node=own.node)) for name in ("second", "third", "fourth")]
    for each in made:
        unschedulable(cluster, each)
    own.ctl("devices", "add", "2")
    own.advertised(3, 3)
    names = "app in (first,second,third,fourth)"
    runs, (waits,) = settled(cluster, namespace, run=3, wait=1, labels=names)
    assert uids(runs) | uids([waits]) == uids([first, *made]), "A pod was made anew."
    assert uids([first]) <= uids(runs)
    ids = held_ids(cluster, own.node, theirs, runs)
    assert sorted(map(sorted, ids)) == [["npu0"], ["npu1"], ["npu2"]]


@check(
    "scale-npus-removed-while-pods-wait",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:293",
    defects=["mute-after-first-list"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_no_pod_that_waits_gets_an_npu_that_is_removed(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """An NPU that is removed while a pod holds it goes to nobody after it; who waits gets the next that is free."""
    own = plugin(count=2)
    own.advertised(2, 2)
    theirs = replace(family, resource=own.resource)
    one = container(theirs, cluster.image, 1, stays=True)
    made = [created(cluster, namespace, pod(name, one, node=own.node)) for name in ("first", "second")]
    held = [running(cluster, each) for each in made]
    waits = unschedulable(cluster, created(cluster, namespace, pod("waits", one, node=own.node)))
    ids = [set(given) for given in held_ids(cluster, own.node, theirs, held)]
    own.ctl("devices", "remove", *ids[1])
    own.advertised(1, 1)
    left = now(cluster, held[1])
    assert left["status"]["phase"] == "Running", summary(left)
    deleted(cluster, held[1])
    # the scheduler looks at pods in the order of what it hears: who comes now is looked at after that pod has gone
    late = unschedulable(cluster, created(cluster, namespace, pod("late", one, node=own.node)))
    assert f"1 Insufficient {own.resource}" in verdict(late), verdict(late)
    assert is_waiting(now(cluster, waits)), summary(now(cluster, waits))
    deleted(cluster, late)
    deleted(cluster, held[0])
    assert held_ids(cluster, own.node, theirs, [running(cluster, waits)]) == [ids[0]]


@check(
    "scale-priorities",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/scheduler/framework/plugins/queuesort/priority_sort.go",
    defects=["priorities-reversed"],
    verbs=[
        "nodes: list watch",
        "pods: create delete get list watch",
        "pods/exec: create get",
        "pods/log: get",
        "priorityclasses.scheduling.k8s.io: create delete",
    ],
)
def test_of_pods_that_wait_the_one_of_highest_priority_gets_the_npu(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """Of the pods that wait for an NPU, the one of highest priority has it in the end, though all others waited longer.

    Mostly it is bound first. But what makes pods wait no more moves them one by one, and one that the scheduler takes
    up before the highest has moved is bound, and preempted at once (seen in 1.37.2).
    """
    # an NPU that gets well again, of a resource of its own: a pod that ends is several events, each of which sends
    # those that wait away for a time of their own
    own = plugin(count=1)
    own.ctl("health", "all", "Unhealthy")
    own.advertised(1, 0)
    theirs = replace(family, resource=own.resource)
    one = container(theirs, cluster.image, 1, stays=True)
    low = priority_class(cluster, namespace, "low", -20)
    high = priority_class(cluster, namespace, "high", -10)
    with low as below, high as above:
        lower = [pod(f"low-{n}", one, node=own.node, priorityClassName=below) for n in range(LOWER)]
        for each in lower:
            unschedulable(cluster, created(cluster, namespace, each))
        highest = pod("high", one, node=own.node, priorityClassName=above)
        later = unschedulable(cluster, created(cluster, namespace, highest))
        path = path_of("Pod", namespace, later["metadata"]["name"])
        stays(cluster.client, "a pod that waits", path, is_unschedulable, seconds=BACKOFF_SECONDS)
        own.ctl("health", "all", "Healthy")
        runs = running(cluster, later)
        assert held_ids(cluster, own.node, theirs, [runs]) == [{"npu0"}]
        for left in cluster.client.items(path_of("Pod", namespace)):
            if left["metadata"]["name"].startswith("low-"):
                assert is_waiting(left) or left["metadata"].get("deletionTimestamp"), summary(left)


@check(
    "scale-quota-per-namespace",
    profile="conformance",
    needs=["idle-nodes"],
    source="k8s 1.37.2 pkg/quota/v1/evaluator/core/pods.go:318",
    defects=["quota-not-enforced"],
    verbs=[
        "deployments.apps: create delete get list watch",
        "pods: delete list watch",
        "pods/log: get",
        "resourcequotas: create get list watch",
    ],
)
def test_each_namespace_gets_its_own_share(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """Two namespaces with a quota of NPUs each run as many pods as their own quota has, and are told why no more."""
    share = npus(2)
    one = pod("many", container(family, cluster.image, 1, stays=True), node=share.node)
    key = f"requests.{family.resource}"
    with namespace_of(cluster) as other:
        for each in (namespace, other):
            _quota(cluster, each, key, "1")
        held = []
        try:
            with ExitStack() as both:
                many = deployment("many", 2, one)
                paths = {each: both.enter_context(deployed(cluster, each, many)) for each in (namespace, other)}
                for each, path in paths.items():
                    refused = condition("ReplicaFailure")
                    seen = wait_for(cluster.client, "a pod to be refused", path, refused, timeout=QUOTA_SECONDS)
                    (why,) = (one["message"] for one in seen["status"]["conditions"] if one["type"] == "ReplicaFailure")
                    assert f"exceeded quota: npus, requested: {key}=1, used: {key}=1, limited: {key}=1" in why, why
                    (runs,), _ = settled(cluster, each, run=1)
                    held.append(sight(cluster.client, runs).opened)
        finally:
            emptied(cluster, other)
    assert [len(nodes) for nodes in held] == [1, 1]
    assert held[0] != held[1]


def _counts(replicas: int, ready: int) -> Callable[[Object | None], bool]:
    def holds(seen: Object | None) -> bool:
        status = (seen or {}).get("status") or {}
        return (status.get("replicas"), status.get("readyReplicas")) == (replicas, ready)

    return holds


def _phases(pods: Iterable[Object]) -> Counter[str]:
    return Counter(one["status"].get("phase", "") for one in pods)


def _job_failed(seen: Object | None) -> str | None:
    return summary(seen) if condition("Failed")(seen) else None


def _quota(cluster: Cluster, namespace: str, key: str, hard: str) -> None:
    """The namespace has a quota `npus`, which knows what is used."""
    wanted = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "npus"}, "spec": {"hard": {key: hard}}}
    cluster.client.create(path_of("ResourceQuota", namespace), wanted)
    wait_for(
        cluster.client,
        f"the quota of {namespace} to know what is used",
        path_of("ResourceQuota", namespace, "npus"),
        lambda seen: seen is not None and key in ((seen.get("status") or {}).get("used") or {}),
        timeout=QUOTA_SECONDS,
    )
