"""The suite against a device plugin that was written elsewhere: Kubernetes' own sample, which owes us nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.runs import NAME, ran
from fixtures import versions
from fixtures.apipaths import path_of
from fixtures.client import Object, connect
from fixtures.engine import gomodule, nodeparts, private, tools
from fixtures.engine.container import KIND_CLUSTER, found_engine
from fixtures.errors import ExitCode
from fixtures.record import Record
from fixtures.steps import Steps
from fixtures.targets.npus import NAMESPACE, PLUGIN
from fixtures.wait import wait_for

RESOURCE = "example.com/resource"
PATTERN = "/tmp/Dev-*"  # noqa: S108 - a file of the node for each device, mounted into whoever holds it
PROGRAM = "sample-device-plugin"
DEVICES = 2
"""Of each node; all of these are facts of Kubernetes 1.37.2, test/images/sample-device-plugin."""
START_SECONDS = 60.0
LEAST_CHECKS = 35
"""That need no capability: the API server's, the scheduler's, deploying and scaling, and secure access."""


@pytest.fixture
def image(kubeconfig: Path) -> Iterator[str]:
    """An image with a shell that is on every node, while Kubernetes' sample device plugin gives its devices."""
    sample = replace(
        nodeparts.kubernetes(versions.KUBERNETES),
        programs={PROGRAM: "k8s.io/kubernetes/test/images/sample-device-plugin"},
        links={},
        variables={},
    )
    built = gomodule.go_programs(tools.go(Steps(None)), sample, Steps(None))
    engine = private.running_engine() or found_engine()
    assert engine is not None
    nodes = [name for name in engine.containers(f"{KIND_CLUSTER}={NAME}") if "worker" in name]
    try:
        for node in nodes:
            engine.run("cp", built / PROGRAM, f"{node}:/usr/local/bin/{PROGRAM}")
            engine.run("exec", node, "systemd-run", f"--unit={PROGRAM}", f"/usr/local/bin/{PROGRAM}")
        with connect(kubeconfig, Record()) as client:
            for node in nodes:
                what = f"the sample's devices on {node}"
                wait_for(client, what, path_of("Node", None, node), _gives, timeout=START_SECONDS)
            (container,) = client.get(path_of("DaemonSet", NAMESPACE, PLUGIN))["spec"]["template"]["spec"]["containers"]
        yield container["image"]
    finally:
        for node in nodes:
            engine.run("exec", node, "systemctl", "stop", PROGRAM)


def _gives(node: Object | None) -> bool:
    return node is not None and node["status"]["allocatable"].get(RESOURCE) == str(DEVICES)


def test_kubernetes_own_sample_passes_whatever_needs_no_capability(
    image: str, kubeconfig: Path, tmp_path: Path
) -> None:
    done = ran(
        tmp_path,
        *("--target", "cluster", "--kubeconfig", str(kubeconfig), "--image", image, "--profile", "conformance"),
        *("--resource", RESOURCE, "--device-path-pattern", PATTERN, "--visible-devices-env", "none"),
        *("-k", "not documented_flow"),  # its workload is for NPUs
    )
    # what was skipped has no answer, and a target that cannot give one is for the gate's policy to allow
    assert done.status == ExitCode.INCONCLUSIVE, done.shown
    checks = done.results["checks"]
    wrong = {check["id"]: check["outcome"] for check in checks if check["outcome"] not in {"passed", "skipped"}}
    assert not wrong, done.shown
    assert all(check["skipped_for"] for check in checks if check["outcome"] == "skipped")
    assert sum(check["outcome"] == "passed" for check in checks) >= LEAST_CHECKS
