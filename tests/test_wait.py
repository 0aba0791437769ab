"""Waiting: no state missed, no stale one believed, a deadline that is kept, and a message that says what is missing."""

from __future__ import annotations

import itertools
import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from apiserver import Answer, ApiServer, Object, event, kubeconfig, listed, pod, refusal, serving, status_body
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures import watch as watch_module
from fixtures.client import ApiError, Client, Forbidden, connect, path_of
from fixtures.describe import LONGEST, event_line, event_time
from fixtures.record import Record
from fixtures.wait import WaitFailed, WaitTimeout, condition, gone, phase, summary, wait_for, wait_for_all

PODS = "/api/v1/namespaces/default/pods"
POD = path_of("Pod", "default", "a")
EVENTS = "/api/v1/namespaces/default/events"
HELD = Answer(pieces=[], then="hold")


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving() as plain:
        plain.on(f"GET {EVENTS}", listed("1", kind="Event"))
        yield plain


@pytest.fixture
def client(server: ApiServer, tmp_path: Path) -> Iterator[Client]:
    with connect(kubeconfig(tmp_path, server.url), Record()) as connected:
        connected.first_pause = 0.001
        yield connected


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "FIRST_PAUSE", 0.001)


def watched(*events: bytes, then: str = "end") -> Answer:
    return Answer(pieces=events, then=then)


def running(client: Client, timeout: float = 10, **more: object) -> Object:
    return wait_for(client, "pod a to be Running", POD, phase("Running"), timeout=timeout, **more)  # type: ignore[arg-type]


def outcomes(client: Client) -> list[str]:
    return [wait.outcome for wait in client.record.waits]


def test_a_state_that_is_already_there_needs_no_watch(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5", pod(phase="Running")))
    assert running(client)["status"]["phase"] == "Running"
    assert [asked.query for asked in server.asked] == [{"fieldSelector": "metadata.name=a"}]
    assert outcomes(client) == ["met"]


def test_a_watch_begins_where_the_list_ended(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5", pod(version="4")))
    changes = [
        event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "6"}}),
        event("MODIFIED", pod(phase="Pending", version="7", reason="Pulling")),
        event("MODIFIED", pod(phase="Running", version="8")),
    ]
    server.on(f"WATCH {PODS}", watched(*changes, then="hold"))
    seen: list[tuple[float, Object]] = []
    assert running(client, seen=seen)["metadata"]["resourceVersion"] == "8"
    query = server.asked[-1].query
    assert (query["resourceVersion"], query["fieldSelector"], query["watch"]) == ("5", "metadata.name=a", "true")
    assert query["allowWatchBookmarks"] == "true"
    assert 0 < int(query["timeoutSeconds"]) <= 10
    assert [obj["metadata"]["resourceVersion"] for _, obj in seen] == ["4", "7", "8"]
    assert [at for at, _ in seen] == sorted(at for at, _ in seen)
    (wait,) = client.record.waits
    assert [text for _, text in wait.states] == [
        "Pod default/a: Pending",
        "Pod default/a: Pending (Pulling)",
        "Pod default/a: Running",
    ]
    assert (wait.what, wait.outcome) == ("pod a to be Running", "met")
    assert 0 <= wait.states[0][0] <= wait.states[-1][0] <= wait.seconds < 10


def test_every_state_that_passes_by_is_seen_also_when_they_come_at_once(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5"))
    changes = [event("ADDED", pod(version="6"))]
    changes += [event("MODIFIED", pod(phase="Running", version=str(n), n=n)) for n in range(7, 20)]
    server.on(f"WATCH {PODS}", watched(b"".join(changes), then="hold"))
    seen: list[tuple[float, Object]] = []
    wait_for(client, "n is 19", POD, lambda obj: bool(obj and obj["status"].get("n") == 19), timeout=10, seen=seen)
    assert [obj["metadata"]["resourceVersion"] for _, obj in seen] == [str(n) for n in range(6, 20)]


def test_what_changed_while_a_closed_watch_was_away_is_listed(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5", pod()), listed("9", pod(phase="Running", version="9")))
    server.on(f"WATCH {PODS}", watched(), HELD)
    assert running(client)["metadata"]["resourceVersion"] == "9"
    assert len(server.asked_for(f"WATCH {PODS}")) == 1
    assert client.record.retries == []


def test_the_same_state_listed_again_is_not_seen_twice(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5", pod()), listed("6", pod()), listed("7", pod(phase="Running", version="7")))
    server.on(f"WATCH {PODS}", watched())
    seen: list[tuple[float, Object]] = []
    running(client, seen=seen)
    assert [obj["metadata"]["resourceVersion"] for _, obj in seen] == ["1", "7"]


EXPIRED = "too old resource version: 5 (9)"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (refusal(410, "Expired", EXPIRED), EXPIRED),
        (watched(event("ERROR", status_body(410, "Expired", EXPIRED)), then="hold"), EXPIRED),
        (watched(event("ERROR", status_body(500, "InternalError", "etcd")), then="hold"), "500 etcd"),
        (watched(b"<html>\n", then="hold"), "no event: b'<html>'"),
        (watched(b'{"type": "ADDED"}\n', then="hold"), "no event"),
        (watched(b"[]\n", then="hold"), "no event"),
        (watched(b'{"type": "ADDED", "object": {"metadata": {}}}\n', then="hold"), "no event"),
        (watched(b'{"type": "ADDED", "object": {"metadata": 3}}\n', then="hold"), "no event"),
        (watched(b'{"type": ["ADDED"], "object": {"metadata": {"name": "a"}}}\n', then="hold"), "no event"),
        (watched(b'{"type": "ERROR", "object": 3}\n', then="hold"), "no event"),
        (watched(b'{"type": "ERROR", "object": {"code": "x"}}\n', then="hold"), "no event"),
        (watched(event("STRANGE", pod()), then="hold"), "no event"),
        (watched(b'{"type": "ADD', then="end"), "no event"),
        (watched(then="cut"), "broke off"),
        (watched(event("MODIFIED", pod(version="6"))[:20], then="reset"), "broke off"),
    ],
)
def test_a_watch_that_fails_is_recorded_and_followed_by_a_list(
    server: ApiServer, client: Client, broken: Answer, reason: str
) -> None:
    server.on(f"GET {PODS}", listed("5", pod()), listed("9", pod(phase="Running", version="9")))
    server.on(f"WATCH {PODS}", broken)
    assert running(client)["metadata"]["resourceVersion"] == "9"
    assert [retry.what for retry in client.record.retries] == [f"WATCH {PODS}"]
    assert reason in client.record.retries[0].reason


def test_after_an_expired_watch_the_next_one_begins_at_the_new_list(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5", pod()), listed("9", pod(version="8")))
    server.on(
        f"WATCH {PODS}",
        refusal(410, "Expired", EXPIRED),
        watched(event("MODIFIED", pod(phase="Running", version="10")), then="hold"),
    )
    running(client)
    assert [asked.query["resourceVersion"] for asked in server.asked_for(f"WATCH {PODS}")] == ["5", "9"]


def test_a_connection_that_is_lost_on_the_way_is_noticed(
    server: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "WATCH_SECONDS", 0.1)
    monkeypatch.setattr(watch_module, "LATE_SECONDS", 0.1)
    server.on(f"GET {PODS}", listed("5", pod()), listed("9", pod(phase="Running", version="9")))
    server.on(f"WATCH {PODS}", HELD)
    running(client)
    assert [retry.reason for retry in client.record.retries] == ["its connection went silent"]


@pytest.mark.parametrize("events", [[], [event("BOOKMARK", {"metadata": {"resourceVersion": "6"}})]])
@pytest.mark.parametrize("method", ["chunked", "plain"])
def test_the_deadline_is_kept_in_a_silent_watch(
    server: ApiServer, client: Client, events: list[bytes], method: str
) -> None:
    server.on(f"GET {PODS}", listed("5", pod()))
    server.on(f"WATCH {PODS}", Answer(pieces=events, then="hold", chunked=method == "chunked"))
    began = time.monotonic()
    with pytest.raises(WaitTimeout):
        running(client, timeout=0.5)
    assert 0.5 <= time.monotonic() - began < 0.8
    assert outcomes(client) == ["timeout"]


def test_the_deadline_is_kept_while_the_server_says_nothing_at_all(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", HELD)
    server.on(f"GET {EVENTS}", refusal(400, "BadRequest", "no"))
    began = time.monotonic()
    with pytest.raises(WaitTimeout, match="the API server did not answer"):
        running(client, timeout=0.5)
    assert 0.5 <= time.monotonic() - began < 0.8


def test_a_time_out_says_what_was_missing_the_last_state_and_the_events(server: ApiServer, client: Client) -> None:
    waiting = {"name": "main", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling"}}}
    unready = {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "unready: [main]"}
    server.on(f"GET {PODS}", listed("5", pod(conditions=[unready], containerStatuses=[waiting])))
    server.on(f"WATCH {PODS}", HELD)
    about = {"kind": "Pod", "name": "a", "namespace": "default"}
    events: list[Object] = [
        {"metadata": {"name": "2"}, "involvedObject": about, "type": "Warning", "reason": "Failed", "count": 3}
        | {"message": "PASSWORD=hunter2 not found", "lastTimestamp": "2026-01-01T00:00:02Z"},
        {"metadata": {"name": "1"}, "involvedObject": about, "type": "Normal", "reason": "Scheduled"}
        | {"message": "to n1", "eventTime": "2026-01-01T00:00:01.000000Z"},
    ]
    server.on(f"GET {EVENTS}", listed("1", *events, kind="Event"))
    with pytest.raises(WaitTimeout) as caught:
        running(client, timeout=0.2)
    assert caught.value.cause.splitlines() == [
        "Waited 0.2 s for pod a to be Running; last seen: Pod default/a: Pending;"
        " Ready=False (ContainersNotReady: unready: [main]);"
        " container main waiting (ImagePullBackOff: Back-off pulling).",
        "    events:",
        "      2026-01-01T00:00:01.000000Z Normal Scheduled Pod a: to n1",
        "      2026-01-01T00:00:02Z Warning Failed Pod a: PASSWORD=█████ not found (x3)",
    ]
    assert "`kubectl describe pods a --namespace default`" in caught.value.remedy
    assert caught.value.blames == "product"
    assert server.asked[-1].query == {"fieldSelector": "involvedObject.name=a,involvedObject.kind=Pod"}


def test_events_that_cannot_be_read_do_not_hide_the_time_out(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5"))
    server.on(f"WATCH {PODS}", HELD)
    server.on(f"GET {EVENTS}", refusal(403, "Forbidden", "events is forbidden"))
    with pytest.raises(WaitTimeout, match=r"last seen: absent\.\n.*events could not be read: .*events is forbidden"):
        running(client, timeout=0.2)


def test_a_time_out_says_what_was_wrong_with_the_watch(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5", pod()))
    server.on(f"WATCH {PODS}", watched(b"<html>\n"), HELD)
    with pytest.raises(WaitTimeout, match="the last trouble with the watch: a line of it is no event: b'<html>'"):
        running(client, timeout=0.3)


def test_what_cannot_come_true_any_more_ends_a_wait(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5", pod()))
    server.on(
        f"WATCH {PODS}", watched(event("MODIFIED", pod(phase="Failed", version="6", reason="Evicted")), then="hold")
    )

    def failed(obj: Object | None) -> str | None:
        return "the pod failed." if obj and obj["status"]["phase"] == "Failed" else None

    began = time.monotonic()
    with pytest.raises(WaitFailed, match=r"in vain: the pod failed; last seen: Pod default/a: Failed \(Evicted\)\."):
        running(client, failed=failed)
    assert time.monotonic() - began < 3
    assert outcomes(client) == ["failed"]


def test_ready_comes_before_failed(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5", pod(phase="Running")))
    assert running(client, failed=lambda _: "never")["kind"] == "Pod"


def test_absence_can_be_waited_for_and_gives_the_last_state(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5", pod(phase="Running")))
    server.on(f"WATCH {PODS}", watched(event("DELETED", pod(phase="Succeeded", version="6")), then="hold"))
    assert wait_for(client, "pod a to be gone", POD, gone, timeout=10)["status"]["phase"] == "Succeeded"
    assert client.record.waits[0].states[-1][1] == "absent"


def test_what_was_never_there_is_gone(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5"))
    assert wait_for(client, "pod a to be gone", POD, gone, timeout=10) == {}


def test_what_was_deleted_while_a_watch_was_away_is_gone(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5", pod()), listed("9"))
    server.on(f"WATCH {PODS}", watched())
    assert wait_for(client, "pod a to be gone", POD, gone, timeout=10)["metadata"]["uid"] == "u1"


def test_another_object_of_the_same_name_is_not_the_one_that_is_meant(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5", pod(uid="u2", phase="Running", version="4")))
    seen: list[tuple[float, Object]] = []
    assert wait_for(client, "pod a to be gone", POD, gone, timeout=10, uid="u1", seen=seen) == {}
    assert seen[0][1]["metadata"]["uid"] == "u2"
    server.on(f"WATCH {PODS}", HELD)
    with pytest.raises(WaitTimeout, match="last seen: absent"):
        running(client, timeout=0.2, uid="u1")


def test_a_deleted_and_re_created_object_is_followed(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5", pod()))
    changes = [
        event("DELETED", pod(version="6")),
        event("ADDED", pod(version="7", uid="u2")),
        event("MODIFIED", pod(version="8", uid="u2", phase="Running")),
    ]
    server.on(f"WATCH {PODS}", watched(*changes, then="hold"))
    assert running(client)["metadata"]["uid"] == "u2"
    assert [text for _, text in client.record.waits[0].states][1] == "absent"


@pytest.mark.parametrize("where", ["list", "watch", "event"])
def test_a_missing_permission_ends_a_wait_at_once(server: ApiServer, client: Client, where: str) -> None:
    message = 'pods is forbidden: User "jane" cannot watch resource "pods" in API group "" in the namespace "default"'
    denied = refusal(403, "Forbidden", message)
    server.on(f"GET {PODS}", denied if where == "list" else listed("5", pod()))
    said = watched(event("ERROR", status_body(403, "Forbidden", message)), then="hold")
    server.on(f"WATCH {PODS}", said if where == "event" else denied)
    began = time.monotonic()
    with pytest.raises(Forbidden, match="kubectl auth can-i watch pods --namespace default"):
        running(client)
    assert time.monotonic() - began < 3
    assert outcomes(client) == ["failed"]
    assert client.record.retries == []


def test_a_server_error_is_repeated_and_recorded_then_given_up(server: ApiServer, client: Client) -> None:
    sick = refusal(500, "InternalError", "etcd")
    server.on(f"GET {PODS}", sick, listed("5", pod()), sick, listed("9", pod(phase="Running", version="9")))
    server.on(f"WATCH {PODS}", sick, watched())
    running(client)
    assert [retry.what for retry in client.record.retries] == [f"GET {PODS}"] * 3
    client.attempts = 2
    server.on(f"GET {PODS}", sick)
    with pytest.raises(ApiError, match="500: etcd"):
        running(client)
    assert outcomes(client) == ["met", "failed"]


def test_a_predicate_that_breaks_breaks_the_wait(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5", pod()))
    with pytest.raises(TimeoutError, match="its own"):
        wait_for(client, "x", POD, lambda _: (_ for _ in ()).throw(TimeoutError("its own")), timeout=10)
    assert outcomes(client) == ["failed"]


def test_an_interrupt_ends_a_wait_and_is_recorded(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5", pod()))
    server.on(f"WATCH {PODS}", HELD)
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        server.held.wait()
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        running(client, timeout=30)
    thread.join()
    (wait,) = client.record.waits
    assert (wait.outcome, [text for _, text in wait.states]) == ("interrupted", ["Pod default/a: Pending"])


def test_a_wait_belongs_to_the_check_that_runs(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5", pod(phase="Running")))
    client.record.check = "alloc-exclusive"
    running(client)
    assert client.record.waits[0].check == "alloc-exclusive"


@given(data=st.data(), name=st.text(st.characters(codec="utf-8"), max_size=6))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_chunk_may_end_anywhere_in_an_event(
    server: ApiServer, client: Client, data: st.DataObject, name: str
) -> None:
    whole = event("MODIFIED", pod(version="6", reason=f"é{name}😀")) + event(
        "MODIFIED", pod(phase="Running", version="7")
    )
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=12)))
    pieces = [whole[a:b] for a, b in itertools.pairwise([0, *cuts, len(whole)])]
    server.on(f"GET {PODS}", listed("5", pod()))
    server.on(f"WATCH {PODS}", watched(*pieces, then="hold"))
    seen: list[tuple[float, Object]] = []
    running(client, seen=seen)
    assert [obj["status"].get("reason") for _, obj in seen] == [None, f"é{name}😀", None]


# Collections.


def all_running(objects: object) -> bool:
    assert isinstance(objects, dict)
    return len(objects) == 2 and all(phase("Running")(obj) for obj in objects.values())


def test_objects_can_be_waited_for_together(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5", pod("a", version="1"), pod("c", version="2")))
    changes = [
        event("MODIFIED", pod("a", "Running", version="6")),
        event("DELETED", pod("c", "Running", version="7")),
        event("ADDED", pod("b", "Running", version="8")),
    ]
    server.on(f"WATCH {PODS}", watched(*changes, then="hold"))
    seen: list[tuple[float, Object]] = []
    found = wait_for_all(client, "two pods", PODS, all_running, timeout=10, labels="app=x", seen=seen)
    assert sorted(found) == ["a", "b"]
    assert server.asked[0].query == {"labelSelector": "app=x"}
    assert [obj["metadata"]["name"] for _, obj in seen] == ["a", "c", "a", "c", "b"]
    assert client.record.waits[0].states[0][1] == "Pod default/a: Pending | Pod default/c: Pending"


def test_objects_of_all_namespaces_are_told_apart(server: ApiServer, client: Client) -> None:
    other = pod("a", version="2")
    other["metadata"]["namespace"] = "lab"
    server.on("GET /api/v1/pods", listed("5", pod("a"), other))
    found = wait_for_all(client, "any", "/api/v1/pods", lambda objects: len(objects) == 2, timeout=10)
    assert sorted(found) == ["default/a", "lab/a"]


def test_objects_that_cannot_be_ready_together_end_a_wait(server: ApiServer, client: Client) -> None:
    server.on(f"GET {PODS}", listed("5"))
    with pytest.raises(WaitFailed, match="in vain: no pods; last seen: none there"):
        wait_for_all(client, "two pods", PODS, all_running, timeout=10, failed=lambda o: None if o else "no pods")


# Words for a state.


def test_a_condition_counts_only_when_it_is_of_the_present_object() -> None:
    ready = condition("Available")
    state: Object = {"metadata": {"generation": 2}, "status": {"conditions": [{"type": "Available", "status": "True"}]}}
    assert not ready(None)
    assert not ready({})
    assert ready(state)
    state["status"]["observedGeneration"] = 1
    assert not ready(state)
    state["status"]["observedGeneration"] = 2
    assert ready(state)
    state["status"]["conditions"][0]["observedGeneration"] = 1
    assert not ready(state)
    assert not condition("Available", "False")(state)


NODE: Object = {
    "kind": "Node",
    "metadata": {"name": "n1"},
    "spec": {"taints": [{"key": "npu"}], "unschedulable": True},
    "status": {
        "allocatable": {"aliyun.com/npu": "4", "cpu": "2"},
        "conditions": [
            {"type": "MemoryPressure", "status": "False", "reason": "KubeletHasSufficientMemory"},
            {"type": "DiskPressure", "status": "True", "reason": "Full"},
            {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"},
        ],
    },
}


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        (None, "absent"),
        ({}, "absent"),
        ({"metadata": {"name": "x"}}, "object x: there"),
        (
            NODE,
            "Node n1: DiskPressure=True (Full); Ready=Unknown (NodeStatusUnknown);"
            " allocatable aliyun.com/npu=4, cpu=2; tainted npu; unschedulable",
        ),
        (
            {
                "kind": "DaemonSet",
                "metadata": {"name": "d", "namespace": "x", "generation": 2},
                "status": {"desiredNumberScheduled": 2, "numberReady": 1, "observedGeneration": 1},
            },
            "DaemonSet x/d: its last change not seen by its controller yet; desiredNumberScheduled 2, numberReady 1",
        ),
        (
            {
                "kind": "Job",
                "metadata": {"name": "j", "deletionTimestamp": "2026-01-01T00:00:00Z"},
                "status": {"failed": 1, "conditions": [{"type": "Failed", "status": "True", "reason": "Backoff"}]},
            },
            "Job j: being deleted; failed 1; Failed=True (Backoff)",
        ),
        (
            {
                "kind": "ResourceQuota",
                "metadata": {"name": "q"},
                "status": {"hard": {"requests.a/b": "3", "limits.a/b": "1"}, "used": {"requests.a/b": "2"}},
            },
            "ResourceQuota q: used limits.a/b unknown of 1, requests.a/b 2 of 3",
        ),
        ({"kind": "ResourceQuota", "metadata": {"name": "q"}}, "ResourceQuota q: used not counted yet"),
    ],
)
def test_a_summary_says_what_matters(obj: Object | None, text: str) -> None:
    assert summary(obj) == text


def test_a_summary_of_a_pod_tells_its_containers() -> None:
    statuses = [
        {"name": "one", "ready": True, "state": {"running": {}}},
        {"name": "two", "ready": False, "restartCount": 2, "state": {"running": {}}},
        {"name": "three", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}},
        {"name": "four", "ready": True, "state": {"running": {}}}
        | {
            "allocatedResourcesStatus": [
                {
                    "name": "aliyun.com/npu",
                    "resources": [
                        {"resourceID": "npu-0", "health": "Healthy"},
                        {"resourceID": "npu-1", "health": "Unhealthy"},
                    ],
                }
            ]
        },
        {"name": "five"},
    ]
    text = summary(pod(phase="Running", containerStatuses=statuses, initContainerStatuses=[statuses[2]]))
    assert text == (
        "Pod default/a: Running; container three terminated with 137 (OOMKilled); container one running;"
        " container two running, not ready after 2 restarts; container three terminated with 137 (OOMKilled);"
        " container four running on aliyun.com/npu npu-1 Unhealthy; container five unknown"
    )


def test_a_long_message_is_cut() -> None:
    assert len(summary(pod(reason="X", message="word " * 500))) < LONGEST + 60


def test_an_event_is_a_line() -> None:
    new = {
        "eventTime": "2026-01-01T00:00:01.5Z",
        "series": {"count": 4, "lastObservedTime": "2026-01-01T00:00:09.5Z"},
        "reason": "Failed",
        "type": "Warning",
        "involvedObject": {"kind": "Node", "name": "n1"},
        "message": "two\nlines",
    }
    assert event_line(new) == "2026-01-01T00:00:09.5Z Warning Failed Node n1: two lines (x4)"
    assert event_line({}) == " Normal  object ?: "
    assert event_time({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}) == "2026-01-01T00:00:00Z"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(line=st.binary(max_size=30) | json_values.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_line_of_a_watch_breaks_a_wait(server: ApiServer, client: Client, line: bytes) -> None:
    server.on(f"GET {PODS}", listed("5", pod()), listed("9", pod(phase="Running", version="9")))
    server.on(f"WATCH {PODS}", watched(line + b"\n"))
    assert running(client)["status"]["phase"] == "Running"
