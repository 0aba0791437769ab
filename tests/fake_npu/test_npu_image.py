"""What the image is made from. Filling it takes the package index and minutes: that is left to whoever builds it."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import pytest
from npu_bench import REPOSITORY

from fake_npu import image

pytest_plugins = ["npu_fixtures"]


def test_the_digits_are_those_that_the_workload_was_written_for(digits_file: Path) -> None:
    assert hashlib.sha256(digits_file.read_bytes()).hexdigest() == image.DIGITS_SHA256


def test_without_the_package_index_the_error_holds_what_pip_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(image.ImageError, match=r"pip download failed with status 1:\n(.*\n)*.*scikit-learn"):
        image.digits(tmp_path / "data")


def test_equal_inputs_are_equal_and_name_code_python_and_machine() -> None:
    assert image.inputs() == image.inputs()
    assert set(image.inputs()) == {"code", "python", "machine"}


def test_the_lock_of_the_image_has_every_package_of_the_group_with_hashes() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wanted = {re.split(r"[^A-Za-z0-9_-]", line)[0] for line in project["dependency-groups"]["fake-npu"]}
    lock = (REPOSITORY / "fake_npu" / "requirements.txt").read_text()
    locked = re.findall(r"^([a-z0-9-]+)==.* \\\n +--hash=sha256:", lock, re.MULTILINE)
    assert wanted <= set(locked)


def test_the_fake_npus_packages_are_those_of_the_tests_lock() -> None:
    """What is tested is what is in the image."""

    def pins(path: Path) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for name, version in re.findall(r"^([a-z0-9_-]+)==([^ ;]+)", path.read_text(), re.MULTILINE):
            found.setdefault(name, set()).add(version)
        return found

    tested = pins(REPOSITORY / "requirements" / "test.txt")
    for name, versions in pins(REPOSITORY / "fake_npu" / "requirements.txt").items():
        assert versions <= tested[name], name
