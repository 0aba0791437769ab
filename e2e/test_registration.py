"""How a device plugin becomes known to its kubelet, and what a node shows of it: from Register to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fixtures.apipaths import path_of
from fixtures.checks import check
from fixtures.client import Object
from fixtures.history import history_of
from fixtures.ownplugin import OwnPlugin, counts
from fixtures.podresources import account
from fixtures.pods import unscheduled
from fixtures.probe import CONTAINER, Family, container, created, pod, running, sight
from fixtures.targets import Cluster
from fixtures.upstream import is_within, known_upstream
from fixtures.wait import wait_for

GRACE_SECONDS = 300.0
"""endpointStopGracePeriod of pkg/kubelet/cm/devicemanager/types.go: until the capacity of a plugin that is gone is
forgotten."""
GRACE_TIMEOUT = 420.0
"""The grace, a minute for the node's status as in Kubernetes' own tests, and a busy machine's minute."""
SEEN_LATE = 5.0
"""Seconds by which a change may be seen later than it was: both ends of the grace are seen in the node's status."""
TRIES = "30"
"""Of a registration that is refused until a check lets it be right: more than a check takes."""
UNASKED_SECONDS = 10.0
"""In which a kubelet that would ask again has asked: it has no pause of its own for that; the profile `slow` looks for
five minutes."""
SOME, MANY = 5_000, 100_000
"""Of ids of 61 bytes, some fit into a message of 4 MiB and many do not."""


def shown(node: Object, resource: str) -> tuple[str | None, str | None]:
    """Capacity and allocatable as the node's status has them; None where it does not name the resource."""
    return node["status"]["capacity"].get(resource), node["status"]["allocatable"].get(resource)


def refused(cluster: Cluster, plugin: OwnPlugin, *, attempt: int = 4) -> str:
    """The kubelet's answer to a registration, of which the node and the kubelet's account then show nothing.

    Four attempts take as long as the kubelet takes to tell the API server what it has let in.
    """
    first = plugin.has_said("registered", "register-refused")
    assert first["event"] == "register-refused", f"The kubelet took the registration of {plugin.resource}."
    answer = str(plugin.has_said("register-refused", attempt=attempt)["answer"])
    node = cluster.client.get(path_of("Node", None, plugin.node))
    assert shown(node, plugin.resource) == (None, None)
    assert plugin.resource not in account(cluster, plugin.node).allocatable
    return answer


@check(
    "register-advertise",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_test.go:186",
    defects=["over-advertises"],
    verbs=["nodes: list watch", "pods: create get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_node_shows_the_npus_that_its_plugin_names(cluster: Cluster, plugin: Callable[..., OwnPlugin]) -> None:
    """A node shows as many NPUs as its plugin names, and the kubelet has the same ones to give."""
    named = plugin(count=3)
    named.advertised(3, 3)
    ids = {device["id"] for device in named.ctl("list")["devices"]}
    assert account(cluster, named.node).allocatable[named.resource] == ids
    assert [entry["event"] for entry in named.log()].count("registered") == 1


@check(
    "register-bad-version",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/plugin/v1beta1/server.go:164",
    defects=["every-registration-taken"],
    verbs=["nodes: get list watch", "pods: create get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_plugin_of_an_unknown_version_is_refused(cluster: Cluster, plugin: Callable[..., OwnPlugin]) -> None:
    """A plugin of an unknown API version is refused with the versions that fit, and its node shows nothing of it."""
    future = plugin(count=1, faults="Register bad-version", register_attempts=TRIES)
    answer = refused(cluster, future)
    assert answer == 'requested API version "v0" is not supported by kubelet. Supported version is ["v1beta1"]'
    future.ctl("fault", "clear")
    future.advertised(1, 1)


@check(
    "register-bad-name",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/plugin/v1beta1/server.go:170",
    defects=["every-registration-taken"],
    verbs=["nodes: get list watch", "pods: create get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_plugin_with_a_name_without_a_domain_is_refused(cluster: Cluster, plugin: Callable[..., OwnPlugin]) -> None:
    """A plugin whose resource name has no domain is refused, and its node shows no such resource."""
    short = plugin(count=1, faults="Register bad-name", register_attempts=TRIES)
    assert refused(cluster, short) == 'the ResourceName "npu" is invalid'
    node = cluster.client.get(path_of("Node", None, short.node))
    assert shown(node, "npu") == (None, None)
    short.ctl("fault", "clear")
    short.advertised(1, 1)


@check(
    "register-socket-missing",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/plugin/v1beta1/client.go:131",
    defects=["every-registration-taken"],
    verbs=["nodes: get list watch", "pods: create get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_plugin_whose_socket_is_not_there_is_refused(cluster: Cluster, plugin: Callable[..., OwnPlugin]) -> None:
    """A plugin whose socket is not there is refused once the kubelet has tried to reach it, for ten seconds at most."""
    lost = plugin(count=1, faults="Register bad-socket", register_attempts=TRIES)
    # the plugin gives up after 30 s, with an answer of its own
    assert refused(cluster, lost, attempt=1).startswith("failed to dial device plugin: ")
    lost.ctl("fault", "clear")
    lost.advertised(1, 1)


@check(
    "register-dup-socket",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:244",
    defects=["every-registration-taken"],
    verbs=["nodes: get list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_socket_is_registered_once(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A socket that is registered a second time is refused, and the plugin that has it goes on serving."""
    first = plugin(count=1, socket=f"{namespace}-same.sock")
    node = first.advertised(1, 1)
    first.ctl("fault", "set", "Register", "deaf")  # it holds on to its connection, whatever becomes of its socket
    second = first.named("second", register_attempts=TRIES).started()
    said = second.has_said("registered", "register-refused")
    if not is_within(node["status"]["nodeInfo"]["kubeletVersion"], "1.37.."):
        # by resource alone the kubelet told plugins apart, and the newest took over
        assert said["event"] == "registered", said
        return
    assert said["event"] == "register-refused", "The kubelet took a second registration of one socket."
    answer = said["answer"]
    assert answer.startswith("device plugin already connected: /var/lib/kubelet/device-plugins/"), answer
    assert answer.endswith("-same.sock"), answer
    one = container(replace(family, resource=first.resource), cluster.image, 1, stays=True)
    held = running(cluster, created(cluster, namespace, pod("held", one)))
    assert account(cluster, first.node).of(held, first.resource) == {
        CONTAINER: frozenset(sight(cluster.client, held).visible)
    }
    events = [[entry["event"] for entry in each.log()] for each in (first, second)]
    assert [each.count("allocated") for each in events] == [1, 0]


@check(
    "options-error",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_failures_test.go:102",
    defects=["every-registration-taken"],
    verbs=["nodes: get list watch", "pods: create get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_plugin_that_does_not_tell_its_options_adds_nothing(
    cluster: Cluster, plugin: Callable[..., OwnPlugin]
) -> None:
    """A plugin that does not tell its options is refused, is not asked for devices, and adds nothing to its node."""
    silent = plugin(count=1, faults="GetDevicePluginOptions error --message 'no firmware'", register_attempts=TRIES)
    answer = refused(cluster, silent)
    assert answer.startswith("failed to get device plugin options: "), answer
    assert "no firmware" in answer
    assert "stream-opened" not in [entry["event"] for entry in silent.log()]
    silent.ctl("fault", "clear")
    silent.advertised(1, 1)


@check(
    "lw-error-at-once",
    profile="conformance",
    needs=["faults"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_failures_test.go:269",
    defects=["streams-reopened", "zeros-not-named"],
    verbs=["nodes: list watch", "pods: create get list watch", "pods/log: get"],
)
def test_a_plugin_that_never_lists_its_devices_adds_none(cluster: Cluster, plugin: Callable[..., OwnPlugin]) -> None:
    """A plugin that never lists its devices is registered with none of them, and is not asked again."""
    mute = plugin(count=2, faults="ListAndWatch error")
    mute.has_said("registered")
    path, none = path_of("Node", None, mute.node), ("0", "0")

    def named(node: Object | None) -> bool:
        return node is not None and shown(node, mute.resource) == none

    wait_for(cluster.client, f"{mute.node} to name {mute.resource}", path, named, timeout=60)
    mute.keeps(0, 0, seconds=UNASKED_SECONDS)
    calls = [entry["event"] for entry in mute.log()]
    assert calls.count("stream-opened") == 1, f"The kubelet asked {calls.count('stream-opened')} times."


@check(
    "lw-error-later",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_failures_test.go:301",
    defects=["unhealthy-stays-allocatable"],
    verbs=["nodes: list watch", "pods: create get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_plugin_whose_list_breaks_off_has_no_device_to_give(
    cluster: Cluster, plugin: Callable[..., OwnPlugin]
) -> None:
    """A plugin whose list breaks off keeps its capacity for a while, and has no device to give."""
    broken = plugin(count=2)
    broken.advertised(2, 2)
    assert len(account(cluster, broken.node).allocatable[broken.resource]) == 2
    broken.ctl("fault", "set", "ListAndWatch", "error")
    broken.advertised(2, 0)
    assert not account(cluster, broken.node).allocatable.get(broken.resource)


@check(
    "plugin-stop",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_failures_test.go:345",
    defects=["unhealthy-stays-allocatable"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_plugin_that_has_ended_has_no_device_to_give(
    cluster: Cluster, namespace: str, family: Family, plugin: Callable[..., OwnPlugin]
) -> None:
    """A plugin that ends leaves its capacity for a while, and no device that a pod could be given."""
    ended = plugin(count=2)
    ended.advertised(2, 2)
    ended.stopped()
    ended.advertised(2, 0)
    assert not account(cluster, ended.node).allocatable.get(ended.resource)
    one = container(replace(family, resource=ended.resource), cluster.image, 1)
    made = created(cluster, namespace, pod("asks", one))
    path = path_of("Pod", namespace, "asks")
    asks = wait_for(cluster.client, "asks to find no node", path, unscheduled, timeout=30, uid=made["metadata"]["uid"])
    (why,) = [one["message"] for one in asks["status"]["conditions"] if one["type"] == "PodScheduled"]
    assert f"Insufficient {ended.resource}" in why


@check(
    "list-over-4-mib",
    profile="conformance",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/plugin/v1beta1/client.go:131, which sets no size of its own",
    defects=["unhealthy-stays-allocatable"],
    verbs=["nodes: list watch", "pods: create get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_list_that_is_too_long_is_never_taken_in_part(cluster: Cluster, plugin: Callable[..., OwnPlugin]) -> None:
    """A device list of more than 4 MiB is never taken in part.

    The kubelet of 1.37 reads messages of gRPC's usual size: a longer one ends the stream, and none of the plugin's
    devices can be given any more. Plugins that name a device for each MiB of memory run into that.
    """
    long = plugin(count=1)
    long.ctl("fault", "set", "ListAndWatch", "pad", "--extra", str(SOME))
    long.advertised(SOME + 1, SOME + 1)
    node, whole = path_of("Node", None, long.node), ((SOME + 1, 0), (MANY + 1, MANY + 1))
    with history_of(cluster.client, node) as history:
        long.ctl("fault", "set", "ListAndWatch", "pad", "--extra", str(MANY))
        what = f"{long.node} to have all or none of {MANY + 1} {long.resource} to give"
        wait_for(
            cluster.client, what, node, lambda now: now is not None and counts(now, long.resource) in whole, timeout=60
        )
        to_give = account(cluster, long.node).allocatable.get(long.resource, frozenset())
    seen = {counts(state, long.resource) for _, state in history.states} - {(SOME + 1, SOME + 1)}
    assert len(seen) == 1, f"Capacity and allocatable were {sorted(seen)}."
    assert len(to_give) in {0, MANY + 1}, f"The kubelet has {len(to_give)} to give."


@check(
    "lw-error-later-grace",
    profile="slow",
    needs=["faults"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_failures_test.go:301",
    defects=["streams-reopened", "unhealthy-stays-allocatable", "zeros-not-named"],
    verbs=["nodes: get list watch", "pods: create get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_a_broken_list_is_not_asked_for_again_and_its_capacity_is_forgotten_after_five_minutes(
    cluster: Cluster, plugin: Callable[..., OwnPlugin]
) -> None:
    """A plugin whose list breaks off is not asked again, and its capacity is forgotten after five minutes."""
    broken = plugin(count=2)
    broken.advertised(2, 2)
    with history_of(cluster.client, path_of("Node", None, broken.node)) as history:
        broken.ctl("fault", "set", "ListAndWatch", "error")
        broken.advertised(2, 0)
        node = broken.advertised(0, 0, timeout=GRACE_TIMEOUT)
    lasted = _grace([(at, counts(state, broken.resource)) for at, state in history.states], (2, 0))
    assert lasted >= GRACE_SECONDS - SEEN_LATE, f"The capacity was forgotten after {lasted:.0f} s."
    assert shown(node, broken.resource) == ("0", "0")
    streams = [entry for entry in broken.log() if entry["event"] == "stream-opened"]
    assert len(streams) == 1, f"The kubelet asked {len(streams)} times."


@check(
    "plugin-stop-grace",
    profile="slow",
    needs=["faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_failures_test.go:345",
    defects=["unhealthy-stays-allocatable", "zeros-not-named"],
    verbs=["nodes: get list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_the_capacity_of_a_plugin_that_has_ended_is_forgotten_after_five_minutes(
    cluster: Cluster, plugin: Callable[..., OwnPlugin]
) -> None:
    """A plugin that ends leaves its capacity for five minutes, and then a resource of which there are none."""
    ended = plugin(count=2)
    ended.advertised(2, 2)
    with history_of(cluster.client, path_of("Node", None, ended.node)) as history:
        ended.stopped()
        ended.advertised(2, 0)
        node = ended.advertised(0, 0, timeout=GRACE_TIMEOUT)
    lasted = _grace([(at, counts(state, ended.resource)) for at, state in history.states], (2, 0))
    assert lasted >= GRACE_SECONDS - SEEN_LATE, f"The capacity was forgotten after {lasted:.0f} s."
    assert shown(node, ended.resource) == ("0", "0")
    assert ended.resource not in account(cluster, ended.node).allocatable


@check(
    "register-dup-socket-then-end",
    level="should",
    profile="slow",
    needs=["faults"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/plugin/v1beta1/handler.go:84",
    defects=["unhealthy-stays-allocatable"],
    verbs=["nodes: list watch", "pods: create delete get list watch", "pods/exec: create get", "pods/log: get"],
)
def test_the_end_of_a_plugin_is_noticed_after_a_second_registration_was_refused(
    namespace: str, plugin: Callable[..., OwnPlugin]
) -> None:
    """A plugin whose socket was registered a second time in vain is still missed when it ends.

    Kubernetes 1.37 forgets the first connection with the refused one: the plugin's end goes unnoticed, its devices stay
    allocatable, and its socket is refused until the kubelet is started anew. The change that lets two plugins of one
    resource live side by side leaves this case out by its own word.
    """
    first = plugin(count=1, socket=f"{namespace}-same.sock")
    node = first.advertised(1, 1)
    first.ctl("fault", "set", "Register", "deaf")
    second = first.named("second", register_attempts=TRIES).started()
    second.has_said("registered", "register-refused")
    second.stopped()
    with known_upstream(
        "kubernetes/kubernetes#135437", "1.37..1.37", seen=node["status"]["nodeInfo"]["kubeletVersion"]
    ):
        first.stopped()
        first.advertised(1, 0, timeout=30)


def _grace(states: list[tuple[float, tuple[int, int]]], left: tuple[int, int]) -> float:
    """Seconds from the first state in which only the capacity was left to the one after the last such state."""
    times = [at for at, seen in states if seen == left]
    forgotten = next(at for at, seen in states if at > times[-1] and seen != left)
    return forgotten - times[0]
