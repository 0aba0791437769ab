"""What becomes of a pod's pull, as the kubelet says it."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.pulls import had_its_image, pulling_pod, refused, waiting


def _pod(state: dict[str, Any], image_id: str = "") -> dict[str, Any]:
    return {"status": {"containerStatuses": [{"name": "reader", "state": state, "imageID": image_id}]}}


REFUSED = _pod({"waiting": {"reason": "ErrImagePull", "message": "401 Unauthorized"}})
WAITS = _pod({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}})
LATER = _pod({"waiting": {"reason": "ErrImagePull", "message": "pull QPS exceeded"}})
CREATING = _pod({"waiting": {"reason": "ContainerCreating"}})
ENDED = _pod({"terminated": {"exitCode": 0}}, "registry:5000/a@sha256:1")


@pytest.mark.parametrize("pod", [REFUSED, WAITS])
def test_an_image_is_refused_after_a_try_and_between_two(pod: dict[str, Any]) -> None:
    assert refused(pod)
    assert had_its_image(pod) is None


@pytest.mark.parametrize("pod", [None, {}, {"status": {}}, {"status": {"containerStatuses": []}}, CREATING, LATER])
def test_a_pod_that_has_not_come_to_its_pull_says_nothing(pod: dict[str, Any] | None) -> None:
    assert not refused(pod)
    assert had_its_image(pod) is None


def test_a_container_that_ran_had_its_image() -> None:
    assert not refused(ENDED)
    assert had_its_image(ENDED) == "its container reader was given the image registry:5000/a@sha256:1"


def test_the_explanation_is_the_kubelets() -> None:
    assert waiting(REFUSED) == ("ErrImagePull", "401 Unauthorized")
    assert waiting(ENDED) == ("", "")


def test_a_pod_has_only_the_secret_and_the_account_that_it_was_given() -> None:
    bare = pulling_pod("a", "here", node="n1", image="registry:5000/a:1")["spec"]
    assert "imagePullSecrets" not in bare
    assert "serviceAccountName" not in bare
    told = pulling_pod("a", "here", node="n1", image="registry:5000/a:1", secret="s", account="b")["spec"]
    assert told["imagePullSecrets"] == [{"name": "s"}]
    assert told["serviceAccountName"] == "b"
