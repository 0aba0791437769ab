"""Fixtures of these tests, named by their modules as `pytest_plugins`.

No conftest: with the one of the root it would be two modules of one name, which mypy refuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from npu_bench import Kubelet, laid_out, running_kubelet, settings

from fake_npu import image
from fixtures.cache import cached


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose path is short enough for unix sockets, laid out as `settings` says."""
    return laid_out(tmp_path_factory)


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One such folder for all tests of a module."""
    return laid_out(tmp_path_factory)


@pytest.fixture
def kubelet(folder: Path) -> Iterator[Kubelet]:
    with running_kubelet(settings(folder)) as started:
        yield started


@pytest.fixture(scope="session")
def digits_file() -> Path:
    """The workload's data; fetched once from the package index, then in the cache."""

    def make(target: Path) -> None:
        image.digits(target)

    return cached("digits", {"sha256": image.DIGITS_SHA256}, make) / Path(image.DIGITS).name
