"""How a pod may ask for NPUs: the name of the resource, its quantity, and where it is written."""

from __future__ import annotations

from fixtures.apipaths import path_of
from fixtures.checks import check
from fixtures.dryrun import accepted, causes, dry_run, invalid, refused, unsupported
from fixtures.options import Settings
from fixtures.podspecs import held_pod
from fixtures.targets import Cluster

RESOURCES = "spec.containers[0].resources"
CONTROL = "control"
"""Name of the pod that shows that a refusal is for what was asked, and not for the pod: it must be let in."""


@check(
    "req-eq-limit",
    profile="conformance",
    source="k8s 1.37.2 pkg/apis/core/validation/validation.go:8296",
    defects=["request-made-equal-to-limit"],
    verbs=["pods: create"],
)
def test_a_request_equals_its_limit(cluster: Cluster, empty_namespace: str, settings: Settings) -> None:
    """A request for NPUs that is less or more than its limit is refused."""
    pods, npu = path_of("Pod", empty_namespace), settings.resource
    dry_run(cluster.client, pods, held_pod(empty_namespace, CONTROL, {npu: "2"}, {npu: "2"}))
    for count in ("1", "3"):
        error = refused(cluster.client, pods, held_pod(empty_namespace, "unequal", {npu: "2"}, {npu: count}))
        assert causes(error) == {(f"{RESOURCES}.requests", invalid(count, f"must be equal to {npu} limit of 2"))}


@check(
    "req-without-limit",
    profile="conformance",
    source="k8s 1.37.2 pkg/apis/core/validation/validation.go:8304",
    defects=["limit-added-to-request"],
    verbs=["pods: create"],
)
def test_a_request_needs_a_limit(cluster: Cluster, empty_namespace: str, settings: Settings) -> None:
    """A request for NPUs without a limit is refused."""
    pods, npu = path_of("Pod", empty_namespace), settings.resource
    dry_run(cluster.client, pods, held_pod(empty_namespace, CONTROL, {npu: "1"}, {npu: "1"}))
    error = refused(cluster.client, pods, held_pod(empty_namespace, "without-limit", requests={npu: "1"}))
    sentence = "Required value: Limit must be set for non overcommitable resources"
    assert causes(error) == {(f"{RESOURCES}.limits", sentence)}


@check(
    "limit-only-defaults",
    profile="conformance",
    source="k8s 1.37.2 pkg/apis/core/v1/defaults.go:170",
    defects=["npus-ignored"],
    verbs=["pods: create"],
)
def test_a_limit_becomes_the_request(cluster: Cluster, empty_namespace: str, settings: Settings) -> None:
    """A pod that has a limit of NPUs and no request is let in, and requests as many."""
    pods, npu = path_of("Pod", empty_namespace), settings.resource
    pod = accepted(cluster.client, pods, held_pod(empty_namespace, "limit-only", {npu: "3"}))
    resources = pod["spec"]["containers"][0]["resources"]
    assert resources == {"limits": {npu: "3"}, "requests": {npu: "3"}}, f"The pod's resources are {resources}."


@check(
    "integer-only",
    profile="conformance",
    source="k8s 1.37.2 pkg/apis/core/validation/validation.go:8544",
    defects=["fraction-rounded-up"],
    verbs=["pods: create"],
)
def test_npus_are_whole(cluster: Cluster, empty_namespace: str, settings: Settings) -> None:
    """A part of an NPU cannot be asked for, while a whole number may be written in thousandths."""
    pods, npu = path_of("Pod", empty_namespace), settings.resource
    whole = accepted(cluster.client, pods, held_pod(empty_namespace, "whole", {npu: "1000m"}))
    assert whole["spec"]["containers"][0]["resources"]["limits"][npu] == "1"
    for part, written in (("0.5", "500m"), ("500m", "500m"), ("1500m", "1500m")):
        error = refused(cluster.client, pods, held_pod(empty_namespace, "part", {npu: part}))
        assert causes(error) == _in_limits_and_requests(npu, invalid(written, "must be an integer"))


@check(
    "non-negative",
    profile="conformance",
    source="k8s 1.37.2 pkg/apis/core/validation/validation.go:8547",
    defects=["sign-dropped"],
    verbs=["pods: create"],
)
def test_npus_are_not_negative(cluster: Cluster, empty_namespace: str, settings: Settings) -> None:
    """Fewer than no NPUs cannot be asked for."""
    pods, npu = path_of("Pod", empty_namespace), settings.resource
    dry_run(cluster.client, pods, held_pod(empty_namespace, CONTROL, {npu: "1"}))
    error = refused(cluster.client, pods, held_pod(empty_namespace, "negative", {npu: "-1"}))
    assert causes(error) == _in_limits_and_requests(npu, invalid("-1", "must be greater than or equal to 0"))


@check(
    "name-unqualified",
    profile="conformance",
    source="k8s 1.37.2 pkg/apis/core/validation/validation.go:7860",
    defects=["domain-added-to-name"],
    verbs=["pods: create"],
)
def test_a_name_has_a_domain(cluster: Cluster, empty_namespace: str, settings: Settings) -> None:
    """A resource name without a domain is refused."""
    pods = path_of("Pod", empty_namespace)
    dry_run(cluster.client, pods, held_pod(empty_namespace, CONTROL, {settings.resource: "1"}))
    for name in (settings.resource.rpartition("/")[2], "invalid_resource_name"):
        error = refused(cluster.client, pods, held_pod(empty_namespace, "without-domain", {name: "1"}))
        assert causes(error) == {
            *_in_limits_and_requests(name, invalid(name, "must be a standard resource type or fully qualified")),
            *_in_limits_and_requests(name, invalid(name, "must be a standard resource for containers")),
        }


@check(
    "name-not-extended",
    profile="conformance",
    source="k8s 1.37.2 pkg/apis/core/validation/validation.go:7878",
    defects=["prefix-taken-from-name"],
    verbs=["pods: create"],
)
def test_a_name_can_be_counted_by_a_quota(cluster: Cluster, empty_namespace: str, settings: Settings) -> None:
    """A resource name that a quota could not count, as it has the quota's prefix or is too long for it, is refused."""
    pods = path_of("Pod", empty_namespace)
    # a domain may have 253 characters: with `requests.` before it this one has them, and one more is too many
    longest = ".".join(["d" * 61, "d" * 60, "d" * 60, "d" * 60])
    dry_run(cluster.client, pods, held_pod(empty_namespace, CONTROL, {settings.resource: "1", f"{longest}/npu": "1"}))
    for name in (f"requests.{settings.resource}", f"d{longest}/npu"):
        error = refused(cluster.client, pods, held_pod(empty_namespace, "not-extended", {name: "1"}))
        assert causes(error) == _in_limits_and_requests(
            name, invalid(name, "doesn't follow extended resource name standard")
        )


@check(
    "pod-level-refused",
    profile="conformance",
    source="k8s 1.37.2 pkg/apis/core/validation/validation.go:7888",
    defects=["pod-level-resources-dropped"],
    verbs=["pods: create"],
)
def test_npus_belong_to_containers(cluster: Cluster, empty_namespace: str, settings: Settings) -> None:
    """NPUs cannot be asked for at the level of the pod, as cpu and memory can."""
    pods, npu = path_of("Pod", empty_namespace), settings.resource
    dry_run(cluster.client, pods, held_pod(empty_namespace, CONTROL, resources={"limits": {"cpu": "1"}}))
    error = refused(cluster.client, pods, held_pod(empty_namespace, "pod-level", resources={"limits": {npu: "1"}}))
    sentence = unsupported(npu, "cpu", "hugepages-", "memory")
    assert causes(error) == {(f"spec.resources.limits[{npu}]", sentence)}


@check(
    "deviceclass-name-valid",
    profile="conformance",
    needs=["admin"],
    source="k8s 1.37.2 pkg/apis/resource/validation/validation.go:747",
    defects=["domain-added-to-device-class"],
    verbs=["deviceclasses.resource.k8s.io: create"],
)
def test_a_device_class_stands_for_an_extended_resource(
    cluster: Cluster, empty_namespace: str, settings: Settings
) -> None:
    """A device class can stand for the NPU's resource, and not for a name that is no extended resource."""
    classes, npu = path_of("DeviceClass"), settings.resource

    def standing_for(name: str) -> dict[str, object]:
        metadata, spec = {"name": empty_namespace}, {"extendedResourceName": name}
        return {"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": metadata, "spec": spec}

    accepted(cluster.client, classes, standing_for(npu))
    short = npu.rpartition("/")[2]
    for name, sentence in (
        (short, "a name must be a domain-prefixed path, such as 'example.com/my-prop'"),
        (f"kubernetes.io/{short}", 'must not have "kubernetes.io/" domain'),
        (f"requests.{npu}", 'must not have "requests." prefix'),
    ):
        error = refused(cluster.client, classes, standing_for(name))
        assert causes(error) == {("spec.extendedResourceName", invalid(name, sentence))}


def _in_limits_and_requests(name: str, sentence: str) -> set[tuple[str, str]]:
    """The sentence twice: a limit is copied to the request before both are judged."""
    return {(f"{RESOURCES}.{kind}[{name}]", sentence) for kind in ("limits", "requests")}
