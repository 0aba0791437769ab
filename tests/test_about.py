"""What results say beside their checks: the subject by node, what was left behind, the pods that came and went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from apiserver import Answer, ApiServer, event, kubeconfig, listed, refusal, serving

from fixtures.about import PATIENCE, About, Look, attach
from fixtures.client import Client, connect
from fixtures.clusterlook import look_of, patience_of
from fixtures.errors import HarnessError
from fixtures.inventory import inventory_of, left_behind
from fixtures.kubectl import Kubectl
from fixtures.options import Settings
from fixtures.podlog import PodLog, seconds_of, times_of
from fixtures.record import Record
from fixtures.subject import images_of, npus_of, subject_of
from fixtures.targets import Cluster

NPU = "aliyun.com/npu"
DIGEST = "sha256:" + "a" * 64


def named(kind: str, name: str, uid: str = "", namespace: str = "", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "uid": uid or f"uid-{kind}-{name}", **({"namespace": namespace} if namespace else {})}
    return {"kind": kind, "metadata": {**metadata, **more.pop("metadata", {})}, **more}


def node(name: str = "worker", npus: str = "4", **more: Any) -> dict[str, Any]:
    info = {
        "osImage": "Debian 13", "kernelVersion": "6.12", "containerRuntimeVersion": "containerd://2.1",
        "bootID": "b", "kubeletVersion": "v1.37.2",
    }  # fmt: skip
    return named("Node", name, status={"nodeInfo": info, "allocatable": {NPU: npus}}, **more)


def pod(name: str = "train", npus: str = "1", phase: str = "Running", **more: Any) -> dict[str, Any]:
    return named(
        "Pod", name, namespace="team",
        metadata={"creationTimestamp": "2026-11-24T10:00:00Z", **more.pop("metadata", {})},
        spec={"nodeName": "worker", "containers": [{"resources": {"requests": {NPU: npus}}}]},
        status={
            "phase": phase,
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-24T10:00:01Z"}],
            "containerStatuses": [
                {
                    "image": "resnet:1",
                    "imageID": f"docker.io/library/resnet@{DIGEST}",
                    "state": {
                        "terminated": {"startedAt": "2026-11-24T10:00:03Z", "finishedAt": "2026-11-24T10:00:30Z"}
                    },
                }
            ],
        },
        **more,
    )  # fmt: skip


def test_the_subject_is_each_nodes_own_account_of_its_release() -> None:
    subject = subject_of(
        [node("b", npus="8"), node("a", npus="0")],
        images_of([pod()], "workload"),
        at=1.0,
        kubernetes="v1.37.2",
        resource=NPU,
        node_images={"a": DIGEST},
    )
    assert [(one["name"], one["npus"], one["image"]) for one in subject["nodes"]] == [("a", 0, DIGEST), ("b", 8, "")]
    assert subject["nodes"][0] == {
        "name": "a", "uid": "uid-Node-a", "image": DIGEST, "os_image": "Debian 13", "kernel": "6.12",
        "containerd": "containerd://2.1", "boot_id": "b", "kubelet": "v1.37.2", "npus": 0,
    }  # fmt: skip
    assert subject["images"] == [{"role": "workload", "image": "resnet:1", "digest": DIGEST}]


def test_an_image_that_never_ran_is_none_and_one_without_a_digest_has_none() -> None:
    waiting = {"status": {"containerStatuses": [{"image": "x", "imageID": ""}]}}
    odd = {"status": {"containerStatuses": [{"image": "x", "imageID": "x:latest"}]}}
    assert images_of([waiting, {"status": None}, {}], "plugin") == []
    assert images_of([odd], "plugin") == [{"role": "plugin", "image": "x", "digest": ""}]


def test_npus_are_counted_as_the_scheduler_counts_them() -> None:
    def asks(number: int, **more: Any) -> dict[str, Any]:
        return {"resources": {"requests": {NPU: str(number)}}, **more}

    spec = {"containers": [asks(1), asks(1)], "initContainers": [asks(3), asks(1, restartPolicy="Always")]}
    assert npus_of({"spec": spec}, NPU) == 3
    assert npus_of({"spec": {"containers": [asks(2)]}}, NPU) == 2
    assert npus_of({"spec": {"containers": [{}]}}, NPU) == 0
    assert npus_of({"spec": {"containers": [{"resources": {"requests": {NPU: "1k"}}}]}}, NPU) == 1000


def test_nothing_is_left_behind_by_a_run_that_removes_what_it_made() -> None:
    world = [named("Namespace", "default"), node(), named("ClusterRole", "admin")]
    assert left_behind(inventory_of(world, NPU), inventory_of(world, NPU)) == []


def test_a_machine_that_left_the_cluster_and_joined_again_is_no_other() -> None:
    before, after = ([named("Namespace", "default"), node(uid=uid)] for uid in ("first", "second"))
    assert left_behind(inventory_of(before, NPU), inventory_of(after, NPU)) == []


def test_everything_that_is_new_gone_or_changed_is_named_once() -> None:
    before = [named("Namespace", "default"), node(), named("ClusterRole", "admin"), named("ClusterRole", "old")]
    tainted = {"taints": [{"key": "npu", "effect": "NoSchedule"}], "unschedulable": True}
    after = [
        named("Namespace", "default"),
        node(npus="3", metadata={"labels": {"mine": "1"}}, spec=tainted),
        named("ClusterRole", "admin", uid="made-anew"),
        named("Namespace", "npu-e2e-1"),
        named("ServiceAccount", "default", namespace="npu-e2e-1"),
        named("Namespace", "going", metadata={"deletionTimestamp": "2026-11-24T10:00:00Z"}),
        pod(metadata={"namespace": "default"}),
    ]
    told = {
        (one["change"], one["what"]): one["detail"]
        for one in left_behind(*(inventory_of(w, NPU) for w in (before, after)))
    }
    assert told == {
        ("added", "ClusterRole admin (made-anew)"): "",
        ("added", "Namespace going (uid-Namespace-going)"): "it is being deleted",
        ("added", "Namespace npu-e2e-1 (uid-Namespace-npu-e2e-1)"): "",
        ("added", "Pod default/train (uid-Pod-train)"): "",
        ("changed", "allocatable aliyun.com/npu of Node worker"): "4 before, 3 after",
        ("changed", "allocated aliyun.com/npu of Node worker"): "0 before, 1 after",
        ("changed", "label mine of Node worker"): "none before, 1 after",
        ("changed", "taint npu:NoSchedule of Node worker"): "none before,  after",
        ("changed", "unschedulable of Node worker"): "false before, true after",
        ("removed", "ClusterRole admin (uid-ClusterRole-admin)"): "",
        ("removed", "ClusterRole old (uid-ClusterRole-old)"): "",
    }


def test_what_was_being_deleted_before_the_run_is_not_the_runs_to_keep() -> None:
    going = {"deletionTimestamp": "2026-11-24T10:00:00Z"}
    before = [
        node(),
        named("Namespace", "earlier", metadata=going),
        named("ServiceAccount", "default", namespace="earlier"),
        pod("last", metadata={"namespace": "earlier", **going}),
    ]
    assert left_behind(inventory_of(before, NPU), inventory_of([node()], NPU)) == []


def test_a_pod_that_its_controller_made_anew_is_not_left_behind() -> None:
    def of(uid: str) -> dict[str, Any]:
        owner = {"ownerReferences": [{"uid": "set", "controller": True}]}
        return named("Pod", uid, uid=uid, namespace="npu-system", metadata=owner)

    plugin = named("DaemonSet", "plugin", uid="set", namespace="npu-system")
    before, after = [plugin, of("one")], [plugin, of("two")]
    assert left_behind(inventory_of(before, NPU), inventory_of(after, NPU)) == []
    orphaned = left_behind(inventory_of(before, NPU), inventory_of([of("two")], NPU))
    assert [one["what"] for one in orphaned] == ["Pod npu-system/two (two)", "DaemonSet npu-system/plugin (set)"]


def test_on_a_shared_cluster_only_what_is_ours_counts() -> None:
    def ours(one: Any) -> bool:
        return bool((one["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by") == "npu-conformance")

    label = {"labels": {"app.kubernetes.io/managed-by": "npu-conformance"}}
    before = [named("Namespace", "theirs", metadata=label)]
    after = [*before, named("Namespace", "others"), named("ClusterRole", "mine", metadata=label)]
    told = left_behind(*(inventory_of(world, NPU, counts=ours) for world in (before, after)))
    assert [one["what"] for one in told] == ["ClusterRole mine (uid-ClusterRole-mine)"]


def test_an_empty_inventory_is_one_that_was_not_read() -> None:
    with pytest.raises(ValueError, match="which no cluster is"):
        left_behind(inventory_of([node()], NPU), inventory_of([], NPU))


def test_the_times_of_a_pod_are_those_of_its_status() -> None:
    times = times_of(pod(phase="Succeeded"), NPU)
    began = seconds_of("2026-11-24T10:00:00Z")
    assert began is not None
    assert {key: times[key] - began for key in ("scheduled", "started", "finished")} == {
        "scheduled": 1, "started": 3, "finished": 30,
    }  # fmt: skip
    assert (times["node"], times["npus"], times["phase"]) == ("worker", 1, "Succeeded")
    bare = times_of({"metadata": {"name": "p", "uid": "u"}}, NPU)
    assert all(bare[key] is None for key in ("created", "scheduled", "started", "finished"))


def test_a_log_of_pods_keeps_the_last_state_of_each_and_each_warning_once() -> None:
    log = PodLog(NPU)
    warning = {"kind": "Event", "type": "Warning", "reason": "BackOff", "message": "No.", "count": 3}
    warning["involvedObject"] = {"kind": "Pod", "namespace": "team", "name": "train"}
    for change in (pod(), pod(phase="Succeeded"), pod("other", npus="0"), warning, warning):
        log.take(change)
    for other in ({}, {"kind": "Status"}):
        log.take(other)
    assert [(one["name"], one["phase"]) for one in log.pods] == [("train", "Succeeded")]
    assert log.warnings == [{"reason": "BackOff", "of": "Pod team/train", "message": "No.", "count": 3, "check": ""}]
    assert [one["digest"] for one in log.images] == [DIGEST]


SERVED = (
    "GET /api/v1/namespaces",
    "GET /api/v1/nodes",
    "GET /apis/rbac.authorization.k8s.io/v1/clusterroles",
    "GET /api/v1/pods",
)


@pytest.fixture
def look(tmp_path: Path) -> Iterator[tuple[Look, ApiServer]]:
    """A look at a server that has three kinds, and whose watch of pods shows one that comes and is gone in the end."""
    with serving() as server, connect(kubeconfig(tmp_path, server.url), Record()) as client:
        collections = [request.removeprefix("GET ") for request in SERVED] + ["/apis/batch/v1/jobs"]
        server.on("GET /apis/batch/v1/jobs", refusal(404, "NotFound", "no such resource"))
        server.on("GET /version", {"gitVersion": "v1.37.2"})
        server.on(SERVED[0], listed("1", named("Namespace", "default"), kind="Namespace"))
        server.on(SERVED[1], listed("1", node(), kind="Node"))
        server.on(SERVED[2], listed("1", kind="ClusterRole"))
        server.on(SERVED[3], listed("1"))
        server.on("WATCH /api/v1/pods", Answer(pieces=[event("ADDED", pod(phase="Succeeded"))], then="hold"))
        server.on("GET /api/v1/events", listed("1", kind="Event"))
        server.on("WATCH /api/v1/events", Answer(pieces=[], then="hold"))
        yield Look(client, NPU, {"": DIGEST}, collections), server


def test_a_run_is_looked_at_before_while_and_after(look: tuple[Look, ApiServer]) -> None:
    about = About()
    going = named("Namespace", "npu-e2e-1", metadata={"deletionTimestamp": "2026-11-24T10:00:00Z"})
    with attach(about, look[0], patience=lambda: 20.0) as log:
        deadline = time.monotonic() + 30
        while not log.pods and time.monotonic() < deadline:
            continue
        default = named("Namespace", "default")
        look[1].on(SERVED[0], listed("2", default, going, kind="Namespace"), listed("3", default, kind="Namespace"))
        look[1].on(SERVED[2], listed("2", named("ClusterRole", "left"), kind="ClusterRole"))
    assert about.before is not None
    assert about.before["nodes"][0]["image"] == DIGEST
    assert about.before["kubernetes"] == "v1.37.2"
    assert about.inventory == {
        "before": 2,
        "after": 3,
        "left_behind": [{"change": "added", "what": "ClusterRole left (uid-ClusterRole-left)", "detail": ""}],
    }
    assert [one["name"] for one in about.pods] == ["train"]
    assert about.after is not None
    assert {image["role"] for image in about.after["images"]} == {"workload"}


def test_what_the_run_deleted_is_waited_for_by_a_watch(look: tuple[Look, ApiServer]) -> None:
    about, server = About(), look[1]
    default, going = named("Namespace", "default"), {"deletionTimestamp": "2026-11-24T10:00:00Z"}
    mine = named("Namespace", "npu-e2e-1", metadata=going)
    with attach(about, look[0], patience=lambda: 20.0):
        there = listed("2", default, mine, kind="Namespace")
        server.on(SERVED[0], there, there, listed("3", default, kind="Namespace"))
        server.on("WATCH /api/v1/namespaces", Answer(pieces=[event("DELETED", mine)], then="hold"))
    assert about.inventory is not None
    assert about.inventory["left_behind"] == []
    assert len(server.asked_for("WATCH /api/v1/namespaces")) == 1
    assert len(server.asked_for(SERVED[0])) == 4, "before, after, for the watch, and when it was gone"


def test_what_cannot_be_watched_is_left_behind_at_once(look: tuple[Look, ApiServer]) -> None:
    about, server = About(), look[1]
    mine = named("Namespace", "npu-e2e-1", metadata={"deletionTimestamp": "2026-11-24T10:00:00Z"})
    with attach(about, look[0], patience=lambda: 20.0):
        server.on(SERVED[0], listed("2", named("Namespace", "default"), mine, kind="Namespace"))
        server.on("WATCH /api/v1/namespaces", refusal(403, "Forbidden", "namespaces is forbidden"))
    assert about.inventory is not None
    assert [(one["detail"], one["going"]) for one in about.inventory["left_behind"]] == [("it is being deleted", True)]
    assert len(server.asked_for("WATCH /api/v1/namespaces")) == 1


def test_what_was_being_deleted_before_the_run_is_not_waited_for(look: tuple[Look, ApiServer]) -> None:
    about, server = About(), look[1]
    going = named("Namespace", "another-s", metadata={"deletionTimestamp": "2026-11-24T10:00:00Z"})
    server.on(SERVED[0], listed("1", named("Namespace", "default"), going, kind="Namespace"))
    with attach(about, look[0], patience=lambda: 20.0):
        pass
    assert not server.asked_for("WATCH /api/v1/namespaces")
    assert about.inventory is not None
    assert about.inventory["left_behind"] == []


def test_what_cannot_be_read_is_none_and_never_nothing(look: tuple[Look, ApiServer]) -> None:
    look[1].on(SERVED[1], refusal(403, "Forbidden", "nodes is forbidden"))
    about = About()
    with pytest.raises(HarnessError, match="The check's own"), attach(about, look[0], patience=lambda: 0.0):
        raise HarnessError("The check's own.", "Look.")
    assert (about.before, about.after, about.inventory) == (None, None, None)


def test_the_whole_of_our_own_cluster_counts_and_of_another_what_is_labelled_ours() -> None:
    facts = {"node image": f"npu-conformance/node:v1.37.2 ({DIGEST})"}
    kubectl = Kubectl(Path("kubectl"), Path("kubeconfig"))
    own = Cluster("kind", cast("Client", None), kubectl, frozenset({"own-cluster"}), None, facts=facts)
    settings = cast("Settings", SimpleNamespace(resource=NPU, keep=True, profile="documented"))
    label = {"labels": {"app.kubernetes.io/managed-by": "npu-conformance"}}
    ours, theirs = named("ClusterRole", "a", metadata=label), named("ClusterRole", "b")
    whole, shared = look_of(own, settings), look_of(replace(own, capabilities=frozenset()), settings)
    assert whole.node_images == {"": DIGEST}
    assert look_of(replace(own, node_images={"worker": "m-1"}), settings).node_images == {"worker": "m-1"}
    assert (whole.counts(ours), whole.counts(theirs)) == (True, True)
    assert (shared.counts(ours), shared.counts(theirs)) == (True, False)


def test_only_the_documented_flow_on_a_kept_cluster_does_not_wait_for_what_it_deleted() -> None:
    def patience(profile: str, *, keep: bool, interrupted: bool = False) -> float:
        settings = cast("Settings", SimpleNamespace(keep=keep, profile=profile))
        return patience_of(settings, interrupted=interrupted)

    assert patience("documented", keep=True) == 0.0
    assert patience("documented", keep=False) == patience("release", keep=True) == PATIENCE
    assert patience("release", keep=False, interrupted=True) == 0.0
