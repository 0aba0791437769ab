"""Deployments and Jobs of probes, what has become of their pods, and what these hold by two accounts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from apiserver import Answer, ApiServer, Object, event, kubeconfig, listed, pod, serving

from fixtures.client import connect
from fixtures.kubectl import Kubectl
from fixtures.probe import Family, container
from fixtures.probe import pod as probe
from fixtures.record import Record
from fixtures.targets import Cluster
from fixtures.wait import WaitFailed
from fixtures.workloads import deployed, deployment, held_ids, indexed_job, parted, settled, uids

NPU = "example.com/npu"
FAMILY = Family(NPU, "/dev/npu*", "NPU_VISIBLE_DEVICES")
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving() as plain:
        yield plain


@pytest.fixture
def cluster(server: ApiServer, tmp_path: Path) -> Iterator[Cluster]:
    file = kubeconfig(tmp_path, server.url)
    with connect(file, Record()) as client:
        client.first_pause = 0.001
        yield Cluster("kind", client, Kubectl(Path("kubectl"), file), frozenset(), None)


def waits(name: str, uid: str = "w") -> Object:
    seen = pod(name, uid=uid, conditions=[UNSCHEDULABLE])
    del seen["spec"]["nodeName"]
    return seen


def test_pods_are_told_apart_by_what_has_become_of_them() -> None:
    ends = pod("ends", "Running")
    ends["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    nominated = waits("bound")
    nominated["spec"]["nodeName"] = "n1"
    pods = [pod("runs", "Running"), waits("waits"), ends, nominated, pod("new"), pod("failed", "Failed")]
    names = [
        [one["metadata"]["name"] for one in group] for group in parted({one["metadata"]["name"]: one for one in pods})
    ]
    assert names == [["runs"], ["waits"], ["ends", "bound", "new", "failed"]]


def test_pods_have_settled_when_none_is_on_its_way(cluster: Cluster, server: ApiServer) -> None:
    server.on(f"GET {PODS}", listed("1", pod("a", uid="u1"), waits("b", "u2")))
    server.on(f"WATCH {PODS}", Answer(pieces=[event("MODIFIED", pod("a", "Running", version="2"))], then="hold"))
    run, wait = settled(cluster, "default", run=1, wait=1)
    assert (uids(run), uids(wait)) == ({"u1"}, {"u2"})


def test_pods_do_not_settle_once_one_is_refused(cluster: Cluster, server: ApiServer) -> None:
    ends = pod("ends", "Failed", uid="u2")
    ends["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    server.on(f"GET {PODS}", listed("1", pod("a", "Running"), ends))
    refused = pod("b", "Failed", uid="u3", version="2", reason="UnexpectedAdmissionError", message="none available")
    server.on(f"WATCH {PODS}", Answer(pieces=[event("ADDED", refused)], then="hold"))
    server.on("GET /api/v1/namespaces/default/events", listed("1", kind="Event"))
    with pytest.raises(
        WaitFailed, match=r"2 pods to run in vain: Pod default/b: Failed .UnexpectedAdmissionError: none"
    ):
        settled(cluster, "default", run=2)


def test_a_deployment_s_pods_start_anew_and_a_job_s_do_not() -> None:
    one = probe("many", container(FAMILY, "image", 1, stays=True), node="n1")
    template = deployment("many", 2, one)["spec"]["template"]
    assert template["spec"]["restartPolicy"] == "Always"
    assert one["spec"]["restartPolicy"] == "Never", "What it was made from is as it was."
    job = indexed_job("job", 3, one)["spec"]
    assert (job["completions"], job["parallelism"], job["backoffLimit"]) == (3, 3, 0)
    assert job["template"]["spec"] == one["spec"]


def test_a_deployment_goes_only_after_it_wants_no_pods(cluster: Cluster, server: ApiServer) -> None:
    made = deployment("many", 2, probe("many", container(FAMILY, "image", 1)))

    def seen(version: str, generation: int, observed: int, replicas: int) -> Object:
        metadata = {"name": "many", "namespace": "default", "uid": "d1", "resourceVersion": version}
        status = {"observedGeneration": observed, "replicas": replicas}
        return {"kind": "Deployment", "metadata": {**metadata, "generation": generation}, "status": status}

    server.on(f"POST {DEPLOYMENTS}", seen("1", 1, 0, 0))
    server.on(f"PATCH {DEPLOYMENTS}/many/scale", {})
    # zero pods as its controller counted them before it was scaled are not what is waited for
    server.on(f"GET {DEPLOYMENTS}", listed("2", seen("2", 2, 1, 0), kind="Deployment"))
    states = [seen("3", 2, 2, 2), seen("4", 2, 2, 0)]
    pieces = [event("MODIFIED", state) for state in states]
    server.on(f"WATCH {DEPLOYMENTS}", Answer(pieces=pieces, then="hold"))
    server.on(f"DELETE {DEPLOYMENTS}/many", {})
    with pytest.raises(ZeroDivisionError), deployed(cluster, "default", made):
        raise ZeroDivisionError
    (scaled,) = server.asked_for(f"PATCH {DEPLOYMENTS}/many/scale")
    assert json.loads(scaled.body) == {"spec": {"replicas": 0}}
    (removed,) = server.asked_for(f"DELETE {DEPLOYMENTS}/many")
    assert json.loads(removed.body)["preconditions"] == {"uid": "d1"}


@pytest.mark.parametrize("given", [["npu0"], ["npu1"], []])
def test_a_pod_and_its_kubelet_have_to_say_the_same(cluster: Cluster, server: ApiServer, given: list[str]) -> None:
    told = b"visible npu0\nnode /dev/npu0\nopened /dev/npu0\nend\n"
    server.on(f"GET {PODS}/a/log", Answer(told))
    devices = [{"resource_name": NPU, "device_ids": given}] if given else []
    listed_pod = {"namespace": "default", "name": "a", "containers": [{"name": "probe", "devices": devices}]}
    answer = json.dumps({"pods": {"pod_resources": [listed_pod]}, "allocatable": {}})
    known = replace(cluster, pod_resources=lambda _: answer)
    if given == ["npu0"]:
        assert held_ids(known, "n1", FAMILY, [pod("a", "Running")]) == [{"npu0"}]
        return
    with pytest.raises(AssertionError, match=r"a was told \('npu0',\)"):
        held_ids(known, "n1", FAMILY, [pod("a", "Running")])


def test_two_pods_that_were_told_of_different_npus_have_to_open_different_ones(
    cluster: Cluster, server: ApiServer
) -> None:
    entries = []
    for name, npu in (("a", "npu0"), ("b", "npu1")):
        told = f"visible {npu}\nnode /dev/npu0\nopened /dev/npu0\nend\n"
        server.on(f"GET {PODS}/{name}/log", Answer(told.encode()))
        holds = [{"name": "probe", "devices": [{"resource_name": NPU, "device_ids": [npu]}]}]
        entries.append({"namespace": "default", "name": name, "containers": holds})
    answer = json.dumps({"pods": {"pod_resources": entries}, "allocatable": {}})
    known = replace(cluster, pod_resources=lambda _: answer)
    with pytest.raises(AssertionError, match="Both a and b opened /dev/npu0"):
        held_ids(known, "n1", FAMILY, [pod("a", "Running"), pod("b", "Running", uid="u2")])
