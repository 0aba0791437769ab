"""What a pod can come to: an end, readiness, an image that cannot be had, and what each says of it."""

from __future__ import annotations

import pytest
from apiserver import Object, pod

from fixtures.errors import HarnessError
from fixtures.pods import ended, ended_too_early, never_pulled, pulled_in_vain, ready, require_started


def waiting(reason: str, message: str = "no such image") -> Object:
    state = {"waiting": {"reason": reason, "message": message}}
    return pod("a", "Pending", containerStatuses=[{"name": "main", "state": state}])


def test_a_pod_has_ended_when_its_phase_is_a_last_one() -> None:
    over = [phase for phase in ("Pending", "Running", "Succeeded", "Failed") if ended(pod("a", phase))]
    assert over == ["Succeeded", "Failed"]
    assert not ended(None)


def test_a_pod_is_ready_when_its_condition_says_so() -> None:
    assert ready(pod("a", "Running", conditions=[{"type": "Ready", "status": "True"}]))
    assert not ready(pod("a", "Running", conditions=[{"type": "Ready", "status": "False"}]))
    assert not ready(pod("a", "Running"))


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"])
def test_an_image_that_was_tried_in_vain_is_named_with_the_runtime_s_words(reason: str) -> None:
    assert never_pulled(waiting(reason)) == "the image of main cannot be pulled: no such image"
    assert ended_too_early(waiting(reason)) == never_pulled(waiting(reason))


@pytest.mark.parametrize("state", [waiting("ErrImagePull"), waiting("ContainerCreating"), pod("a", "Running"), None])
def test_what_may_still_come_is_no_failure(state: Object | None) -> None:
    assert never_pulled(state) is None
    assert ended_too_early(state) is None


def test_an_image_is_given_up_after_the_kubelet_s_second_try() -> None:
    tried, backs_off = waiting("ErrImagePull"), waiting("ImagePullBackOff")
    for states in (
        [tried, tried, backs_off, tried, backs_off],
        [backs_off, waiting("ContainerCreating"), tried, backs_off],
    ):
        judged = pulled_in_vain()
        said = [judged(state) for state in states]
        assert said[:-1] == [None] * (len(states) - 1)
        assert said[-1] == "the image of main cannot be pulled: no such image"
    assert pulled_in_vain()(waiting("InvalidImageName")) == "the image of main cannot be pulled: no such image"
    assert pulled_in_vain()(None) is None


def test_a_pod_that_should_run_has_failed_when_it_has_ended() -> None:
    assert "Failed (Evicted" in str(ended_too_early(pod("a", "Failed", reason="Evicted", message="no room")))


def test_a_container_that_a_busy_machine_could_not_start_is_not_judged() -> None:
    why = "OCI runtime create failed: error setting cgroup config for procHooks process: unable to freeze"
    failed = {"name": "main", "state": {"terminated": {"exitCode": 128, "reason": "StartError", "message": why}}}
    with pytest.raises(HarnessError, match="could not start main: runc was unable to freeze") as caught:
        ended_too_early(pod("a", "Failed", containerStatuses=[failed]))
    assert caught.value.blames == "harness"
    failed["state"]["terminated"]["message"] = "exec: no such file"  # type: ignore[index]
    require_started(pod("a", "Failed", containerStatuses=[failed]))
