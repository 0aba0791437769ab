"""Quotas: how many NPUs the pods of a namespace may ask for together."""

from __future__ import annotations

import time
from functools import partial

from fixtures.apipaths import path_of
from fixtures.checks import check
from fixtures.client import ApiError, Forbidden, Object
from fixtures.describe import summary
from fixtures.dryrun import MERGE, accepted, dry_run, refusal, refused
from fixtures.options import Settings
from fixtures.podspecs import held_pod
from fixtures.targets import Cluster
from fixtures.wait import wait_for

NAME = "npus"
STATUS_SECONDS = 30.0
"""For the controller manager to count what a namespace has, at first or after a pod has ended."""
FORCE_SECONDS = 10.0
"""For a change of a quota to reach the cache that admission reads; milliseconds where one API server serves."""
MORE_THAN_ANY = "1000000"


@check(
    "quota-counts",
    profile="conformance",
    needs=["admin"],
    source="k8s 1.37.2 pkg/quota/v1/evaluator/core/pods.go:318",
    defects=["quota-counts-nothing"],
    verbs=["pods: create", "resourcequotas: create get list patch watch"],
)
def test_npus_are_counted(cluster: Cluster, namespace: str, settings: Settings) -> None:
    """A quota counts the NPUs that pods ask for, when a pod is let in as well as when the quota is new."""
    key = f"requests.{settings.resource}"
    path = _quota(cluster, namespace, {key: "3"})
    assert _used(cluster.client.get(path)) == {key: "0"}
    cluster.client.create(path_of("Pod", namespace), held_pod(namespace, "two", {settings.resource: "2"}))
    counted = cluster.client.get(path)
    assert _used(counted) == {key: "2"}, summary(counted)
    # admission adds up, while the controller manager counts the pods that are there: both must come to the same
    later = _quota(cluster, namespace, {key: "5"}, name="later")
    anew = _counted(cluster, later, key, "2")
    assert _used(anew) == {key: "2"}, summary(anew)


@check(
    "quota-exceeded",
    profile="conformance",
    needs=["admin"],
    source="k8s 1.37.2 apiserver/pkg/admission/plugin/resourcequota/controller.go:621",
    defects=["quota-not-enforced"],
    verbs=["pods: create get", "resourcequotas: create get list watch"],
)
def test_no_pod_exceeds_a_quota(cluster: Cluster, namespace: str, settings: Settings) -> None:
    """A pod beyond the quota is refused with what it asks, what is used and what is allowed, and one within is not."""
    pods, key = path_of("Pod", namespace), f"requests.{settings.resource}"
    path = _quota(cluster, namespace, {key: "3"})
    cluster.client.create(pods, held_pod(namespace, "first", {settings.resource: "2"}))
    with refusal("A pod beyond the quota") as refusals:
        cluster.client.create(pods, held_pod(namespace, "beyond", {settings.resource: "2"}))
    figures = f"exceeded quota: {NAME}, requested: {key}=2, used: {key}=2, limited: {key}=3"
    assert figures in refusals[0].message
    accepted(cluster.client, pods, held_pod(namespace, "within", {settings.resource: "1"}))
    assert _used(cluster.client.get(path)) == {key: "2"}, "A pod that was refused is counted."


@check(
    "quota-not-ready",
    profile="conformance",
    needs=["admin"],
    source="k8s 1.37.2 apiserver/pkg/admission/plugin/resourcequota/controller.go:474",
    defects=["quota-always-known"],
    verbs=["pods: create", "resourcequotas/status: patch", "resourcequotas: create get list watch"],
)
def test_no_pod_passes_an_unknown_usage(cluster: Cluster, namespace: str, settings: Settings) -> None:
    """While a quota on NPUs does not know what is used, no pod is let in, as small as it may be."""
    client, pods, key = cluster.client, path_of("Pod", namespace), f"requests.{settings.resource}"
    path = _quota(cluster, namespace, {key: "3"})
    within = held_pod(namespace, "within", {settings.resource: "1"})
    dry_run(client, pods, within)
    # as a new quota is for a moment: the controller manager does not look at what only changes its status
    client.patch(f"{path}/status", {"status": {"used": None}})
    unknown = f"status unknown for quota: {NAME}, resources: {key}"
    assert unknown in _refused_in_time(cluster, namespace, within).message
    # pods that do not speak of NPUs are kept out as well: the quota is looked at before what a pod asks for
    for pod in (within, held_pod(namespace, "without")):
        with refusal("A pod under a quota of unknown usage") as refusals:
            client.create(pods, pod)
        assert unknown in refusals[0].message


@check(
    "quota-release",
    profile="conformance",
    needs=["admin"],
    source="k8s 1.37.2 pkg/quota/v1/evaluator/core/pods.go:377",
    defects=["quota-never-released"],
    verbs=["pods/status: patch", "pods: create delete", "resourcequotas: create get list watch"],
)
def test_npus_are_given_back(cluster: Cluster, namespace: str, settings: Settings) -> None:
    """A pod that has succeeded, failed or been deleted is counted by a quota no more."""
    client, pods, key = cluster.client, path_of("Pod", namespace), f"requests.{settings.resource}"
    path = _quota(cluster, namespace, {key: "6"})
    names = ["succeeded", "failed", "deleted"]
    for name in names:
        client.create(pods, held_pod(namespace, name, {settings.resource: "2"}))
    assert _used(client.get(path)) == {key: "6"}
    for name, left in zip(names, ("4", "2", "0"), strict=True):
        if name == "deleted":
            client.delete(f"{pods}/{name}", grace=0)
        else:
            client.patch(f"{pods}/{name}/status", {"status": {"phase": name.capitalize()}}, MERGE)
        _wait_for_used(cluster, path, {key: left})
    _let_in_in_time(cluster, namespace, held_pod(namespace, "next", {settings.resource: "6"}))


@check(
    "quota-limits-prefix-ignored",
    level="should",
    profile="conformance",
    needs=["admin"],
    source="k8s 1.37.2 pkg/quota/v1/evaluator/core/pods.go:86",
    defects=["quota-counts-limits"],
    verbs=["pods: create", "resourcequotas: create get list watch"],
)
def test_limits_are_not_counted(cluster: Cluster, namespace: str, settings: Settings) -> None:
    """A quota on `limits.` of NPUs is let in and counts nothing, only one on `requests.` does.

    Kubernetes documents that `requests.` is the only prefix for extended resources, and yet takes the other one. Who
    relies on such a quota has none.
    """
    requests, limits = f"requests.{settings.resource}", f"limits.{settings.resource}"
    path = _quota(cluster, namespace, {requests: "3", limits: "1"})
    cluster.client.create(path_of("Pod", namespace), held_pod(namespace, "two", {settings.resource: "2"}))
    quota = cluster.client.get(path)
    assert quota["status"]["hard"] == {requests: "3", limits: "1"}
    assert _used(quota) == {requests: "2"}, summary(quota)


@check(
    "quota-unset-ok",
    profile="conformance",
    needs=["admin"],
    source="k8s 1.37.2 pkg/quota/v1/evaluator/core/pods.go:99",
    defects=["quota-demands-request"],
    verbs=["pods: create", "resourcequotas: create get list watch"],
)
def test_a_pod_without_npus_passes(cluster: Cluster, namespace: str, settings: Settings) -> None:
    """A pod that does not speak of NPUs is let in under a quota of none, and one that asks for an NPU is not."""
    pods, key = path_of("Pod", namespace), f"requests.{settings.resource}"
    _quota(cluster, namespace, {key: "0"})
    refused(cluster.client, pods, held_pod(namespace, "one", {settings.resource: "1"}))
    accepted(cluster.client, pods, held_pod(namespace, "none"))


@check(
    "spec-immutable",
    profile="conformance",
    needs=["admin"],
    source="k8s 1.37.2 test/e2e/apimachinery/resource_quota.go:304",
    defects=["changed-npus-accepted"],
    verbs=["pods: create get update", "resourcequotas: create get list watch"],
)
def test_npus_are_not_changed_in_place(cluster: Cluster, namespace: str, settings: Settings) -> None:
    """An update of a pod that changes its NPUs is refused, and the pod and the quota stay as they were."""
    client, npu, key = cluster.client, settings.resource, f"requests.{settings.resource}"
    quota, path = _quota(cluster, namespace, {key: "3"}), path_of("Pod", namespace, "fixed")
    stored = client.create(path_of("Pod", namespace), held_pod(namespace, "fixed", {npu: "2"}))
    del stored["metadata"]["resourceVersion"]  # the scheduler writes to the pod's status meanwhile
    stored["metadata"]["labels"] = {"changed": "true"}
    dry_run(client, path, stored, method="PUT")
    for count in ("1", "3"):
        stored["spec"]["containers"][0]["resources"] = {"limits": {npu: count}, "requests": {npu: count}}
        with refusal("An update that changes a pod's NPUs") as refusals:
            client.request("PUT", path, body=stored)
        assert "spec: Forbidden: pod updates may not change fields other than" in refusals[0].message
    resources = client.get(path)["spec"]["containers"][0]["resources"]
    assert resources == {"limits": {npu: "2"}, "requests": {npu: "2"}}
    assert _used(client.get(quota)) == {key: "2"}


def _quota(cluster: Cluster, namespace: str, hard: dict[str, str], name: str = NAME) -> str:
    """The path of a new quota that has counted what is there and that admission keeps."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"hard": hard},
    }
    cluster.client.create(path_of("ResourceQuota", namespace), quota)
    path = path_of("ResourceQuota", namespace, name)

    is_counted = partial(_is_counted, hard=hard)
    wait_for(cluster.client, f"the quota {name} to be counted", path, is_counted, timeout=STATUS_SECONDS)
    resource = next(key for key in hard if key.startswith("requests.")).removeprefix("requests.")
    error = _refused_in_time(cluster, namespace, held_pod(namespace, "more-than-any", {resource: MORE_THAN_ANY}))
    assert "exceeded quota" in error.message
    return path


def _counted(cluster: Cluster, path: str, key: str, used: str) -> Object:
    """The quota, once the controller manager has counted `used`, or has not in FORCE_SECONDS.

    It counts when a quota is new or changed, not when a pod is made, and its view of the pods may be older than the
    newest of them (seen: a quota made at once after a pod counted none).
    """
    client, deadline = cluster.client, time.monotonic() + FORCE_SECONDS
    quota = client.get(path)
    while _used(quota) != {key: used} and time.monotonic() < deadline:
        hard = {key: str(int(quota["spec"]["hard"][key]) + 1)}
        client.patch(path, {"spec": {"hard": hard}})
        has_counted = partial(_is_counted, hard=hard)
        quota = wait_for(client, "the quota to be counted again", path, has_counted, timeout=STATUS_SECONDS)
    return quota


def _is_counted(quota: Object | None, hard: dict[str, str]) -> bool:
    status = (quota or {}).get("status") or {}
    return bool(status.get("hard") == hard and status.get("used"))


def _refused_in_time(cluster: Cluster, namespace: str, pod: Object) -> ApiError:
    """Why a dry run of the pod is refused, once admission's own cache has what the API server stores."""
    deadline = time.monotonic() + FORCE_SECONDS
    while time.monotonic() < deadline:  # nothing but an answer tells that the cache is there; each takes its own time
        try:
            dry_run(cluster.client, path_of("Pod", namespace), pod)
        except Forbidden as error:
            if error.permission is not None:
                raise
            return error
    raise AssertionError(f"The pod {pod['metadata']['name']} is let in {FORCE_SECONDS:g} s after the quota forbids it.")


def _let_in_in_time(cluster: Cluster, namespace: str, pod: Object) -> Object:
    """The pod as it was made, once admission's own cache has what the API server stores (seen: it was older)."""
    deadline = time.monotonic() + FORCE_SECONDS
    while True:  # nothing but an answer tells that the cache is there; a refused pod leaves nothing
        try:
            return cluster.client.create(path_of("Pod", namespace), pod)
        except Forbidden as error:
            if error.permission is not None:
                raise
            if time.monotonic() > deadline:
                name, after = pod["metadata"]["name"], f"{FORCE_SECONDS:g} s after the quota has room for it"
                raise AssertionError(f"The pod {name} is refused {after}: {error.message}") from error


def _used(quota: Object) -> dict[str, str]:
    used: dict[str, str] = quota["status"]["used"]
    return used


def _wait_for_used(cluster: Cluster, path: str, used: dict[str, str]) -> None:
    what = f"the quota to count {', '.join(f'{count} {key}' for key, count in used.items())}"
    wait_for(
        cluster.client, what, path, lambda quota: quota is not None and _used(quota) == used, timeout=STATUS_SECONDS
    )
