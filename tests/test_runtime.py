"""The runtime's id of a container, as a pod's status names it."""

from __future__ import annotations

import pytest
from apiserver import pod

from fixtures.errors import HarnessError
from fixtures.runtime import container_id


def test_a_container_has_the_id_of_its_status() -> None:
    statuses = [{"name": "other", "containerID": "containerd://1"}, {"name": "main", "containerID": "containerd://ab2"}]
    assert container_id(pod("a", "Running", containerStatuses=statuses), "main") == "ab2"


@pytest.mark.parametrize("statuses", [[], [{"name": "other", "containerID": "containerd://1"}], [{"name": "main"}]])
def test_a_container_that_was_not_created_has_none(statuses: list[dict[str, str]]) -> None:
    with pytest.raises(HarnessError, match="names no id of the container main"):
        container_id(pod("a", "Pending", containerStatuses=statuses), "main")
