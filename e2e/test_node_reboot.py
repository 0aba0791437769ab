"""What becomes of NPUs and their pods when a node reboots: its sandboxes are gone, and its plugin is not yet back.

A reboot is played by what a kubelet finds after it: during the restart of fixtures/restart.py a pod loses its sandbox.
"""

from __future__ import annotations

from fixtures.attempt import Attempt
from fixtures.checks import check
from fixtures.client import Object
from fixtures.describe import summary
from fixtures.restart import REBOOTED, REPLACEMENT, Restart

REFUSED = "Allocate failed due to no healthy devices present; cannot allocate unhealthy devices"


@check(
    "reboot-fails-admission",
    profile="conformance",
    needs=["disruptive", "faults", "podresources"],
    source="k8s 1.37.2 test/e2e_node/device_plugin_test.go:971",
    defects=["devices-kept-after-the-end", "npus-ignored"],
    verbs=[
        "nodes: get list watch",
        "pods/exec: create get",
        "pods/log: get",
        "pods: create delete get list watch",
    ],
)
def test_a_pod_is_not_run_again_before_its_npu_is_there(kubelet_restart: tuple[Restart, Attempt[Object]]) -> None:
    """A pod that a reboot ended is refused, and not run without its NPU, as long as the plugin is not back."""
    seen, _ = kubelet_restart
    pod = seen.refused.result()
    assert pod["metadata"]["uid"] == seen.before.pods[REBOOTED]["metadata"]["uid"]
    assert pod["status"]["phase"] == "Failed", summary(pod)
    assert pod["status"].get("reason") == "UnexpectedAdmissionError", summary(pod)
    assert f"{REFUSED} {seen.late}" in pod["status"]["message"]
    assert not seen.after.ids(REBOOTED, seen.late)


@check(
    "node-reboot",
    profile="conformance",
    needs=["disruptive", "faults", "podresources"],
    source="k8s 1.37.2 pkg/kubelet/cm/devicemanager/manager.go:581",
    defects=["devices-kept-after-the-end"],
    verbs=[
        "nodes: get list watch",
        "pods/exec: create get",
        "pods/log: get",
        "pods: create delete get list watch",
    ],
)
def test_the_npu_of_a_pod_that_a_reboot_ended_goes_to_the_next(
    kubelet_restart: tuple[Restart, Attempt[Object]],
) -> None:
    """The NPU of a pod that a reboot ended goes to the pod that takes its place, once the plugin is back."""
    seen, _ = kubelet_restart
    held = seen.before.ids(REBOOTED, seen.late)
    assert len(held) == 1, f"It held {sorted(held)}."
    seen.returned.result()
    seen.replacement.result()
    assert not seen.last.ids(REBOOTED, seen.late)
    assert seen.last.ids(REPLACEMENT, seen.late) == held
    assert frozenset(seen.sights[REPLACEMENT].visible) == held
