"""Resources scale with what is deployed: a node pool grows, and a pod that waited lands on the new node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fixtures.ack.scaling import grown_pool
from fixtures.apipaths import path_of
from fixtures.checks import check
from fixtures.client import Object
from fixtures.documented import manifest
from fixtures.errors import HarnessError
from fixtures.options import Settings
from fixtures.pods import never_pulled
from fixtures.session import SETTINGS
from fixtures.targets import Cluster
from fixtures.wait import phase, wait_for

NODE_SECONDS = 900.0
"""From the end of ACK's task until the device plugin of the new node offers NPUs and the pod runs there."""


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> Settings:
    found: Settings = request.config.stash[SETTINGS]
    return found


@pytest.fixture
def waiting_pod(cluster: Cluster, settings: Settings, namespace: str) -> Object:
    """A pod that asks for an NPU, and for a node that is not there yet."""
    there = [node["metadata"]["labels"]["kubernetes.io/hostname"] for node in cluster.client.items(path_of("Node"))]
    new = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": there}]}
    pod = manifest(cluster.image, settings.resource)
    pod["metadata"]["name"] = "waiting"
    pod["spec"]["priorityClassName"] = cluster.priority_class
    pod["spec"]["affinity"] = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [new]}}
    }
    return cluster.client.create(path_of("Pod", namespace), pod)


@pytest.fixture
def new_instances(cluster: Cluster, settings: Settings, waiting_pod: Object) -> Iterator[set[str]]:
    """The instances by which the pool has grown; released afterwards, also when the run is interrupted."""
    if cluster.account is None or cluster.note is None or not settings.node_pool:
        raise HarnessError("Which node pool may grow was not said.", "Add `--node-pool ID`.")
    api, cluster_id = cluster.account.api, cluster.account.cluster_id
    with grown_pool(api, cluster_id, settings.node_pool, settings.instance_types, note=cluster.note) as found:
        yield found


@check(
    "scale-node-pool",
    needs=["cloud", "scaling"],
    source="document",
    verbs=["nodes: get list", "pods: create get list watch"],
)
def test_a_pod_that_waits_lands_on_the_new_node(
    cluster: Cluster, new_instances: set[str], waiting_pod: Object, namespace: str
) -> None:
    """A pod that waits for an NPU runs on the node by which the node pool grows."""
    assert not waiting_pod["spec"].get("nodeName")
    path = path_of("Pod", namespace, "waiting")
    runs = phase("Running", "Succeeded")
    pod = wait_for(
        cluster.client, "the pod to run on the new node", path, runs, timeout=NODE_SECONDS, failed=never_pulled
    )
    node = cluster.client.get(path_of("Node", None, pod["spec"]["nodeName"]))
    assert node["spec"].get("providerID", "").rpartition(".")[2] in new_instances
