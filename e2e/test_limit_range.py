"""Limit ranges: what a namespace lets a single container ask for."""

from __future__ import annotations

from fixtures.apipaths import path_of
from fixtures.checks import check
from fixtures.client import Object
from fixtures.dryrun import accepted, causes, dry_run, invalid, refused
from fixtures.options import Settings
from fixtures.podspecs import held_pod
from fixtures.targets import Cluster


def _limit_range(namespace: str, **limits: dict[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "npus", "namespace": namespace},
        "spec": {"limits": [{"type": "Container", **limits}]},
    }


@check(
    "limitrange-default-pair",
    profile="conformance",
    needs=["admin"],
    source="k8s 1.37.2 pkg/apis/core/validation/validation.go:8063",
    defects=["limit-range-defaults-made-equal"],
    verbs=["limitranges: create"],
)
def test_defaults_are_equal(cluster: Cluster, empty_namespace: str, settings: Settings) -> None:
    """A limit range whose default request of NPUs differs from its default limit is refused."""
    ranges, npu = path_of("LimitRange", empty_namespace), settings.resource
    dry_run(cluster.client, ranges, _limit_range(empty_namespace, default={npu: "2"}, defaultRequest={npu: "2"}))
    field = f"spec.limits[0].defaultRequest[{npu}]"
    above = "default request value 2 is greater than default limit value 1"
    for limit, request, sentences in (("2", "1", []), ("1", "2", [above])):
        unequal = _limit_range(empty_namespace, default={npu: limit}, defaultRequest={npu: request})
        expected = [*sentences, f"default value {limit} must equal to defaultRequest value {request} in {npu}"]
        error = refused(cluster.client, ranges, unequal)
        assert causes(error) == {(field, invalid(request, sentence)) for sentence in expected}


@check(
    "limitrange-max",
    profile="conformance",
    needs=["admin"],
    source="k8s 1.37.2 plugin/pkg/admission/limitranger/admission.go:348",
    defects=["limit-range-not-enforced"],
    verbs=["limitranges: create", "pods: create"],
)
def test_no_container_asks_for_more(cluster: Cluster, namespace: str, settings: Settings) -> None:
    """A container that asks for more NPUs than a limit range allows is refused, with both figures."""
    pods, npu = path_of("Pod", namespace), settings.resource
    cluster.client.create(path_of("LimitRange", namespace), _limit_range(namespace, max={npu: "1"}))
    error = refused(cluster.client, pods, held_pod(namespace, "above", {npu: "2"}))
    assert f"maximum {npu} usage per Container is 1, but limit is 2" in error.message
    accepted(cluster.client, pods, held_pod(namespace, "within", {npu: "1"}))


@check(
    "limitrange-min",
    profile="conformance",
    needs=["admin"],
    source="k8s 1.37.2 plugin/pkg/admission/limitranger/admission.go:315",
    defects=["limit-range-not-enforced"],
    verbs=["limitranges: create", "pods: create"],
)
def test_no_container_asks_for_less(cluster: Cluster, namespace: str, settings: Settings) -> None:
    """A container that asks for fewer NPUs than a limit range demands is refused, with both figures."""
    pods, npu = path_of("Pod", namespace), settings.resource
    cluster.client.create(path_of("LimitRange", namespace), _limit_range(namespace, min={npu: "2"}))
    error = refused(cluster.client, pods, held_pod(namespace, "below", {npu: "1"}))
    assert f"minimum {npu} usage per Container is 2, but request is 1" in error.message
    accepted(cluster.client, pods, held_pod(namespace, "within", {npu: "2"}))
