"""What the gate does in other processes: the same as without them, and nothing of it is left."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gateworld import NOW, POLICY, keep, policy, results, write

from fixtures.errors import HarnessError
from gate import beside
from gate.beside import Shared
from gate.judge import decide
from gate.outputs import write_outputs

NUMBERS = """
[throughput]
at_least = 10.0
lowest_ratio = 0.9
[timing]
highest_ratio = 2.0
"""
COMPARED = {
    (name, against)
    for name in ("top_1", "top_5", "rate", "pod start", "pod run")
    for against in ("threshold", "baseline")
} - {("pod start", "threshold"), ("pod run", "threshold")}


def written(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()
    }


def test_processes_and_threads_come_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = []
    for number in range(3):
        content = results(f"aaaa000{number}")
        content["series"] = [{"name": "rate", "unit": "it/s", "check": "", "points": [[content["run"]["began"], 3.5]]}]
        keep(content, tmp_path / f"{number}", "pod.log", b"kept\n", "alloc-exclusive")
        folders.append(write(tmp_path / f"{number}", content))
    (tmp_path / "1" / "evidence" / "alloc-exclusive" / "pod.log").write_bytes(b"kepT\n")
    seen = []
    for many in (100, 1):
        monkeypatch.setattr(beside, "MANY", many)
        monkeypatch.setattr(os, "cpu_count", lambda: 3)
        rules = policy(tmp_path, POLICY + NUMBERS)
        decision = decide(folders[:2], rules, now=NOW, baseline=folders[2:])
        write_outputs(decision, tmp_path / f"out-{many}")
        seen.append((decision, written(tmp_path / f"out-{many}")))
    assert seen[0] == seen[1]
    assert {(one.metric, one.against) for one in seen[0][0].statistics} == COMPARED
    assert "was changed after the run" in " ".join(seen[0][0].reasons)


def test_a_helper_that_is_killed_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(HarnessError, match="ended from outside"), beside.beside(beside.MANY) as pool:
        pool.submit(os.kill, pool.submit(os.getpid).result(), signal.SIGKILL).result()


def square(number: int) -> int:
    if number < 0:
        raise ValueError(number)
    return number * number


def test_pieces_keep_their_order_whoever_does_them() -> None:
    held = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        shared = Shared(pool, square)
        shared.add(2)
        pool.submit(held.wait, 30)  # so that nobody but the one who asks can do the rest
        shared.add(3)
        shared.add(4)
        assert shared.results() == [4, 9, 16]
        held.set()


def test_what_a_piece_raises_is_raised() -> None:
    with ThreadPoolExecutor(1) as pool:
        shared = Shared(pool, square)
        for number in (1, -1, 2):
            shared.add(number)
        with pytest.raises(ValueError, match="-1"):
            shared.results()


WITH_HELPER = """
import os, signal, sys, time
from gate import beside
if __name__ == "__main__":
    os.cpu_count = lambda: 2
    with beside.beside(beside.MANY) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600)
        {then}
"""


@pytest.mark.parametrize("then", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(3)"])
def test_a_helper_ends_with_a_gate_that_is_killed(then: str) -> None:
    root = Path(beside.__file__).parents[1]
    argv = [sys.executable, "-c", WITH_HELPER.format(then=then)]
    helper = int(subprocess.run(argv, stdout=subprocess.PIPE, cwd=root, timeout=30, check=False).stdout)
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        watched = select.poll()
        watched.register(os.pidfd_open(helper), select.POLLIN)
        assert watched.poll(10_000)
