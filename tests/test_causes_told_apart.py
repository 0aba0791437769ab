"""Causes that look alike: recordings altered in one place, and the cause that is then the true one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from causeworld import NPU, WORKER, WORKER2, node, objects, provoked, recording, told

from fixtures.causeobjects import objects_text
from fixtures.errors import HarnessError
from gate.causes import cause_of
from gate.results import Evidence

REGISTRY = 'failed to resolve reference "r.io/team/resnet:v404": '


def waits(content: dict[str, Any], message: str, image: str = "r.io/team/resnet:v404") -> None:
    status = provoked(content)["status"]["containerStatuses"][0]
    status |= {"image": image, "state": {"waiting": {"reason": "ErrImagePull", "message": message}}}


def happened(content: dict[str, Any], reason: str, message: str, **more: Any) -> None:
    of = {"uid": provoked(content)["metadata"]["uid"], "namespace": "team-a"}
    content["events"].append({"reason": reason, "message": message, "involvedObject": of, **more})


# images


@pytest.mark.parametrize(
    ("code", "why", "expected", "words"),
    [
        ("image-not-found", REGISTRY + "write /var/lib/x: no space left on device", "image-not-pulled", "no space"),
        ("image-not-found", REGISTRY + "unexpected status: 404", "image-not-found", "There is no image"),
        ("pull-secret-missing", REGISTRY + "r.io/team/resnet:v404: not found", "image-not-found", "(the pull secret"),
        ("pull-secret-missing", REGISTRY + "401 Unauthorized", "pull-secret-missing", "The pull secret regsecret is"),
        (
            "pull-secret-wrong",
            REGISTRY + "pull access denied, repository does not exist or may require authorization: server message",
            "pull-secret-wrong",
            "or there is no such image",
        ),
    ],
)
def test_the_state_of_the_container_says_why_an_image_is_not_there(
    code: str, why: str, expected: str, words: str
) -> None:
    content = objects(code)
    waits(content, why)
    happened(content, "Failed", "Failed to pull image r.io/team/resnet:v404: dial tcp 1.2.3.4:443: i/o timeout")
    cause = told(content)
    assert (cause.code, words in cause.sentence) == (expected, True), cause


def test_words_in_the_name_of_an_image_say_nothing() -> None:
    content = objects("image-not-found")
    waits(content, "cannot pull r.io/x509/unauthorized:404: no space left", "r.io/x509/unauthorized:404")
    assert told(content).code == "image-not-pulled"


def test_the_latest_event_says_why_where_the_state_does_not() -> None:
    content = objects("image-not-found")
    waits(content, "Back-off pulling image")
    failed = "Failed to pull image r.io/team/resnet:v404: "
    happened(content, "Failed", failed + "i/o timeout", lastTimestamp="2026-11-26T22:00:00Z")
    happened(content, "Failed", failed + "not found", lastTimestamp="2026-11-26T22:01:00Z")
    assert told(content).code == "image-not-found"


def test_two_missing_secrets_are_two_names() -> None:
    content = objects("pull-secret-missing")
    for one in content["events"]:
        one["message"] = one["message"].replace("(regsecret)", "(regsecret, other)")
    cause = told(content)
    assert "pull secrets regsecret, other are not" in cause.sentence
    assert cause.command.startswith("kubectl get secret regsecret other --namespace npu-e2e-")


# how it ended


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"),
        ("Terminated", "Pod was terminated in response to imminent node shutdown."),
    ],
)
def test_a_pod_that_the_kubelet_ended_was_not_refused(reason: str, message: str) -> None:
    content = objects("hang")
    provoked(content)["status"] |= {"phase": "Failed", "reason": reason, "message": message}
    cause = told(content)
    assert (cause.code, f"{reason}: {message}" in cause.sentence) == ("pod-ended", True)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("", "hang"),
        ("Waited 60 s for the pod to end; last seen: Running.", "hang"),
        ("Two pods hold NPU 3.", "unknown"),
        ("Waited for the pod to run in vain: it has no such phase.", "unknown"),
    ],
)
def test_a_quiet_pod_hangs_only_where_the_check_waited(said: str, code: str) -> None:
    assert told(objects("hang"), said).code == code


@pytest.mark.parametrize("text", ["(the log could not be read: 500 from kubelet)", ""])
def test_a_log_that_was_not_read_or_has_no_line_is_no_sign_of_a_hang(text: str) -> None:
    content = objects("hang")
    content["logs"] = {"provoked.main": text}
    assert told(content).code == "unknown"
    waited = told(content, "Waited 60 s for pod provoked to end; last seen: Running.")
    assert waited.code == ("unknown" if text else "hang"), "it is the pod that was waited for, and it said nothing"


def restarted() -> dict[str, Any]:
    """A container that crashed, and runs again."""
    content = objects("crash")
    status = provoked(content)["status"]["containerStatuses"][0]
    status |= {"lastState": status["state"], "state": {"running": {"startedAt": "2026-11-26T22:00:00Z"}}}
    status["restartCount"] = 1
    provoked(content)["status"]["phase"] = "Running"
    content["logs"] = {"provoked.main": "2026-11-26T22:00:01Z all is well in the second try"}
    return content


def test_the_log_of_the_run_that_crashed_is_told_and_not_that_of_the_next() -> None:
    content = restarted()
    cause = told(content)
    assert "all is well" not in cause.sentence
    assert cause.command.startswith("kubectl logs --container main --previous provoked --namespace ")
    content["logs"]["provoked.main (previous)"] = "2026-11-26T22:00:00Z no device"
    assert "was started again; its log ends: no device" in told(content).sentence


def test_an_init_container_has_its_memory_limit() -> None:
    content = objects("out-of-memory")
    pod = provoked(content)
    limits = {"limits": {"memory": "32Mi"}}
    pod["spec"]["initContainers"] = [{"name": "prepare", "image": "x", "resources": limits}]
    pod["status"]["initContainerStatuses"] = [{**pod["status"]["containerStatuses"].pop(), "name": "prepare"}]
    assert "took more than 32Mi" in told(content).sentence


def test_a_container_that_ended_before_its_node_went_away_crashed() -> None:
    content = objects("crash")
    for name in (WORKER, WORKER2):
        conditions = node(content, name)["status"]["conditions"]
        next(one for one in conditions if one["type"] == "Ready")["status"] = "Unknown"
    assert told(content).code == "crash"


def test_what_the_check_read_stands_before_what_a_sibling_did() -> None:
    content = recording("accuracy-low")
    content["objects"]["pods"].append(provoked(objects("crash")))
    assert told(content["objects"], content["said"]).code == "accuracy-low"


@pytest.mark.parametrize(
    "log",
    [
        "W this may result in worse speed\n98/98 [00:26<00:00, 3.67it/s]",
        "97/98 [00:26<00:00, 3.67it/s]\nresnet_v1_50, result =  {}\nSaving: 100%|###| 3/3 [",
    ],
)
def test_a_training_is_incomplete_by_its_own_bar_and_its_own_result(log: str) -> None:
    content = objects("training-incomplete")
    content["logs"] = {"provoked.main": log}
    assert told(content).code == "training-incomplete"


# refusals


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ('admission webhook "npu.example.com" denied the request without explanation', "webhookconfigurations"),
        ('Internal error occurred: failed calling webhook "v.x": Post "https://x": EOF', "webhookconfigurations"),
        ('pods is forbidden: User "u" cannot create resource "pods" in API group ""', "Give the account the right"),
    ],
)
def test_refusals_of_webhooks_and_rights_are_refusals(said: str, command: str) -> None:
    cause = told({}, f"POST /api/v1/namespaces/team/pods was answered with 403: {said}")
    assert (cause.code, said.removeprefix("Internal error occurred: ") in cause.sentence) == (
        "admission-rejected",
        True,
    )
    assert command in cause.command


def test_the_command_for_a_quota_names_its_namespace() -> None:
    content = recording("quota")
    said = told(content["objects"], content["said"])
    assert said.command == "kubectl describe resourcequota npus --namespace npu-e2e-13f74537"
    refusal = content["said"].partition(": ")[2]
    of = {"kind": "ReplicaSet", "namespace": "team-a", "uid": "x"}
    content["objects"]["events"] = [{"reason": "FailedCreate", "message": refusal, "involvedObject": of}]
    assert told(content["objects"]).command == "kubectl describe resourcequota npus --namespace team-a"
    assert told({}, refusal).command == "kubectl get resourcequotas --all-namespaces"


def test_a_quota_that_has_let_pods_be_made_since_is_no_cause() -> None:
    refusal = recording("quota")["said"].partition(": ")[2]
    crashed = objects("crash")
    happened(crashed, "FailedCreate", refusal)
    assert told(crashed).code == "crash"
    done = objects("accuracy-low")
    happened(done, "FailedCreate", refusal, lastTimestamp="2026-11-26T20:00:00Z")
    assert told(done).code == "unknown"
    done["events"][-1]["lastTimestamp"] = "2026-11-27T20:00:00Z"
    assert told(done).code == "quota"


def test_what_a_check_said_is_enough_where_nothing_was_recorded() -> None:
    said = recording("quota")["said"]
    cause = cause_of([], said)
    assert cause is not None
    assert (cause.code, cause.looked_at[0].startswith("what the check said: POST")) == ("quota", True)
    assert cause_of([], "It is wrong.", ["The kernel is another."]) is None
    low = cause_of([], "top_1 is 0.73, less than 0.74.", ["The kernel is another."])
    assert low is not None
    assert low.sentence.endswith("The kernel is another.")


def test_objects_that_were_recorded_are_asked_before_what_was_said(tmp_path: Path) -> None:
    (tmp_path / "objects.json").write_text(json.dumps(objects("crash")))
    cause = cause_of([(tmp_path, Evidence("objects.json", "0" * 64, 1))], "It is wrong.")
    assert cause is not None
    assert cause.code == "crash"


def test_a_few_differences_are_told_and_all_were_looked_at() -> None:
    differences = tuple(f"The {name} is another." for name in ("Kubernetes", "kernel", "driver", "model"))
    for cause in (told({}, "top_1 is 0.73, less than 0.74.", differences), told({}, "", differences)):
        assert "The Kubernetes is another. The kernel is another. The driver is another. And 1 more." in cause.sentence
        assert cause.looked_at[-4:] == differences
        assert len(cause.looked_at) > 4


# commands


def test_a_command_is_not_cut_and_no_name_is_an_option() -> None:
    content = objects("crash")
    provoked(content)["metadata"] |= {"name": "p" * 253, "namespace": "n" * 63}
    assert told(content).command.endswith(f"{'p' * 253} --namespace {'n' * 63}")
    content = objects("pull-secret-wrong")
    provoked(content)["spec"]["imagePullSecrets"] = [{"name": "--token=x"}]
    assert told(content).command == "kubectl get secret --namespace npu-e2e-081c0f58 -- --token=x"
    content = objects("evicted")
    provoked(content)["spec"]["nodeName"] = ""
    assert told(content).command.startswith("kubectl describe pod provoked --namespace ")


# what is recorded


def test_the_logs_of_init_containers_and_of_runs_before_are_recorded() -> None:
    pod = provoked(restarted())
    ended = {"terminated": {"exitCode": 0}}
    pod["status"]["initContainerStatuses"] = [
        {"name": "prepare", "state": ended},
        {"name": "wait", "state": {"waiting": {"reason": "PodInitializing"}}},
        {"name": "again", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended},
    ]

    @contextmanager
    def stream(path: str, *, query: dict[str, str], timeout: float) -> Iterator[Any]:
        if query["container"] == "prepare":
            raise HarnessError("It was answered with 500.", "Try again.")
        yield SimpleNamespace(pieces=lambda _: [f"{query['container']} {query['previous']}".encode()])

    def items(path: str, **_: Any) -> list[dict[str, Any]]:
        return [pod] if path.endswith("pods") else []

    client: Any = SimpleNamespace(stream=stream, items=items)
    content = json.loads(objects_text(client, "team", NPU))
    assert content["logs"] == {
        "provoked.prepare": "(the log could not be read: It was answered with 500.\nTry again.)",
        "provoked.again": "again true",
        "provoked.main": "main false",
        "provoked.main (previous)": "main true",
    }
    assert "its log ends: main true" in told(content).sentence
