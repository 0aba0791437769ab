"""Who reaches an NPU: the container that asked for it, and no other."""

from __future__ import annotations

from collections.abc import Callable

from fixtures.access import NULL, Seer, control, guesses, numbers, seer, tries
from fixtures.checkfixtures import Share
from fixtures.checks import check
from fixtures.errors import HarnessError
from fixtures.probe import Family, container, created, pod
from fixtures.targets import Cluster

BESIDE = "beside"
"""Name of a container that asks for nothing, in a pod with one that asks."""


@check(
    "access-none-without-request",
    profile="conformance",
    source="CNCF AI conformance 1.34 secure accelerator access",
    defects=["facts-for-all", "unconfined", "variable-for-all"],
    verbs=["pods/exec: create get", "pods/log: get", "pods: create delete get list watch"],
)
def test_a_container_that_asks_for_none_sees_none(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """A container that asks for no NPU has no NPU's device node, variable or mount, beside one that asks and has."""
    holder, other = _side_by_side(cluster, namespace, family, npus(1).node)
    found = tries(cluster, other, family, ())
    assert not other.sight.nodes, f"It sees {sorted(other.sight.nodes)}; the one that asks sees {holder.sight.nodes}."
    assert found.variable is None, f"It is told {family.variable}={found.variable}."
    assert not found.mounts, f"It has what no other container has: {sorted(found.mounts)}."


@check(
    "access-none-opened",
    profile="conformance",
    source="CNCF AI conformance 1.34 secure accelerator access",
    defects=["unconfined"],
    verbs=["pods/exec: create get", "pods/log: get", "pods: create delete get list watch"],
)
def test_a_container_that_asks_for_none_opens_none(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """A container that asks for no NPU opens none by the path that one beside it has opened, nor by a guessed one."""
    holder, other = _side_by_side(cluster, namespace, family, npus(1).node)
    found = tries(cluster, other, family, guesses(family, holder))
    assert not found.opened, f"It opened {sorted(found.opened)}."


@check(
    "access-no-mknod",
    profile="conformance",
    source="CNCF AI conformance 1.34 secure accelerator access",
    defects=["unconfined"],
    verbs=["pods/exec: create get", "pods/log: get", "pods: create delete get list watch"],
)
def test_a_device_node_that_a_container_makes_opens_no_npu(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """A container that asks for no NPU cannot make a device node that opens the NPU of one beside it."""
    holder, other = _side_by_side(cluster, namespace, family, npus(1).node)
    wanted = numbers(cluster, holder)
    found = tries(cluster, other, family, {*wanted, NULL})
    if NULL in found.made and NULL not in found.opened:
        raise HarnessError(
            "A device node made of /dev/null's numbers does not open, so that one of an NPU's proves nothing.",
            "See whether /dev of containers is mounted nodev, and what confines them (AppArmor, SELinux).",
        )
    assert not found.opened & wanted, f"It opened the NPU by a node that it made: {sorted(found.opened & wanted)}."


@check(
    "access-only-the-asking-container",
    profile="conformance",
    source="CNCF AI conformance 1.34 secure accelerator access",
    defects=["unconfined"],
    verbs=["pods/exec: create get", "pods/log: get", "pods: create delete get list watch"],
)
def test_of_two_containers_only_the_one_that_asks_sees_the_npu(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """Of two containers of a pod the one that asks for an NPU has it, and the other neither sees nor opens it."""
    share = npus(1)
    asking = container(family, cluster.image, 1, stays=True)
    beside = container(family, cluster.image, stays=True, name=BESIDE)
    made = created(cluster, namespace, pod("both", asking, beside, node=share.node))
    holder = control(cluster, made)
    _has_one(holder)
    _has_none(cluster, family, seer(cluster, made, BESIDE), holder)


@check(
    "access-own-npu-only",
    profile="conformance",
    needs=["idle-nodes"],
    source="CNCF AI conformance 1.34 secure accelerator access",
    defects=["all-devices", "same-device"],
    verbs=["pods/exec: create get", "pods/log: get", "pods: create delete get list watch"],
)
def test_a_pod_reaches_its_own_npu_and_no_other(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """Each of two pods on a node sees its own NPU and no other, and opens the other's neither by path nor by mknod."""
    share = npus(2)
    made = [
        created(cluster, namespace, pod(name, container(family, cluster.image, 1, stays=True), node=share.node))
        for name in ("one", "two")
    ]
    one, two = (control(cluster, each) for each in made)
    _has_own(one, two)
    for holder, other in ((one, two), (two, one)):
        aims = {*guesses(family, one, two), *numbers(cluster, other)}
        opened = tries(cluster, holder, family, aims).opened
        assert opened == holder.sight.opened, f"{_name(holder)} opened {sorted(opened - holder.sight.opened)} as well."


@check(
    "access-mixed",
    profile="conformance",
    needs=["idle-nodes"],
    source="CNCF AI conformance 1.34 secure accelerator access",
    defects=["all-devices", "same-device", "unconfined"],
    verbs=["pods/exec: create get", "pods/log: get", "pods: create delete get list watch"],
)
def test_pods_with_and_without_npus_side_by_side(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """Of pods side by side on a node each that asks has an NPU that no other has, and each that does not has none."""
    share = npus(2)
    made = [
        created(cluster, namespace, pod(f"asks-{count}-{number}", asked, node=share.node))
        for number in (1, 2)
        for count, asked in ((count, container(family, cluster.image, count, stays=True)) for count in (0, 1))
    ]
    one, two = (control(cluster, each) for each in made[1::2])
    _has_own(one, two)
    for each in made[::2]:
        _has_none(cluster, family, seer(cluster, each), one, two)


@check(
    "access-env-forged",
    profile="conformance",
    needs=["visible-devices-env"],
    source="CNCF AI conformance 1.34 secure accelerator access",
    defects=["forged-variable-honoured"],
    verbs=["pods/exec: create get", "pods/log: get", "pods: create delete get list watch"],
)
def test_a_forged_variable_gives_no_npu(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """A pod that names another's NPU in a variable of its own gets nothing by it, whether it asks for an NPU or not."""
    share = npus(2)
    asking = container(family, cluster.image, 1, stays=True)
    holder = control(cluster, created(cluster, namespace, pod("holder", asking, node=share.node)))
    forged = {"env": [{"name": family.variable, "value": ",".join(holder.sight.visible)}]}
    made = [
        created(cluster, namespace, pod(name, asked | forged, node=share.node))
        for name, asked in (("without", container(family, cluster.image, stays=True)), ("with", asking))
    ]
    without, own = seer(cluster, made[0]), control(cluster, made[1])
    aims = {*guesses(family, holder), *numbers(cluster, holder)}
    assert not without.sight.nodes, f"It sees {sorted(without.sight.nodes)}."
    opened = tries(cluster, without, family, aims).opened
    assert not opened, f"It opened {sorted(opened)}."
    assert not own.sight.nodes & holder.sight.nodes, f"It sees the other's {sorted(own.sight.nodes)}."
    opened = tries(cluster, own, family, aims).opened
    assert opened == own.sight.opened, f"It opened {sorted(opened - own.sight.opened)} as well."


def _side_by_side(cluster: Cluster, namespace: str, family: Family, node: str) -> tuple[Seer, Seer]:
    """A container with one NPU and one without any, in pods of their own on the node."""
    asking, other = (
        created(cluster, namespace, pod(name, container(family, cluster.image, count, stays=True), node=node))
        for name, count in (("asking", 1), ("other", 0))
    )
    return control(cluster, asking), seer(cluster, other)


def _has_one(holder: Seer) -> None:
    assert len(holder.sight.nodes) == 1, f"{_name(holder)} asked for one, and sees {sorted(holder.sight.nodes)}."
    assert holder.sight.opened == holder.sight.nodes


def _has_own(one: Seer, two: Seer) -> None:
    for each in (one, two):
        _has_one(each)
    shared = one.sight.nodes & two.sight.nodes
    assert not shared, f"{_name(one)} and {_name(two)} both see {sorted(shared)}."
    named = {*one.sight.visible} & {*two.sight.visible}
    assert not named, f"{_name(one)} and {_name(two)} are both told {sorted(named)}."


def _has_none(cluster: Cluster, family: Family, other: Seer, *holders: Seer) -> None:
    assert not other.sight.nodes, f"{_name(other)} asked for none, and sees {sorted(other.sight.nodes)}."
    found = tries(cluster, other, family, guesses(family, *holders))
    assert not found.opened, f"{_name(other)} opened {sorted(found.opened)}."
    assert found.variable is None, f"{_name(other)} is told {family.variable}={found.variable}."


def _name(who: Seer) -> str:
    return f"{who.pod['metadata']['name']}/{who.name}"
