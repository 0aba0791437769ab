"""Who has to go when a pod of higher priority asks for NPUs that are taken."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from fixtures.apipaths import path_of
from fixtures.checkfixtures import Share
from fixtures.checks import check
from fixtures.client import Object
from fixtures.describe import summary
from fixtures.podscheduling import SCHEDULE_SECONDS, is_waiting, now, pod_condition, priority_class
from fixtures.probe import Family, container, created, end, pod, running
from fixtures.targets import Cluster
from fixtures.wait import gone, wait_for
from fixtures.workloads import held_ids

LOW, MIDDLE, HIGH = -30, -20, -10
"""Below what pods have that say nothing of it, so that nobody else's pod can be a victim."""
CRITICAL = "system-cluster-critical"
GRACE_SECONDS = 30
"""More than it takes to look at a pod that has to go; it is let go as soon as it was seen."""
DEAF = "trap : TERM; trap 'exit 0' USR1; while :; do sleep 3600 & wait; done"
"""Does not end when it is asked to, so that it is there to be looked at, and then ends by a signal of the check's: a
kubelet (seen in 1.37.2) does not shorten a grace period that has begun."""


@check(
    "preempt-basic",
    profile="conformance",
    needs=["podresources"],
    source="k8s 1.37.2 test/e2e/scheduling/preemption.go:128",
    defects=["preempts-nobody"],
    verbs=[
        "pods: create delete get list watch",
        "pods/log: get",
        "priorityclasses.scheduling.k8s.io: create delete",
    ],
)
def test_a_pod_takes_the_npu_of_one_of_lower_priority(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """On a full node, a pod of higher priority gets the NPU of the pod of lowest priority, and of no other."""
    with ExitStack() as held:
        lowest, middle, highest = (
            held.enter_context(priority_class(cluster, namespace, word, value))
            for word, value in (("low", LOW), ("middle", MIDDLE), ("high", HIGH))
        )
        _lowest_alone_goes(cluster, namespace, family, npus(), (lowest, middle, highest))


@check(
    "preempt-critical",
    profile="conformance",
    needs=["podresources"],
    source="k8s 1.37.2 test/e2e/scheduling/preemption.go:218",
    defects=["preempts-nobody"],
    verbs=[
        "pods: create delete get list watch",
        "pods/log: get",
        "priorityclasses.scheduling.k8s.io: create delete",
    ],
)
def test_a_critical_pod_takes_the_npu_of_one_of_low_priority(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """On a full node, a pod that is critical to the cluster gets the NPU of one of low priority, and no other's."""
    with priority_class(cluster, namespace, "low", LOW) as low:
        _lowest_alone_goes(cluster, namespace, family, npus(), (low, None, CRITICAL))


@check(
    "preempt-condition",
    profile="conformance",
    needs=["idle-nodes"],
    source="k8s 1.37.2 test/e2e/scheduling/preemption.go:482",
    defects=["preempts-nobody"],
    verbs=[
        "pods/exec: create get",
        "pods: create delete get list watch",
        "priorityclasses.scheduling.k8s.io: create delete",
    ],
)
def test_a_pod_that_has_to_go_is_told_why(
    cluster: Cluster, namespace: str, family: Family, npus: Callable[..., Share]
) -> None:
    """A pod that is preempted for its NPUs says so in its status, and the pod that it goes for runs after it."""
    share = npus()
    low = priority_class(cluster, namespace, "low", LOW)
    high = priority_class(cluster, namespace, "high", HIGH)
    with low as below, high as above:
        every = container(family, cluster.image, share.count, stays=True)
        deaf = every | {"command": ["sh", "-c", DEAF]}
        grace = {"terminationGracePeriodSeconds": GRACE_SECONDS}
        victim = created(cluster, namespace, pod("victim", deaf, node=share.node, priorityClassName=below, **grace))
        running(cluster, victim)
        wants = created(cluster, namespace, pod("wants", every, node=share.node, priorityClassName=above))
        path, uid = path_of("Pod", namespace, "victim"), victim["metadata"]["uid"]
        what = "the victim to be told, and asked to end"
        told = wait_for(cluster.client, what, path, _has_to_go, timeout=SCHEDULE_SECONDS, uid=uid)
        why = pod_condition(told, "DisruptionTarget")
        assert why["reason"] == "PreemptionByScheduler", why
        assert why["message"], why
        assert is_waiting(now(cluster, wants)), summary(now(cluster, wants))
        end(cluster, victim, by="USR1")
        running(cluster, wants)


def _has_to_go(seen: Object | None) -> bool:
    ends = ((seen or {}).get("metadata") or {}).get("deletionTimestamp")
    return bool(ends) and pod_condition(seen, "DisruptionTarget").get("status") == "True"


def _lowest_alone_goes(
    cluster: Cluster, namespace: str, family: Family, share: Share, classes: tuple[str, str | None, str]
) -> None:
    """Of a full node's two pods, that of the first class makes room for one of the third, the other stays."""
    lowest, middle, highest = ({"priorityClassName": name} if name else {} for name in classes)
    one = container(family, cluster.image, 1, stays=True)
    made = [created(cluster, namespace, pod("victim", one, node=share.node, **lowest))]
    if share.count > 1:
        rest = container(family, cluster.image, share.count - 1, stays=True)
        made.append(created(cluster, namespace, pod("other", rest, node=share.node, **middle)))
    victim, *others = [running(cluster, each) for each in made]
    (given,) = held_ids(cluster, share.node, family, [victim])
    wants = created(cluster, namespace, pod("wants", one, node=share.node, **highest))
    path, uid = path_of("Pod", namespace, "victim"), victim["metadata"]["uid"]
    wait_for(cluster.client, "the victim to be gone", path, gone, timeout=SCHEDULE_SECONDS, uid=uid)
    taker = running(cluster, wants)
    assert held_ids(cluster, share.node, family, [taker]) == [given]
    for other in others:
        left = now(cluster, other)
        assert not left["metadata"].get("deletionTimestamp"), summary(left)
        assert left["status"]["phase"] == "Running", summary(left)
