"""Waiting for a pod: every state is seen, a watch that ends is begun anew, and time runs out in time."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from fixtures.kubectl import Kubectl
from fixtures.podwatch import PodNotReached, PodWatch, is_terminal, never_pulled
from fixtures.record import Record


def pod(phase: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "status": {"phase": phase, **status}}


def watch_of(folder: Path, *lists: list[dict[str, Any]], then: str = "exit 0") -> PodWatch:
    """A watch whose kubectl prints the first list of states at its first call, the second at its second, and so on."""
    for number, states in enumerate(lists):
        (folder / f"said-{number}").write_text("\n".join(json.dumps(state, indent=1) for state in states))
    program = folder / "kubectl"
    program.write_text(
        f"#!/bin/sh\ncd {folder}\nn=$(ls asked-* 2>/dev/null | wc -l)\ntouch asked-$n\n"
        f"cat said-$n 2>/dev/null && [ -e said-$((n + 1)) ] && exit 0\n{then}\n"
    )
    program.chmod(0o755)
    return PodWatch(Kubectl(program, folder / "kubeconfig"), "ns", "p", Record())


def test_states_of_several_watches_are_seen_in_order(tmp_path: Path) -> None:
    watch = watch_of(tmp_path, [pod("Pending")], [pod("Running"), pod("Succeeded")])
    assert watch.until("the end", is_terminal, timeout=20) == pod("Succeeded")
    assert [state["status"]["phase"] for _, state in watch.seen] == ["Pending", "Running", "Succeeded"]
    (wait,) = watch.record.waits
    assert (wait.outcome, [words for _, words in wait.states]) == ("met", ["Pending", "Running", "Succeeded"])


def test_a_deadline_is_kept_in_a_silent_watch_and_says_what_was_last_seen(tmp_path: Path) -> None:
    watch = watch_of(tmp_path, [pod("Pending", reason="Unschedulable")], then="exec sleep 60")
    began = time.monotonic()
    with pytest.raises(PodNotReached, match="Pending, Unschedulable") as caught:
        watch.until("the end", is_terminal, timeout=1)
    assert time.monotonic() - began < 5
    assert caught.value.blames == "product"
    assert watch.record.waits[0].outcome == "timeout"


def test_what_can_never_be_ends_the_wait_at_once(tmp_path: Path) -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    state = pod("Pending", containerStatuses=[{"name": "c", "state": waiting}])
    watch = watch_of(tmp_path, [state], then="exec sleep 60")
    with pytest.raises(PodNotReached, match="image of c cannot be pulled: no such image"):
        watch.until("the end", is_terminal, timeout=30, failed=never_pulled)
    assert watch.record.waits[0].outcome == "failed"
