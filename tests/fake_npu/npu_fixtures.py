"""Fixtures of these tests, named by their modules as `pytest_plugins`.

No conftest: with the one of the root it would be two modules of one name, which mypy refuses.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from npu_bench import Kubelet, laid_out, running_kubelet, settings
from npu_container import Container, Ended, Run, attached

from fake_npu import image
from fake_npu.workload.run import main
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


@pytest.fixture
def container(tmp_path: Path, digits_file: Path) -> Container:
    for name in ("dev", "npu"):
        (tmp_path / name).mkdir()
    return Container(tmp_path, digits_file, {"NPU_VISIBLE_DEVICES": "npu0"})


@pytest.fixture
def honest(container: Container) -> Container:
    """A container with one device, and its facts."""
    container.plug_in(0)
    container.write_facts(0)
    return container


@pytest.fixture
def run(container: Container, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the workload in this process."""

    def call(*more: str) -> Ended:
        capsys.readouterr()
        status = main(container.arguments(*more), container.variables)
        return Ended(status, *capsys.readouterr())

    return call


@pytest.fixture
def with_memory(container: Container) -> Iterator[Container]:
    """A container with one device that has memory: a real loop device."""
    descriptor, memory = attached(container, 0)
    container.write_facts(0, memory_bytes=memory)
    yield container
    os.close(descriptor)
