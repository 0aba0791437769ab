"""Causes: each from objects with the words that Kubernetes 1.37 has, and from recordings of a real cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gateworld import NOW, judged, keep, of, policy, results, write
from hypothesis import given
from hypothesis import strategies as st

from fixtures.causeobjects import PLUGINS, cause_objects
from gate.causes import explain
from gate.judge import decide
from gate.recorded import recorded_from
from gate.screen import screen_lines

NPU = "aliyun.com/npu"
AT = 1_795_000_000.0
STARTED, SPOKE = "2026-11-18T10:00:00Z", "2026-11-18T10:00:05.123456789Z"
RECORDINGS = sorted((Path(__file__).parent / "causes").glob("*.json"))


def pod(name: str = "train", npus: int = 1, node: str = "", **status: Any) -> dict[str, Any]:
    resources = {"requests": {NPU: str(npus)}, "limits": {NPU: str(npus), "memory": "64Mi"}} if npus else {}
    spec: dict[str, Any] = {"containers": [{"name": "main", "image": "r.io/team/resnet:1", "resources": resources}]}
    if node:
        spec["nodeName"] = node
    spec |= status.pop("spec", {})
    metadata = {"name": name, "namespace": status.pop("namespace", "team"), "uid": f"uid-{name}"}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Pending", **status}}


def node(
    name: str = "worker", capacity: str | None = "4", allocatable: str | None = "4", **more: Any
) -> dict[str, Any]:
    status: dict[str, Any] = {"conditions": [{"type": "Ready", **more.pop("ready", {"status": "True"})}]}
    if capacity is not None:
        status |= {"capacity": {NPU: capacity}, "allocatable": {NPU: allocatable}}
    return {"metadata": {"name": name}, "spec": more, "status": status}


def unschedulable(message: str) -> dict[str, Any]:
    return {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]}


def container(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    status = {"name": "main", "image": "r.io/team/resnet:1", "restartCount": 0, "state": state, **more}
    return {"containerStatuses": [status]}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return container({"waiting": {"reason": reason, "message": message}})


def event(reason: str, message: str, of: str = "train") -> dict[str, Any]:
    return {"type": "Warning", "reason": reason, "message": message, "involvedObject": {"uid": f"uid-{of}"}}


def world(*pods: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"at": AT, "resource": NPU, "pods": list(pods), "nodes": [node()], **more}


LACKS = "0/3 nodes are available: 3 Insufficient aliyun.com/npu. preemption: not eligible."
SECRET: dict[str, Any] = {"spec": {"imagePullSecrets": [{"name": "regsecret"}]}}
DENIED = "failed to resolve reference: pull access denied, repository does not exist or may require authorization"
NO_SECRET = "Unable to retrieve some image pull secrets (regsecret); attempting to pull the image may not succeed."
NO_IMAGE = 'Failed to pull image "r.io/team/resnet:1": rpc error: code = NotFound desc = r.io/team/resnet:1: not found'
BY_CODE: list[tuple[str, dict[str, Any], list[str]]] = [
    ("no-npu-node", world(pod(**unschedulable(LACKS)), nodes=[node(capacity=None)]), ["None of 1 nodes"]),
    ("plugin-not-registered", world(pod(**unschedulable(LACKS)), nodes=[node(allocatable="0")]), ["0 of 4", "worker"]),
    (
        "plugin-not-registered",
        world(
            pod(**unschedulable(LACKS)),
            nodes=[node(capacity="0", allocatable="0")],
            plugins=[pod("plugin", 0, "worker", phase="Failed")],
        ),
        ["worker"],
    ),
    (
        "unhealthy-device",
        world(
            pod(**unschedulable(LACKS)),
            nodes=[node(allocatable="0")],
            plugins=[pod("plugin", 0, "worker", conditions=[{"type": "Ready", "status": "True"}])],
        ),
        ["4 of 4 on worker"],
    ),
    (
        "unhealthy-device",
        world(
            pod(
                node="worker",
                phase="Running",
                **container(
                    {"running": {"startedAt": STARTED}},
                    allocatedResourcesStatus=[
                        {"name": NPU, "resources": [{"resourceID": "npu-2", "health": "Unhealthy"}]}
                    ],
                ),
            )
        ),
        ["npu-2", "team/train"],
    ),
    (
        "npus-in-use",
        world(pod(**unschedulable(LACKS)), holders=[pod("theirs", 4, "worker", namespace="others")]),
        ["4 of 4 NPUs", "others/theirs (4 on worker)"],
    ),
    ("request-too-large", world(pod(npus=9, **unschedulable(LACKS))), ["asks for 9", "more than 4"]),
    (
        "quota",
        world(
            events=[
                event(
                    "FailedCreate",
                    'pods "a" is forbidden: exceeded quota: npus, requested: requests.aliyun.com/npu=2, used: '
                    "requests.aliyun.com/npu=2, limited: requests.aliyun.com/npu=3",
                )
            ]
        ),
        ["The quota npus lets requests.aliyun.com/npu=3"],
    ),
    (
        "taint",
        world(pod(**unschedulable("0/3 nodes are available: 1 node(s) had untolerated taint {npu: only}."))),
        ["the taint npu: only"],
    ),
    (
        "taint",
        world(
            pod(**unschedulable("0/2 nodes are available: 2 node(s) had untolerated taint(s).")),
            nodes=[node(taints=[{"key": "team", "value": "a", "effect": "NoSchedule"}])],
        ),
        ["the taint team: a"],
    ),
    (
        "selector",
        world(pod(**unschedulable("0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."))),
        ["selector or affinity"],
    ),
    (
        "pull-secret-missing",
        world(
            pod(node="worker", **waiting("ImagePullBackOff", DENIED), **SECRET),
            events=[event("FailedToRetrieveImagePullSecret", NO_SECRET)],
        ),
        ["The pull secret regsecret is not in namespace team"],
    ),
    ("pull-secret-missing", world(pod(node="worker", **waiting("ErrImagePull", DENIED))), ["names none"]),
    (
        "pull-secret-wrong",
        world(pod(node="worker", **waiting("ErrImagePull", "unexpected status: 401 Unauthorized"), **SECRET)),
        ["refuses the pull secret regsecret"],
    ),
    (
        "image-not-found",
        world(
            pod(node="worker", **waiting("ImagePullBackOff", "Back-off pulling image"), **SECRET),
            events=[event("Failed", NO_IMAGE)],
        ),
        ["There is no image r.io/team/resnet:1"],
    ),
    (
        "registry-unreachable",
        world(pod(node="worker", **waiting("ErrImagePull", "dial tcp: lookup r.io: no such host"))),
        ["r.io"],
    ),
    (
        "image-not-pulled",
        world(pod(node="worker", **waiting("ErrImagePull", "no space left on device"))),
        ["no space left"],
    ),
    (
        "admission-rejected",
        world(
            pod(
                node="worker",
                phase="Failed",
                reason="UnexpectedAdmissionError",
                message="Pod was rejected: Allocate failed due to no healthy devices present",
            )
        ),
        ["UnexpectedAdmissionError: Pod was rejected: Allocate failed due to no healthy devices present"],
    ),
    (
        "admission-rejected",
        world(
            said='The Pod "a" is invalid: spec.containers[0].resources.requests: Invalid value: "1": '
            "must be equal to aliyun.com/npu limit of 2"
        ),
        ["must be equal to aliyun.com/npu limit of 2"],
    ),
    (
        "admission-rejected",
        world(said='admission webhook "npu.example.com" denied the request: no NPUs on Fridays'),
        ["no NPUs on Fridays"],
    ),
    (
        "out-of-memory",
        world(
            pod(node="worker", phase="Failed", **container({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}))
        ),
        ["took more than 64Mi"],
    ),
    (
        "node-not-ready",
        world(
            pod(node="worker", phase="Running"), nodes=[node(ready={"status": "Unknown", "message": "Kubelet stopped"})]
        ),
        ["Kubelet stopped"],
    ),
    (
        "crash",
        world(
            pod(node="worker", phase="Failed", **container({"terminated": {"exitCode": 3, "reason": "Error"}})),
            logs={"train.main": f"{SPOKE} loading\n{SPOKE} RuntimeError: no device\n"},
        ),
        ["ended with 3", "loading / RuntimeError: no device"],
    ),
    (
        "crash",
        world(
            pod(
                node="worker",
                phase="Running",
                **container(
                    {"waiting": {"reason": "CrashLoopBackOff"}},
                    lastState={"terminated": {"exitCode": 1, "reason": "Error"}},
                ),
            )
        ),
        ["ended with 1", "its log was not read"],
    ),
    (
        "container-not-made",
        world(pod(node="worker", **waiting("CreateContainerError", "no such device /dev/npu0"))),
        ["CreateContainerError: no such device /dev/npu0"],
    ),
    (
        "hang",
        world(
            pod(node="worker", phase="Running", **container({"running": {"startedAt": STARTED}})),
            logs={"train.main": f"{SPOKE} 12/98 [00:03<00:20]\n"},
        ),
        ["has said nothing for", "12/98"],
    ),
    (
        "training-incomplete",
        world(
            pod(node="worker", phase="Succeeded", **container({"terminated": {"exitCode": 0}})),
            logs={"train.main": f"{SPOKE} 97/98 [00:26<00:00, 3.67it/s]"},
        ),
        ["97 of 98 steps"],
    ),
    (
        "training-incomplete",
        world(
            pod(node="worker", phase="Succeeded", **container({"terminated": {"exitCode": 0}})),
            logs={"train.main": f"{SPOKE} 98/98 [00:26<00:00, 3.67it/s]"},
        ),
        ["and no result"],
    ),
    ("accuracy-low", world(pod(node="worker", phase="Succeeded"), said="top_1 is 0.7301, less than 0.74."), ["0.7301"]),
    (
        "unschedulable",
        world(pod(**unschedulable("0/3 nodes are available: 3 Insufficient cpu."))),
        ["3 Insufficient cpu"],
    ),
]


@pytest.mark.parametrize(("code", "objects", "words"), BY_CODE, ids=[f"{n}-{one[0]}" for n, one in enumerate(BY_CODE)])
def test_each_cause_has_its_sentence_and_a_command(code: str, objects: dict[str, Any], words: list[str]) -> None:
    cause = explain(recorded_from(objects))
    assert cause.code == code, cause
    assert all(word in cause.sentence for word in words), cause.sentence
    assert cause.command
    assert cause.looked_at


def test_a_pod_that_works_has_no_cause_of_its_own() -> None:
    fine = pod(node="worker", phase="Running", **container({"running": {"startedAt": "2026-11-18T10:00:00Z"}}))
    recent = world(fine, at=1_795_000_000.0, logs={"train.main": "2026-11-18T10:00:05Z 12/98 [00:03"})
    recent["at"] = 1_763_460_000.0  # a minute has not passed since its last line
    assert explain(recorded_from(recent)).code == "unknown"


def test_an_unknown_cause_shows_all_that_was_looked_at() -> None:
    objects = world(
        pod(node="worker", phase="Succeeded"), events=[event("Odd", "Something.")], logs={"train.main": "a\nb\n"},
        holders=[pod("theirs", 2, "worker", namespace="others")], said="It is wrong.",
    )  # fmt: skip
    cause = explain(recorded_from(objects))
    assert cause.code == "unknown"
    assert cause.looked_at == (
        "what the check said: It is wrong.",
        "pod team/train: Succeeded, on worker",
        "node worker: 4 of 4 NPUs to give",
        "pod others/theirs holds 2 NPUs on worker",
        "event Odd: Something.",
        "log of train.main: 2 lines",
    )
    assert explain(recorded_from({})).looked_at == ("nothing was recorded",)


def test_a_kernel_that_differs_from_the_baselines_is_a_cause_where_nothing_else_is() -> None:
    differs = "The kernel of the nodes with NPUs is 6.6; the baseline's is 5.10."
    low = explain(recorded_from(world(said="top_1 is 0.7301, less than 0.74.")), [differs])
    assert low.code == "accuracy-low"
    assert low.sentence.endswith(differs)
    unknown = explain(recorded_from(world()), [differs])
    assert (unknown.code, differs in unknown.sentence) == ("differs-from-baseline", True)
    crashed = pod(node="worker", phase="Failed", **container({"terminated": {"exitCode": 3}}))
    assert explain(recorded_from(world(crashed)), [differs]).code == "crash"


def test_a_hostile_name_is_one_word_of_a_command_to_type() -> None:
    cause = explain(recorded_from(world(pod("a; reboot", **unschedulable("0/1 nodes are available: no.")))))
    assert cause.command == "kubectl describe pod 'a; reboot' --namespace team"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["pods", "nodes", "holders", "plugins", "events", "logs", "at", "resource", "status", "spec",
                        "metadata", "conditions", "containerStatuses", "state", "containers"])  # fmt: skip


@given(st.dictionaries(KEYS, JSON | st.lists(st.dictionaries(KEYS, JSON, max_size=4), max_size=3), max_size=8))
def test_objects_that_are_none_have_an_unknown_cause_and_no_traceback(content: dict[str, Any]) -> None:
    cause = explain(recorded_from(content))
    assert cause.sentence.isprintable()


def test_a_moment_that_is_none_and_a_message_without_end_are_no_traceback_and_take_no_time() -> None:
    endless = "exceeded quota: a, requested: " * 20_000
    assert explain(recorded_from({"at": 10**400, "events": [event("Odd", endless)]}, endless)).code == "unknown"


def test_what_the_harness_records_is_what_the_rules_read() -> None:
    plugin = pod("plugin", 0, "worker", namespace="npu-system", spec={"volumes": [{"hostPath": {"path": PLUGINS}}]})
    theirs = pod("theirs", 4, "worker", namespace="others", phase="Running")
    mine = pod(**unschedulable(LACKS))
    mine["spec"]["containers"][0]["env"] = [{"name": "TOKEN", "value": "x"}]
    objects = cause_objects(
        at=AT, resource=NPU, pods=[mine], all_pods=[mine, theirs, plugin], nodes=[node()],
        events=[event("FailedScheduling", LACKS)], logs={"train.main": "line\n" * 500},
    )  # fmt: skip
    assert "TOKEN" not in json.dumps(objects)
    recorded = recorded_from(json.loads(json.dumps(objects)))
    assert [one.title for one in recorded.holders] == ["others/theirs"]
    assert [one.title for one in recorded.plugins] == ["npu-system/plugin"]
    assert len(recorded.logs["train.main"].splitlines()) == 60
    assert explain(recorded).code == "npus-in-use"


def test_the_verdict_names_the_cause_from_the_evidence_of_the_check(tmp_path: Path) -> None:
    content, folder = results(), tmp_path / "run"
    of(content, "flow-completed").update(outcome="failed", reason="The pod is Pending.")
    objects = world(pod(**unschedulable(LACKS)), holders=[pod("theirs", 4, "worker", namespace="others")])
    keep(content, folder, "objects.json", json.dumps(objects).encode())
    write(folder, content)
    decision = decide([folder], policy(tmp_path), now=NOW)
    (row,) = [row for row in decision.checks if row.id == "flow-completed"]
    assert row.cause is not None
    assert row.cause.code == "npus-in-use"
    screen = "\n".join(screen_lines(decision))
    assert "4 of 4 NPUs are in use, by others/theirs (4 on worker)." in screen
    assert "to do: kubectl get pods --all-namespaces --output wide" in screen


def test_damaged_objects_are_no_cause_and_no_error(tmp_path: Path) -> None:
    content = results()
    of(content, "flow-completed").update(outcome="failed", reason="The pod is Pending.")
    keep(content, tmp_path / "run-0", "objects.json", b"{")
    decision = judged(tmp_path, content)
    assert decision.exit_code == 1
    assert all(row.cause is None for row in decision.checks)


@pytest.mark.parametrize("recording", RECORDINGS, ids=[file.stem for file in RECORDINGS])
def test_the_cause_is_found_in_what_a_real_cluster_recorded(recording: Path) -> None:
    content = json.loads(recording.read_text())
    cause = explain(recorded_from(content["objects"], content["said"]))
    assert cause.code == content["code"], cause
    assert all(word in cause.sentence for word in content["words"]), cause.sentence
