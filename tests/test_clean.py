"""What the verb `clean` leaves of a cache."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fixtures.cleancommand import left_in


def test_a_cache_is_gone_with_all_that_is_in_it(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (cache / "go" / "pkg").mkdir(parents=True)
    (cache / "steps.json").touch()
    assert left_in(cache) == []
    assert not cache.exists()


def test_a_cache_that_is_a_mount_of_its_own_stays_and_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "steps.json").touch()

    def busy(_: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "rmdir", busy)
    assert left_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
