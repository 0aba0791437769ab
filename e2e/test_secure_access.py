"""Who reaches an NPU: the container that asked for it, and no other."""

from __future__ import annotations

from collections.abc import Callable

from fixtures.access import NULL, Seer, control, guesses, looking, seer
from fixtures.checkfixtures import Share
from fixtures.checks import check
from fixtures.client import Object
from fixtures.errors import HarnessError
from fixtures.podscheduling import deleted
from fixtures.probe import Family, created, pod
from fixtures.targets import Cluster

BESIDE = "beside"
"""Name of a container that asks for nothing, in a pod with one that asks."""


@check(
    "access-none-without-request",
    profile="conformance",
    source="CNCF AI conformance 1.34 secure accelerator access",
    defects=["facts-for-all", "unconfined", "variable-for-all"],
    verbs=["pods/log: get", "pods: create delete get list watch"],
)
def test_a_container_that_asks_for_none_sees_none(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """A container that asks for no NPU has no NPU's device node, variable or mount, beside one that asks and has."""
    holder, other = _side_by_side(cluster, namespace, family, npus(1).node, lambda _: frozenset())
    assert not other.sight.nodes, f"It sees {sorted(other.sight.nodes)}; the one that asks sees {holder.sight.nodes}."
    assert other.tries.variable is None, f"It is told {family.variable}={other.tries.variable}."
    assert not other.tries.mounts, f"It has what no other container has: {sorted(other.tries.mounts)}."


@check(
    "access-none-opened",
    profile="conformance",
    source="CNCF AI conformance 1.34 secure accelerator access",
    defects=["unconfined"],
    verbs=["pods/log: get", "pods: create delete get list watch"],
)
def test_a_container_that_asks_for_none_opens_none(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """A container that asks for no NPU opens none by the path that one beside it has opened, nor by a guessed one."""
    _, other = _side_by_side(cluster, namespace, family, npus(1).node, lambda holder: guesses(family, holder))
    assert not other.tries.reached, f"It opened {sorted(other.tries.reached)}."


@check(
    "access-no-mknod",
    profile="conformance",
    source="CNCF AI conformance 1.34 secure accelerator access",
    defects=["unconfined"],
    verbs=["pods/log: get", "pods: create delete get list watch"],
)
def test_a_device_node_that_a_container_makes_opens_no_npu(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """A container that asks for no NPU cannot make a device node that opens the NPU of one beside it."""
    holder, other = _side_by_side(
        cluster, namespace, family, npus(1).node, lambda holder: holder.tries.numbers | {NULL}
    )
    wanted, found = holder.tries.numbers, other.tries
    if NULL in found.made and NULL not in found.reached:
        raise HarnessError(
            "A device node made of /dev/null's numbers does not open, so that one of an NPU's proves nothing.",
            "See whether /dev of containers is mounted nodev, and what confines them (AppArmor, SELinux).",
        )
    assert not found.reached & wanted, f"It opened the NPU by a node that it made: {sorted(found.reached & wanted)}."


@check(
    "access-only-the-asking-container",
    profile="conformance",
    source="CNCF AI conformance 1.34 secure accelerator access",
    defects=["unconfined"],
    verbs=["pods/log: get", "pods: create delete get list watch"],
)
def test_of_two_containers_only_the_one_that_asks_sees_the_npu(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """Of two containers of a pod the one that asks for an NPU has it, and the other neither sees nor opens it."""
    share = npus(1)
    asking = looking(family, cluster.image, 1)
    beside = looking(family, cluster.image, aims=guesses(family), name=BESIDE)
    made = created(cluster, namespace, pod("both", asking, beside, node=share.node))
    holder = control(cluster, made)
    _has_one(holder)
    if missed := holder.sight.nodes - guesses(family):
        raise HarnessError(
            f"The NPU is {sorted(missed)}, which the container beside it did not guess, so that nothing is proven.",
            "Name a --device-path-pattern whose asterisk stands for the number of the NPU alone.",
        )
    _has_none(family, seer(cluster, made, BESIDE))


@check(
    "access-own-npu-only",
    profile="conformance",
    needs=["idle-nodes"],
    source="CNCF AI conformance 1.34 secure accelerator access",
    defects=["all-devices", "same-device"],
    verbs=["pods/log: get", "pods: create delete get list watch"],
)
def test_a_pod_reaches_its_own_npu_and_no_other(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """A pod sees its own NPU and no other, and opens that of another on its node neither by path nor by mknod."""
    share = npus(2)

    def asking(name: str, *others: Seer) -> Seer:
        one = looking(family, cluster.image, 1, aims=_aims(family, *others))
        return control(cluster, created(cluster, namespace, pod(name, one, node=share.node)))

    first = asking("first")
    second = asking("second", first)
    _has_own(first, second)
    _reaches_its_own(second)
    deleted(cluster, first.pod)
    third = asking("third", second)  # has what the first had: neither of both NPUs is the one that is open to all
    _has_own(second, third)
    _reaches_its_own(third)


@check(
    "access-mixed",
    profile="conformance",
    needs=["idle-nodes"],
    source="CNCF AI conformance 1.34 secure accelerator access",
    defects=["all-devices", "same-device", "unconfined"],
    verbs=["pods/log: get", "pods: create delete get list watch"],
)
def test_pods_with_and_without_npus_side_by_side(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """Of pods side by side on a node each that asks has an NPU that no other has, and each that does not has none."""
    share = npus(2)

    def pod_of(name: str, count: int, *holders: Seer) -> Object:
        made = looking(family, cluster.image, count, aims=guesses(family, *holders))
        return created(cluster, namespace, pod(name, made, node=share.node))

    before, asking = pod_of("asks-0-before", 0), [pod_of(f"asks-1-{number}", 1) for number in (1, 2)]
    one, two = (control(cluster, each) for each in asking)
    after = pod_of("asks-0-after", 0, one, two)
    _has_own(one, two)
    for each in (before, after):
        _has_none(family, seer(cluster, each))


@check(
    "access-env-forged",
    profile="conformance",
    needs=["idle-nodes", "visible-devices-env"],
    source="CNCF AI conformance 1.34 secure accelerator access",
    defects=["forged-variable-honoured"],
    verbs=["pods/log: get", "pods: create delete get list watch"],
)
def test_a_forged_variable_gives_no_npu(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """A pod that names another's NPU in a variable of its own gets nothing by it, whether it asks for an NPU or not."""
    share = npus(2)
    asking = pod("holder", looking(family, cluster.image, 1), node=share.node)
    holder = control(cluster, created(cluster, namespace, asking))
    forged = [{"name": family.variable, "value": ",".join(holder.sight.visible)}]
    made = []
    for name, count in (("without", 0), ("with", 1)):
        trying = looking(family, cluster.image, count, aims=_aims(family, holder), env=forged)
        made.append(created(cluster, namespace, pod(name, trying, node=share.node)))
    without, own = seer(cluster, made[0]), control(cluster, made[1])
    assert not without.sight.nodes, f"It sees {sorted(without.sight.nodes)}."
    assert not without.tries.reached, f"It opened {sorted(without.tries.reached)}."
    assert not own.sight.nodes & holder.sight.nodes, f"It sees the other's {sorted(own.sight.nodes)}."
    _reaches_its_own(own)


def _side_by_side(
    cluster: Cluster, namespace: str, family: Family, node: str, aims: Callable[[Seer], frozenset[str]]
) -> tuple[Seer, Seer]:
    """A container with one NPU, and one without any that has the aims of it, in pods of their own on the node."""
    asking = pod("asking", looking(family, cluster.image, 1), node=node)
    holder = control(cluster, created(cluster, namespace, asking))
    other = looking(family, cluster.image, aims=aims(holder))
    return holder, seer(cluster, created(cluster, namespace, pod("other", other, node=node)))


def _aims(family: Family, *holders: Seer) -> frozenset[str]:
    """All by which NPUs of these, and others, may be reached."""
    return guesses(family, *holders).union(*(holder.tries.numbers for holder in holders))


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


def _reaches_its_own(holder: Seer) -> None:
    more = holder.tries.reached - holder.sight.opened
    assert not more, f"{_name(holder)} opened {sorted(more)} as well."


def _has_none(family: Family, other: Seer) -> None:
    assert not other.sight.nodes, f"{_name(other)} asked for none, and sees {sorted(other.sight.nodes)}."
    assert not other.tries.reached, f"{_name(other)} opened {sorted(other.tries.reached)}."
    assert other.tries.variable is None, f"{_name(other)} is told {family.variable}={other.tries.variable}."


def _name(who: Seer) -> str:
    return f"{who.pod['metadata']['name']}/{who.name}"
