"""What the scheduler says of a pod, and what is made for a while to tell it whom to prefer and where not to go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from apiserver import Answer, ApiServer, Object, event, kubeconfig, listed, pod, refusal, serving

from fixtures.client import ApiError, Forbidden, connect
from fixtures.errors import HarnessError
from fixtures.kubectl import Kubectl
from fixtures.podscheduling import (
    cordoned,
    deleted,
    evict,
    is_unschedulable,
    is_waiting,
    now,
    pod_condition,
    priority_class,
    unschedulable,
    verdict,
)
from fixtures.record import Record
from fixtures.targets import Cluster
from fixtures.wait import WaitFailed

PODS = "/api/v1/namespaces/default/pods"
CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
NODE = "/api/v1/nodes/n1"
SHORT = "0/3 nodes are available: 1 Insufficient example.com/npu."
CORDON = "0/3 nodes are available: 1 node(s) were unschedulable."
UNKNOWN = refusal(403, "Forbidden", 'pods "tried" is forbidden: no PriorityClass with name space-low was found')


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


def waits_for(message: str) -> Object:
    return {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}


def judged(status: str, reason: str = "", *, node: str = "") -> Object:
    told = waits_for(SHORT) | {"status": status, "reason": reason}
    seen = pod("a", "Pending", conditions=[told])
    seen["spec"]["nodeName"] = node
    return seen


def test_a_pod_is_unschedulable_when_the_scheduler_has_looked_at_it_in_vain() -> None:
    waits = judged("False", "Unschedulable")
    assert is_unschedulable(waits)
    assert verdict(waits) == SHORT
    others = [judged("False", "SchedulingGated"), judged("True"), pod(), None]
    assert not any(map(is_unschedulable, others))
    assert (verdict(pod()), pod_condition(None, "PodScheduled")) == ("", {})


def test_a_pod_waits_while_it_is_pending_and_bound_to_no_node() -> None:
    assert is_waiting(judged("False", "Unschedulable"))
    assert not is_waiting(judged("True", node="n1"))
    failed = pod("a", "Failed")
    failed["spec"]["nodeName"] = ""
    assert not is_waiting(failed)


def test_what_the_scheduler_says_is_waited_for(cluster: Cluster, server: ApiServer) -> None:
    unseen = judged("False", "SchedulingGated")
    server.on(f"GET {PODS}", listed("1", unseen))
    server.on(f"WATCH {PODS}", Answer(pieces=[event("MODIFIED", judged("False", "Unschedulable"))], then="hold"))
    assert verdict(unschedulable(cluster, unseen)) == SHORT


def test_a_pod_that_is_bound_will_not_be_unschedulable(cluster: Cluster, server: ApiServer) -> None:
    server.on(f"GET {PODS}", listed("1", judged("True", node="n1")))
    server.on("GET /api/v1/namespaces/default/events", listed("1", kind="Event"))
    with pytest.raises(WaitFailed, match="a to be unschedulable in vain: it was bound to n1"):
        unschedulable(cluster, pod())


def test_a_pod_is_deleted_once_it_is_gone_and_no_other_of_its_name(cluster: Cluster, server: ApiServer) -> None:
    server.on(f"DELETE {PODS}/a", {})
    server.on(f"GET {PODS}", listed("1", pod()))
    server.on(f"WATCH {PODS}", Answer(pieces=[event("DELETED", pod(version="2"))], then="hold"))
    deleted(cluster, pod())
    (asked,) = server.asked_for(f"DELETE {PODS}/a")
    assert json.loads(asked.body)["preconditions"] == {"uid": "u1"}
    server.on(f"GET {PODS}/a", pod(uid="u2"))
    assert now(cluster, pod())["metadata"]["uid"] == "u2"


def test_a_priority_class_is_given_once_admission_knows_it_and_removed_by_its_uid(
    cluster: Cluster, server: ApiServer
) -> None:
    server.on(f"POST {CLASSES}", {"metadata": {"name": "space-low", "uid": "c1"}})
    server.on("POST /api/v1/namespaces/space/pods", UNKNOWN, {})
    server.on(f"DELETE {CLASSES}/space-low", {})
    with priority_class(cluster, "space", "low", -20) as name:
        assert name == "space-low"
        assert not server.asked_for(f"DELETE {CLASSES}/space-low")
    (made,) = server.asked_for(f"POST {CLASSES}")
    assert json.loads(made.body)["value"] == -20
    tried = server.asked_for("POST /api/v1/namespaces/space/pods")
    assert [one.query for one in tried] == [{"dryRun": "All"}] * 2
    (removed,) = server.asked_for(f"DELETE {CLASSES}/space-low")
    assert json.loads(removed.body)["preconditions"] == {"uid": "c1"}


def test_a_priority_class_that_admission_never_knows_is_removed_too(
    cluster: Cluster, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixtures.podscheduling.ADMISSION_SECONDS", 0.0)
    server.on(f"POST {CLASSES}", {"metadata": {"name": "space-low", "uid": "c1"}})
    server.on("POST /api/v1/namespaces/space/pods", UNKNOWN)
    server.on(f"DELETE {CLASSES}/space-low", {})
    with (
        pytest.raises(HarnessError, match="does not know the priority class"),
        priority_class(cluster, "space", "low", -20),
    ):
        pass
    assert server.asked_for(f"DELETE {CLASSES}/space-low")


def test_a_pod_that_is_refused_for_another_reason_is_no_matter_of_priority(cluster: Cluster, server: ApiServer) -> None:
    server.on(f"POST {CLASSES}", {"metadata": {"name": "space-low", "uid": "c1"}})
    server.on("POST /api/v1/namespaces/space/pods", refusal(403, "Forbidden", "exceeded quota: pods"))
    server.on(f"DELETE {CLASSES}/space-low", {})
    with pytest.raises(Forbidden, match="exceeded quota"), priority_class(cluster, "space", "low", -20):
        pass


def test_a_node_is_uncordoned_whatever_happens(cluster: Cluster, server: ApiServer) -> None:
    server.on(f"PATCH {NODE}", {})
    asked, again = pod("asked", conditions=[waits_for(SHORT)]), pod("asked", uid="u2", conditions=[waits_for(CORDON)])
    server.on(f"POST {PODS}", asked, again)
    server.on(f"GET {PODS}", listed("1", asked), listed("2", again))
    server.on(f"DELETE {PODS}/asked", {})
    with pytest.raises(ZeroDivisionError), cordoned(cluster, "default", "n1", "aliyun.com/npu"):
        raise ZeroDivisionError
    uids = [json.loads(one.body)["preconditions"]["uid"] for one in server.asked_for(f"DELETE {PODS}/asked")]
    assert uids == ["u1", "u2"], "the scheduler is asked until it has heard of it"
    said = [json.loads(one.body)["spec"]["unschedulable"] for one in server.asked_for(f"PATCH {NODE}")]
    assert said == [True, None]


def test_a_pod_is_evicted_by_its_uid(cluster: Cluster, server: ApiServer) -> None:
    server.on(f"POST {PODS}/a/eviction", {})
    evict(cluster, pod())
    (asked,) = server.asked_for(f"POST {PODS}/a/eviction")
    body = json.loads(asked.body)
    assert (body["kind"], body["metadata"]["name"]) == ("Eviction", "a")
    assert body["deleteOptions"]["preconditions"] == {"uid": "u1"}
    server.on(f"POST {PODS}/a/eviction", refusal(409, "Conflict", "the UID in the precondition is another"))
    with pytest.raises(ApiError, match="precondition"):
        evict(cluster, pod())
