"""What a run uses is neither made anew nor removed under it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fixtures.cli import main
from fixtures.inuse import RUNS, alone, in_use, unused, users

ROOT = Path(__file__).parents[1]
USER = """
import sys
from fixtures.inuse import in_use
with in_use(sys.argv[1]):
    print(flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("NPU_E2E_CACHE", str(folder))
    return folder


@contextmanager
def another(name: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that uses `name`."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", USER, name], stdin=pipe, stdout=pipe, cwd=ROOT) as process:
        assert process.stdout
        assert process.stdout.readline() == b"\n"
        try:
            yield process
        finally:
            process.kill()


def test_any_number_may_use_it_and_none_of_them_is_alone() -> None:
    with another("it") as first, another("it") as second, in_use("it"):
        with unused("it") as free:
            assert not free
        assert users("it") == f"processes {', '.join(sorted((str(first.pid), str(second.pid))))}"
    with unused("it") as free:
        assert free


def test_what_the_block_raises_is_its_own() -> None:
    def block() -> None:
        with unused("it"):
            raise BlockingIOError("of the block")

    with pytest.raises(BlockingIOError, match="of the block"):
        block()


def test_whoever_wants_it_alone_waits_for_its_users_even_for_one_that_is_killed() -> None:
    said: list[str] = []
    with another("it") as user:

        def kill(sentence: str) -> None:
            said.append(sentence)
            threading.Timer(0.1, user.kill).start()

        with alone("it", kill), unused("it") as free:
            assert not free
    assert said == [f"it is used by process {user.pid}, and has to be made anew: waiting for its end."]


def test_nothing_is_removed_while_a_run_is_under_way(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with another(RUNS) as run:
        (cache / "go").mkdir()
        assert main(["clean"]) == 4
        assert (cache / "go").is_dir()
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"Nothing was removed: a run is under way in process {run.pid}.",
        "Let it end, or end it, then run `npu-e2e clean` again.",
    ]
