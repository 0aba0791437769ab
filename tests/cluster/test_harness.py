"""Whole runs of the harness against a real cluster: what passes, what fails, what is kept, what is left alone."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path

import pytest

from cluster.runs import NAME, ROOT, SOME, Ran, argv, on_kind, ran
from fixtures import podexec
from fixtures.apipaths import path_of
from fixtures.cli import main
from fixtures.client import NotFound, connect
from fixtures.engine import private
from fixtures.engine.container import KIND_CLUSTER, found_engine
from fixtures.engine.registrytrust import registries
from fixtures.errors import ExitCode
from fixtures.process import ProgramError
from fixtures.record import Record
from fixtures.targets.npus import NAMESPACE, PLUGIN


def state_of(file: Path) -> tuple[str, int, int]:
    stat = file.stat()
    return hashlib.sha256(file.read_bytes()).hexdigest(), stat.st_mode, stat.st_mtime_ns


def test_every_check_passes_on_a_cluster_of_ours(first: Ran) -> None:
    assert first.status == 0, first.shown
    assert set(first.outcomes.values()) == {"passed"}
    assert first.results["verdict"]["result"] == "pass"
    suite = ET.parse(first.folder / "junit.xml").getroot()  # noqa: S314 - written by this very run
    assert {case.get("name") for case in suite.iter("testcase")}
    properties = {p.get("name") for p in suite.iter("property")}
    assert {"kubernetes version", "node image", "target"} <= properties


def test_the_same_in_one_process_and_in_another_order(first: Ran, tmp_path: Path) -> None:
    assert first.status == 0, first.shown
    assert " processes" in first.shown
    assert [step for step in first.steps if step == "run test-npu-pod"] == ["run test-npu-pod"]
    alone = on_kind(tmp_path, *SOME, "-n", "0", "--shuffle", "1")
    assert alone.status == 0, alone.shown
    assert " processes" not in alone.shown
    assert alone.outcomes == first.outcomes
    assert alone.results["time"]["waits"] > 0


def test_a_kept_cluster_is_found_again(first: Ran, tmp_path: Path) -> None:
    assert first.status == 0, first.shown
    again = on_kind(tmp_path)
    assert again.status == 0, again.shown
    assert not [step for step in again.steps if step.startswith("make the cluster")]
    assert main(["gate", "--policy", "kind", "--results", str(again.folder)]) == ExitCode.OK


def test_too_low_an_accuracy_fails_and_says_which(first: Ran, tmp_path: Path) -> None:
    assert first.status == 0, first.shown
    strict = on_kind(tmp_path, "--min-top-1", "0.9999")
    assert strict.status == ExitCode.FAILED, strict.shown
    failed = [name for name, outcome in strict.outcomes.items() if outcome == "failed"]
    assert failed == ["flow-accuracy"]
    assert "less than 0.9999" in strict.shown
    evidence = {path.name for path in (strict.folder / "evidence" / "flow-accuracy").iterdir()}
    logs = {"pod-test-npu-pod.resnet50-npu.log", "device-plugin.log"}
    of_pod = {"pod-test-npu-pod.yaml", "events.txt", "objects.json", *logs}
    assert of_pod <= evidence
    for worker in (name for name in evidence if name.startswith("node-")):
        assert f"kubelet-{worker.removeprefix('node-').removesuffix('.yaml')}.log" in evidence
    assert len(evidence) == len(of_pod) + 2


def test_an_image_that_is_not_there_fails_with_its_name(first: Ran, tmp_path: Path) -> None:
    assert first.status == 0, first.shown
    missing = on_kind(tmp_path, "--image", "127.0.0.1:1/no/such:image", "--pod-timeout", "60")
    assert missing.status == ExitCode.FAILED, missing.shown
    assert "cannot be pulled" in missing.shown
    assert "127.0.0.1:1/no/such:image" in missing.shown
    for name, outcome in missing.outcomes.items():  # the pod is there until the last check's evidence is
        if outcome == "failed":
            pod = (missing.folder / "evidence" / name / "pod-test-npu-pod.yaml").read_text()
            assert "deletionTimestamp" not in pod


def test_a_caller_s_kubeconfig_is_only_read(kubeconfig: Path, first: Ran, tmp_path: Path) -> None:
    image = json.loads((first.folder / "results.json").read_text())
    assert image["verdict"]["result"] == "pass"
    before = state_of(kubeconfig)
    # this cluster's nodes cannot pull the documented image: the run fails, and the file is as it was
    options = ("--target", "cluster", "--kubeconfig", str(kubeconfig), "--pod-timeout", "45")
    other = ran(tmp_path / "results", *options)
    assert other.status == ExitCode.FAILED, other.shown
    assert state_of(kubeconfig) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_it_is_only_read_when_a_run_is_ended(kubeconfig: Path, tmp_path: Path, number: signal.Signals) -> None:
    before = state_of(kubeconfig)
    folder = tmp_path / "results"
    options = ("--target", "cluster", "--kubeconfig", str(kubeconfig), "--pod-timeout", "300")
    process = subprocess.Popen(
        argv(folder, *options), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if b"run test-npu-pod" in line:
                break
        process.send_signal(number)
        status = process.wait(60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()
    assert status != 0
    assert state_of(kubeconfig) == before
    ended = json.loads((folder / "results.json").read_text())
    assert ended["verdict"]["result"] != "pass"


def test_a_registry_that_ignores_its_password_is_caught_and_leaves_nothing(first: Ran, tmp_path: Path) -> None:
    assert first.status == 0, first.shown
    chosen = ("--profile", "conformance", "--check", "pull-wrong-password")
    caught = on_kind(tmp_path, *chosen, "--defect", "secret-ignored")
    assert caught.status == ExitCode.FAILED, caught.shown
    assert "with the deliberate fault secret-ignored" in caught.shown
    assert "was given the image" in caught.shown
    engine = private.running_engine() or found_engine()
    assert engine is not None
    assert registries(engine, NAME) == []
    for node in engine.containers(f"{KIND_CLUSTER}={NAME}"):
        assert "npu/workload" not in engine.run("exec", node, "crictl", "images")


def test_a_node_that_loses_an_npu_by_itself_ends_what_was_to_run_there(kubeconfig: Path, tmp_path: Path) -> None:
    # a kubelet tells within a second, by when one of the first two may have ended; the last one begins later
    chosen = [word for check in ("flow-completed", "sched-insufficient", "zero-ok") for word in ("--check", check)]
    options = ("--profile", "conformance", "--cluster-name", NAME, "--keep", "-n", "0", *chosen)
    with connect(kubeconfig, Record()) as client:
        plugins = client.items(path_of("Pod", NAMESPACE), labels=f"app.kubernetes.io/name={PLUGIN}")
        plugin = min(plugins, key=lambda pod: str(pod["spec"]["nodeName"]))  # the node that checks share
        node = plugin["spec"]["nodeName"]

        def health(word: str) -> None:
            podexec.output(client, NAMESPACE, plugin["metadata"]["name"], ["npuctl", "health", "npu0", word])

        process = subprocess.Popen(
            argv(tmp_path, *options), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        shown = ""
        try:
            assert process.stdout is not None
            for line in process.stdout:
                shown += line
                if "run test-npu-pod" in line and "✓" not in line:
                    health("Unhealthy")
            assert process.wait(60) == ExitCode.FAILED, shown
        finally:
            health("Healthy")
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
    results = json.loads((tmp_path / "results.json").read_text())
    (violation,) = results["violations"]
    assert violation.startswith(f"{node} has 3 aliyun.com/npu to give, and had 4 since ")
    assert re.search(r", while (flow-completed|sched-insufficient) ran\.$", violation), violation
    outcomes = {check["id"]: (check["outcome"], check["reason"]) for check in results["checks"]}
    assert outcomes["flow-completed"][0] == "passed"
    assert outcomes["zero-ok"] == ("error", f"No further check starts on this node: {violation}")


def test_a_command_in_a_container_prints_ends_and_fails_as_kubectl_says_it(kubeconfig: Path) -> None:
    with connect(kubeconfig, Record()) as client:
        (pod, *_) = client.items(path_of("Pod", NAMESPACE), labels=f"app.kubernetes.io/name={PLUGIN}")
        name = pod["metadata"]["name"]
        ran_there = partial(podexec.output, client, NAMESPACE, name)
        assert ran_there(["sh", "-c", "yes | head -c 300000; echo no >&2"]) == "y\n" * 150000
        with pytest.raises(ProgramError, match="failed with status 7:\n    why") as failed:
            ran_there(["sh", "-c", "echo why >&2; exit 7"], container="plugin")
        assert failed.value.status == 7
        assert failed.value.argv[:2] == ("kubectl", "exec")
        with pytest.raises(ProgramError, match="could not be run") as missing:
            ran_there(["/no/such/command"])
        assert missing.value.status is None
        with pytest.raises(ProgramError, match="did not end within"):
            ran_there(["sleep", "60"], timeout=0.5)
        with pytest.raises(NotFound):
            podexec.output(client, NAMESPACE, "no-such-pod", ["true"])


def test_a_node_is_not_taken_for_a_container_in_which_an_image_is_made(first: Ran) -> None:
    assert first.status == 0, first.shown
    engine = private.running_engine() or found_engine()
    assert engine is not None
    nodes = engine.containers(f"{KIND_CLUSTER}={NAME}")
    assert nodes
    assert not set(nodes) & set(engine.build_containers())
