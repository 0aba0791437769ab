"""The cluster that the tests of whole runs share: the first of them makes it, and it goes with the last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.runs import NAME, SOME, Ran, on_kind, ran
from fixtures.targets.kind import clusters_folder


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("first")
    yield on_kind(folder, *SOME)
    # a run that selects nothing still takes the cluster away
    ran(folder, "--cluster-name", NAME, "--no-keep", "-k", "flow and completed")


@pytest.fixture
def kubeconfig(first: Ran, tmp_path: Path) -> Path:
    assert first.status == 0, first.shown
    copy = tmp_path / "kubeconfig"
    copy.write_bytes((clusters_folder() / NAME / "kubeconfig").read_bytes())
    copy.chmod(0o600)
    return copy
