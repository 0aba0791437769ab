"""When a pod's image was there: no state of the pod says so, only an event that is no warning."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from apiserver import Answer, event, kubeconfig, listed, serving

from fixtures.client import connect
from fixtures.podlog import MESSAGE, OWN_IMAGE, PodLog, watched
from fixtures.record import Record

NPU = "aliyun.com/npu"
BEGAN = 1795514400.0  # 2026-11-24T10:00:00Z
EVENTS = "/api/v1/events"


def pod() -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": "train", "namespace": "team", "uid": "u", "creationTimestamp": "2026-11-24T10:00:00Z"},
        "spec": {"nodeName": "worker", "containers": [{"resources": {"requests": {NPU: "1"}}}]},
        "status": {"phase": "Running"},
    }


def test_the_image_of_a_check_s_own_is_no_workload() -> None:
    log, status = PodLog(NPU), {"containerStatuses": [{"image": "a:1", "imageID": f"a@sha256:{'1' * 64}"}]}
    log.take({**pod(), "status": status})
    own = {**pod(), "status": {"containerStatuses": [{"image": "b:1", "imageID": f"b@sha256:{'2' * 64}"}]}}
    own["metadata"] |= {"uid": "v", "annotations": {OWN_IMAGE: "true"}}
    log.take(own)
    assert [one["image"] for one in log.images] == ["a:1"]
    assert len(log.pods) == 2


def pulled(name: str = "train.1", second: int = 2, **times: Any) -> dict[str, Any]:
    return {
        "kind": "Event",
        "metadata": {"name": name, "namespace": "team", "uid": name},
        "type": "Normal",
        "reason": "Pulled",
        "involvedObject": {"kind": "Pod", "namespace": "team", "name": "train", "uid": "u"},
        **(times or {"firstTimestamp": f"2026-11-24T10:00:{second:02}Z", "lastTimestamp": "2026-11-24T10:05:00Z"}),
    }


def pulled_at(*events: dict[str, Any]) -> float | None:
    log = PodLog(NPU)
    for one in (pod(), *events):
        log.take(one)
    time_ = log.pods[0]["pulled"]
    return None if time_ is None else float(time_) - BEGAN


def test_the_first_image_counts_and_not_that_of_a_later_start() -> None:
    assert pulled_at() is None
    assert pulled_at(pulled()) == 2
    assert pulled_at(pulled(), pulled("train.2", 30)) == 2
    assert pulled_at(pulled("train.2", 30), pulled()) == 2


def test_a_time_is_read_in_each_form_that_events_have_and_none_is_none() -> None:
    forms: dict[str, Any] = {"firstTimestamp": None, "lastTimestamp": None, "eventTime": "2026-11-24T10:00:04.250000Z"}
    assert pulled_at(pulled(**forms)) == 4.25
    assert pulled_at(pulled(lastTimestamp="2026-11-24T10:00:05Z")) == 5
    assert pulled_at(pulled(firstTimestamp="yesterday")) is None


def test_the_api_server_is_asked_for_pulls_and_warnings_and_for_no_other_event(tmp_path: Path) -> None:
    with serving() as server, connect(kubeconfig(tmp_path, server.url), Record()) as client:
        server.on("GET /api/v1/pods", listed("1", pod()))
        server.on("WATCH /api/v1/pods", Answer(pieces=[], then="hold"))
        server.on(f"GET {EVENTS}", listed("1", kind="Event"))
        server.on(f"WATCH {EVENTS}", Answer(pieces=[event("ADDED", pulled())], then="hold"))
        log = PodLog(NPU)
        with watched(client, log):
            deadline = time.monotonic() + 30
            while not (log.pods and log.pods[0]["pulled"]) and time.monotonic() < deadline:
                time.sleep(0.01)
        assert log.pods[0]["pulled"] == BEGAN + 2
        asked = {one.query.get("fieldSelector") for one in server.asked if one.path == EVENTS}
        assert asked == {"type=Warning", "reason=Pulled,involvedObject.kind=Pod"}


def test_a_warning_is_kept_without_the_credential_that_it_tells_also_where_it_is_cut() -> None:
    log = PodLog(NPU)
    said = "x" * (MESSAGE - 30) + " https://npu:hunter22@registry/v2/ refused"
    log.take({**pulled(), "type": "Warning", "message": said})
    (kept,) = log.warnings
    assert "hunter" not in kept["message"]
    assert "█████" in kept["message"]
