"""Why a node ended as it started."""

from __future__ import annotations

from fixtures.errors import HarnessError
from fixtures.targets.nodefailure import node_failure

KIND = HarnessError("`kind create cluster` failed.", "See kind.log.")
NO_INOTIFY = "Detected virtualization docker.\nFailed to create control group inotify object: Too many open files\n"


def test_a_node_that_had_no_inotify_instance_left_says_so_and_how_many_there_are() -> None:
    said = node_failure({"npu-worker": NO_INOTIFY}, KIND, instances=128)
    assert "npu-worker ended as it started, as no inotify instance was left" in said.cause
    assert "max_user_instances is 128" in said.cause
    assert "sysctl fs.inotify.max_user_instances=512" in said.remedy


def test_a_node_that_ended_for_another_reason_shows_its_last_lines() -> None:
    said = node_failure({"npu-worker": "one\ntwo\nthree\nfour\n"}, KIND, instances=128)
    assert said.cause == "The node npu-worker ended as it started:\n    two\n    three\n    four"
    assert said.remedy == KIND.remedy


def test_without_a_node_that_ended_kind_has_the_word() -> None:
    assert node_failure({}, KIND, instances=128) is KIND


def test_a_node_whose_kubelet_has_no_inotify_instance_left_is_not_ready() -> None:
    log = 'E1127 01:22:02.049277 "Failed to watch CA file" err="error creating fsnotify watcher: too many open files"\n'
    said = node_failure({"npu-worker2": log}, KIND, instances=128, how="is not ready")
    assert "npu-worker2 is not ready, as no inotify instance was left" in said.cause
