"""The flow of "Perform NPU scheduling in a Kubernetes cluster": test-npu-pod, from apply to its results."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from fixtures.apipaths import path_of
from fixtures.checks import check
from fixtures.describe import summary
from fixtures.documented import DocumentedFlow, released
from fixtures.options import Settings
from fixtures.shares import node_shared
from fixtures.targets import Cluster

Measure = Callable[[str, float, str], None]
RELEASE_SECONDS = 10.0
"""The kubelet forgets a pod that has ended within a sync of its pod worker; ten seconds are many."""


@check(
    "flow-completed",
    source="document",
    defects=["crash"],
    verbs=["pods: create get list watch", "pods/log: get", "secrets: create get"],
)
def test_pod_runs_to_completed(flow: DocumentedFlow) -> None:
    """The documented pod that asks for one NPU is scheduled, runs and ends as Completed."""
    log = "\n".join(flow.last_lines)
    assert flow.pod["status"]["phase"] == "Succeeded", f"{summary(flow.pod)}. Its log ends:\n{log}"
    row = flow.queried.splitlines()[-1].split()
    assert row[0] == "test-npu-pod"
    assert row[2] == "Completed", f"`kubectl get po test-npu-pod` shows {row[2]}."
    assert row[3] == "0", f"The container was restarted {row[3]} times."


@check(
    "flow-one-npu",
    source="document",
    defects=["status-names-another-device"],
    verbs=["pods: create get list watch", "pods/log: get", "secrets: create get", "nodes: get"],
)
def test_pod_holds_one_npu(flow: DocumentedFlow, cluster: Cluster, settings: Settings) -> None:
    """The pod's request is one NPU, its node has NPUs to give, and exactly one was allocated to it."""
    (container,) = flow.pod["spec"]["containers"]
    assert container["resources"]["requests"][settings.resource] == "1"
    allocatable = cluster.client.get(path_of("Node", None, flow.node))["status"]["allocatable"]
    assert int(allocatable.get(settings.resource, 0)) >= 1, f"{flow.node} has no {settings.resource} to give."
    ids = flow.allocated(settings.resource)
    if ids:  # the pod's status names devices from Kubernetes 1.36 on
        assert len(ids) == 1, f"The kubelet allocated {sorted(ids)}."


@check(
    "flow-npu-is-the-given-one",
    needs=["podresources", "faults"],
    source="document",
    defects=["result-not-of-the-npu"],
    verbs=["pods: create get list watch", "pods/log: get", "secrets: create get"],
)
def test_container_opened_the_npu_that_the_kubelet_gave(flow: DocumentedFlow, settings: Settings) -> None:
    """The NPU that the container opened is the one that the kubelet says it gave, on the node that the pod ran on."""
    opened = {report["npu"] for report in flow.reports}
    assert opened, "The workload reported no NPU."
    assert opened == flow.allocated(settings.resource)
    nodes = {report["node"] for report in flow.reports if "node" in report}
    assert nodes == {flow.node}
    assert any("proof" in report for report in flow.reports), "The workload computed nothing on its NPU."


@check(
    "flow-npu-released",
    needs=["podresources"],
    source="document",
    defects=["devices-kept-after-the-end"],
    verbs=["pods: create get list watch", "pods/log: get", "secrets: create get", "pods/exec: create get"],
)
def test_npu_is_released(flow: DocumentedFlow, cluster: Cluster, locks: Path) -> None:
    """After the pod's end the kubelet counts no device as its any more."""
    with cluster.client.record.in_line(node_shared(locks, flow.node)):  # its kubelet has to answer
        deadline = time.monotonic() + RELEASE_SECONDS
        while (held := released(cluster, flow)) and time.monotonic() < deadline:
            continue  # each question takes the kubelet's own time to answer
    assert not held, held


@check(
    "flow-training-complete",
    source="document",
    defects=["stops-early", "crash-with-status-0"],
    verbs=["pods: create get list watch", "pods/log: get", "secrets: create get"],
)
def test_training_is_complete(flow: DocumentedFlow, record_measurement: Measure) -> None:
    """The log shows a training that ran through every step to its result."""
    training = flow.training
    assert training.completed, " ".join(training.problems)
    record_measurement("steps", float(training.steps_done or 0), "")


@check(
    "flow-accuracy",
    source="document",
    defects=["accuracy-low", "two-results"],
    verbs=["pods: create get list watch", "pods/log: get", "secrets: create get"],
)
def test_accuracy(flow: DocumentedFlow, settings: Settings, record_measurement: Measure) -> None:
    """The accuracy that the log names, top_1 and top_5, is at least what was asked for."""
    top_1, top_5 = flow.training.top_1, flow.training.top_5
    assert top_1 is not None, f"The log names no top_1. {' '.join(flow.training.problems)}"
    assert top_5 is not None, f"The log names no top_5. {' '.join(flow.training.problems)}"
    record_measurement("top_1", top_1, "fraction")
    record_measurement("top_5", top_5, "fraction")
    assert top_1 >= settings.min_top_1, f"top_1 is {top_1:.4f}, less than {settings.min_top_1}."
    assert top_5 >= settings.min_top_5, f"top_5 is {top_5:.4f}, less than {settings.min_top_5}."


@check(
    "flow-throughput",
    source="document",
    defects=["slow-training"],
    verbs=["pods: create get list watch", "pods/log: get", "secrets: create get"],
)
def test_throughput(flow: DocumentedFlow, settings: Settings, record_measurement: Measure) -> None:
    """The training rate that the log names is at least what was asked for."""
    rate = flow.training.iterations_per_second
    assert rate is not None, f"The log names no rate. {' '.join(flow.training.problems)}"
    record_measurement("rate", rate, "it/s")
    assert rate >= settings.min_rate, f"The rate is {rate:.3g} it/s, less than {settings.min_rate}."
