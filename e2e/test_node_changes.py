"""Nodes that are cordoned, drained, removed and joined again: no NPU is given there meanwhile, and none is lost."""

from __future__ import annotations

from fixtures.apipaths import path_of
from fixtures.checks import check
from fixtures.describe import summary
from fixtures.kubelet import stopped
from fixtures.ownplugin import counts
from fixtures.podresources import account
from fixtures.podscheduling import (
    SCHEDULE_SECONDS,
    cordoned,
    deleted,
    evict,
    now,
    scheduler_heard,
    unschedulable,
    verdict,
)
from fixtures.probe import Family, container, created, pod, running, sight
from fixtures.takennodes import kubelet_gives
from fixtures.targets import Cluster
from fixtures.targets.nodes import npu_nodes
from fixtures.wait import gone, wait_for
from fixtures.workloads import deployed, deployment, held_ids, settled, uids


@check(
    "scale-node-cordoned",
    profile="conformance",
    needs=["disruptive"],
    source="k8s 1.37.2 pkg/scheduler/framework/plugins/nodeunschedulable/node_unschedulable.go",
    defects=["cordon-ignored"],
    verbs=["nodes: list patch watch", "pods: create delete get list watch"],
)
def test_a_node_that_is_cordoned_takes_no_new_pod(
    cluster: Cluster, namespace: str, family: Family, worker: str
) -> None:
    """A node that is cordoned keeps its pods on their NPUs and takes no new one until it is uncordoned."""
    one = container(family, cluster.image, 1, stays=True)
    held = running(cluster, created(cluster, namespace, pod("held", one, node=worker)))
    with cordoned(cluster, namespace, worker, family.resource):
        waits = unschedulable(cluster, created(cluster, namespace, pod("waits", one, node=worker)))
        assert "1 node(s) were unschedulable" in verdict(waits), verdict(waits)
        left = now(cluster, held)
        assert left["status"]["phase"] == "Running", summary(left)
    running(cluster, waits)


@check(
    "scale-node-drained",
    profile="conformance",
    needs=["disruptive", "podresources"],
    source="k8s 1.37.2 pkg/registry/core/pod/storage/eviction.go",
    defects=["eviction-ignored"],
    verbs=[
        "deployments.apps: create delete",
        "nodes: list patch watch",
        "pods/eviction: create",
        "pods/log: get",
        "pods: create delete get list watch",
    ],
)
def test_a_node_that_is_drained_has_no_npu_in_use(
    cluster: Cluster, namespace: str, family: Family, worker: str
) -> None:
    """A node that is cordoned and whose pods are evicted has no NPU in use; their successors wait, and none is lost."""
    count = npu_nodes(cluster, family.resource)[worker]
    one = pod("many", container(family, cluster.image, 1, stays=True), node=worker)
    with deployed(cluster, namespace, deployment("many", count, one)):
        before, _ = settled(cluster, namespace, run=count)
        with cordoned(cluster, namespace, worker, family.resource):
            for each in before:
                evict(cluster, each)
            _, waits = settled(cluster, namespace, run=0, wait=count)
            assert not uids(before) & uids(waits)
            said = account(cluster, worker)
            for each in before:
                assert not said.of(each, family.resource), f"{each['metadata']['name']} still holds an NPU."
            for each in waits:
                assert "1 node(s) were unschedulable" in verdict(each), verdict(each)
        after, _ = settled(cluster, namespace, run=count)
        assert uids(after) == uids(waits)
        ids = held_ids(cluster, worker, family, after)
        assert len(frozenset().union(*ids)) == count == sum(map(len, ids)), f"They hold {sorted(map(sorted, ids))}."


@check(
    "scale-node-removed-and-joined",
    profile="conformance",
    needs=["disruptive", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/kubelet_node_status.go",
    defects=["removal-ignored"],
    verbs=[
        "nodes: delete get list watch",
        "pods: create delete get list watch",
        "pods/exec: create get",
        "pods/log: get",
    ],
)
def test_a_node_that_joins_again_gives_its_npus(cluster: Cluster, namespace: str, family: Family, worker: str) -> None:
    """A node that is removed takes no pod; once it has joined again it gives all of its NPUs, and a pod runs with one.

    The pod comes once the kubelet has its NPUs back and asks for one of them: a kubelet that starts refuses what is
    bound to it before, and may hold NPUs of pods that ended long ago for a moment (both seen in 1.37.2).
    """
    client, path = cluster.client, path_of("Node", None, worker)
    count, before = npu_nodes(cluster, family.resource)[worker], client.get(path)["metadata"]
    one = container(family, cluster.image, 1, stays=True)
    with stopped(cluster, worker):
        client.delete(path, uid=before["uid"])
        what = f"{worker} to be no member of the cluster"
        wait_for(client, what, path, gone, timeout=SCHEDULE_SECONDS, uid=before["uid"])
        scheduler_heard(cluster, namespace, worker, family.resource, lambda reason: family.resource not in reason)
        deleted(cluster, unschedulable(cluster, created(cluster, namespace, pod("early", one, node=worker))))
    kubelet_gives(cluster, worker, family.resource, count)
    runs = running(cluster, created(cluster, namespace, pod("one", one, node=worker)))
    assert len(sight(client, runs).opened) == 1
    after = client.get(path)
    assert after["metadata"]["uid"] != before["uid"]
    assert after["metadata"].get("labels") == before.get("labels")
    assert counts(after, family.resource) == (count, count), summary(after)
