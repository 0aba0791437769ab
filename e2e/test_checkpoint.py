"""What a kubelet does that has lost its records of devices: its checkpoint is gone, or torn.

Both starts are made once for all of these checks, on one worker, and each judges a part of what was seen
(fixtures/checkpoint.py).
"""

from __future__ import annotations

from fixtures.attempt import Attempt
from fixtures.checkpoint import CheckpointLosses, Loss
from fixtures.checks import check
from fixtures.client import Object
from fixtures.describe import summary
from fixtures.kubelet import container_id
from fixtures.probe import CONTAINER


@check(
    "checkpoint-lost",
    profile="conformance",
    needs=["disruptive", "faults", "podresources"],
    source="kubernetes/kubernetes#116125",
    defects=["containers-end-with-the-kubelet", "deaf"],
    verbs=[
        "nodes: get list watch",
        "pods/exec: create get",
        "pods/log: get",
        "pods: create delete get list watch",
    ],
)
def test_a_kubelet_that_lost_its_checkpoint_has_its_npus_back(
    checkpoint_losses: tuple[CheckpointLosses, Attempt[Object]],
) -> None:
    """A kubelet whose checkpoint is gone starts, has its NPUs back and gives them, and lets pods go on."""
    seen, whole = checkpoint_losses
    _recovered(seen.lost, seen.resource)
    whole.result()


@check(
    "checkpoint-corrupted",
    profile="conformance",
    needs=["disruptive", "faults", "podresources"],
    source="kubernetes/kubernetes#102880",
    defects=["containers-end-with-the-kubelet", "deaf"],
    verbs=[
        "nodes: get list watch",
        "pods/exec: create get",
        "pods/log: get",
        "pods: create delete get list watch",
    ],
)
def test_a_kubelet_with_a_torn_checkpoint_has_its_npus_back(
    checkpoint_losses: tuple[CheckpointLosses, Attempt[Object]],
) -> None:
    """A kubelet whose checkpoint is torn starts, has its NPUs back and gives them, and lets pods go on."""
    seen, whole = checkpoint_losses
    _recovered(seen.torn, seen.resource)
    whole.result()


@check(
    "checkpoint-lost-unaccounted",
    level="should",
    profile="conformance",
    needs=["disruptive", "faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:628",
    verbs=[
        "nodes: get list watch",
        "pods/exec: create get",
        "pods/log: get",
        "pods: create delete get list watch",
    ],
)
def test_a_kubelet_that_lost_its_checkpoint_takes_npus_in_use_for_free(
    checkpoint_losses: tuple[CheckpointLosses, Attempt[Object]],
) -> None:
    """A kubelet whose checkpoint is gone takes the NPU of a pod that goes on for free, and may give it to another.

    Kubernetes lets pods that run pass without a look at their devices, so that nobody tells the kubelet what they
    hold. Drain a node before its checkpoint is removed. If this fails, a kubelet has learned to ask.
    """
    seen, _ = checkpoint_losses
    for loss in (seen.torn, seen.lost):
        assert loss.before.of(loss.held, seen.resource) == {CONTAINER: frozenset(loss.saw.visible)}
        assert loss.after["status"]["phase"] == "Running", summary(loss.after)
        assert loss.said.of(loss.after, seen.resource) == {}


def _recovered(seen: Loss, resource: str) -> None:
    """The node gives NPUs again, and the pod that had one runs as before."""
    seen.registered.result()
    new = seen.next_pod.result()
    assert seen.next_saw is not None
    said = seen.said.of(new, resource)
    assert said == {CONTAINER: frozenset(seen.next_saw.visible)}, f"The kubelet says that the new pod holds {said}."
    assert len(seen.next_saw.opened) == 1
    assert seen.after["metadata"]["uid"] == seen.held["metadata"]["uid"]
    assert seen.after["status"]["phase"] == "Running", summary(seen.after)
    assert container_id(seen.after) == container_id(seen.held), summary(seen.after)
    assert seen.left == [container_id(seen.held)], f"Its node runs the containers {seen.left} of the pod."
