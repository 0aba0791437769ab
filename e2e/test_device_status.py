"""What a pod's status says of the health of its NPUs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fixtures.apipaths import path_of
from fixtures.checkfixtures import Share
from fixtures.checks import check
from fixtures.client import Object
from fixtures.describe import summary
from fixtures.errors import HarnessError
from fixtures.health import HEALTH_SECONDS, device_health
from fixtures.ownplugin import OwnPlugin
from fixtures.podresources import account
from fixtures.pods import ended, ended_too_early
from fixtures.probe import CONTAINER, ENDS, Family, container, created, end, pod, running, sight
from fixtures.targets import Cluster
from fixtures.wait import WaitTimeout, wait_for

NOBODY = "127.0.0.1:9/npu-conformance/absent:1"
"""An image that no registry has: nobody listens at the discard port of a node's loopback (RFC 863)."""
UNPULLED = {"ErrImagePull", "ImagePullBackOff"}


@check(
    "ars-healthy-unhealthy",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_failures_pod_status_test.go:126",
    defects=["health-not-in-status", "late-health", "mute-after-first-list"],
    verbs=["nodes: list watch", "pods/exec: create get", "pods/log: get", "pods: create delete get list watch"],
)
def test_a_pods_status_follows_the_health_of_its_npu(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A running pod's status names its NPU as Healthy, Unhealthy and Healthy again, as the plugin reports it."""
    own = plugin(count=1)
    own.advertised(1, 1)
    asking = container(replace(family, resource=own.resource), cluster.image, 1, stays=True)
    held = running(cluster, created(cluster, namespace, pod("holder", asking)))
    (device,) = sight(cluster.client, held).visible
    assert account(cluster, own.node).of(held, own.resource) == {CONTAINER: frozenset({device})}
    for health in ("Healthy", "Unhealthy", "Healthy"):
        own.ctl("health", device, health)
        shown = _shown(cluster, held, own.resource, device, health)
        (status,) = shown["status"]["containerStatuses"]
        listed = [{"resourceID": device, "health": health}]
        assert status["allocatedResourcesStatus"] == [{"name": own.resource, "resources": listed}]
    assert shown["status"]["phase"] == "Running", summary(shown)


@check(
    "ars-pending-image",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_failures_pod_status_test.go:186",
    defects=["health-not-in-status", "late-health", "mute-after-first-list"],
    verbs=["nodes: list watch", "pods/exec: create get", "pods/log: get", "pods: create delete get list watch"],
)
def test_a_pod_that_waits_for_its_image_shows_its_npus_health(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A pod whose image cannot be pulled already names the NPU that it holds, and follows the NPU's health."""
    own = plugin(count=1)
    own.advertised(1, 1)
    asking = container(replace(family, resource=own.resource), NOBODY, 1)
    made = created(cluster, namespace, pod("waiting", asking))
    what = "waiting to wait for its image"
    waiting = wait_for(cluster.client, what, _path(made), _waits_for_image, timeout=HEALTH_SECONDS, failed=_never_waits)
    ((device,),) = account(cluster, own.node).of(waiting, own.resource).values()
    for health in ("Healthy", "Unhealthy"):
        own.ctl("health", device, health)
        shown = _shown(cluster, waiting, own.resource, device, health)
        assert _waits_for_image(shown), summary(shown)


@check(
    "ars-scope",
    level="should",
    profile="conformance",
    needs=["idle-nodes"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:1164",
    verbs=["pods: create delete get list watch"],
)
def test_init_containers_do_not_show_the_health_of_their_npus(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """Only a pod's containers name their NPUs and the health of these; init containers do not, not even one that stays.

    The kubelet looks at no other statuses: a limit of KEP-4680 as it is. A kubelet that tells more is none the worse.
    """
    share = npus(2)
    first = container(family, cluster.image, 1, name="first")
    beside = container(family, cluster.image, 1, stays=True, name="beside", restartPolicy="Always")
    main = container(family, cluster.image, 1, stays=True)
    made = created(cluster, namespace, pod("both", main, node=share.node, initContainers=[first, beside]))
    try:
        shown = wait_for(
            cluster.client,
            f"the health of {CONTAINER}'s NPU",
            _path(made),
            lambda seen: list(device_health(seen, family.resource).get(CONTAINER, {}).values()) == ["Healthy"],
            timeout=HEALTH_SECONDS,
            failed=ended_too_early,
        )
    except WaitTimeout as error:
        raise HarnessError(
            f"The container itself shows no health, so that init containers without it prove nothing: {error.cause}",
            "See that the kubelets have the feature gate ResourceHealthStatus; it is on from Kubernetes 1.36.",
        ) from error
    told = device_health(shown, family.resource, "initContainerStatuses")
    assert not told, f"Init containers show the health of their NPUs: {told}."


@check(
    "ars-plugin-gone",
    level="should",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:447",
    verbs=["nodes: list watch", "pods/exec: create get", "pods/log: get", "pods: create delete get list watch"],
)
def test_a_plugin_that_goes_changes_no_health(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A pod's status still names its NPU as Healthy once the NPU's plugin is gone, though no NPU is allocatable.

    A caveat: the kubelet marks the resource and not its devices, so that nobody learns from the pod that it is blind.
    """
    own = plugin(count=1)
    own.advertised(1, 1)
    asking = container(replace(family, resource=own.resource), cluster.image, 1, stays=True)
    ending = container(family, cluster.image, name="ending", command=["sh", "-c", ENDS.format(status=0)])
    held = running(cluster, created(cluster, namespace, pod("holder", asking, ending)))
    (device,) = sight(cluster.client, held).visible
    _shown(cluster, held, own.resource, device, "Healthy")
    own.stopped()
    own.advertised(1, 0)
    # a container that ends makes the kubelet write the whole status anew
    end(cluster, held, "ending")
    what = "the status of holder to be written anew"
    shown = wait_for(cluster.client, what, _path(held), _has_ended_one, timeout=HEALTH_SECONDS, failed=ended_too_early)
    assert device_health(shown, own.resource) == {CONTAINER: {device: "Healthy"}}


def _path(made: Object) -> str:
    return path_of("Pod", made["metadata"]["namespace"], made["metadata"]["name"])


def _shown(cluster: Cluster, held: Object, resource: str, device: str, health: str) -> Object:
    """The pod, once its status shows this health of its only device."""
    wanted = {CONTAINER: {device: health}}
    return wait_for(
        cluster.client,
        f"the status of {held['metadata']['name']} to name {device} as {health}",
        _path(held),
        lambda seen: device_health(seen, resource) == wanted,
        timeout=HEALTH_SECONDS,
        failed=_never_waits,
        uid=held["metadata"]["uid"],
    )


def _waits_for_image(seen: Object | None) -> bool:
    states = ((seen or {}).get("status") or {}).get("containerStatuses") or []
    return [((one.get("state") or {}).get("waiting") or {}).get("reason") in UNPULLED for one in states] == [True]


def _never_waits(seen: Object | None) -> str | None:
    return f"it has ended: {summary(seen)}" if ended(seen) else None


def _has_ended_one(seen: Object | None) -> bool:
    states = ((seen or {}).get("status") or {}).get("containerStatuses") or []
    return any("terminated" in (one.get("state") or {}) for one in states)
