"""Every defect that the workload can be told to have is seen in how it ends or in what it prints."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import FrameType

import numpy as np
import pytest
from npu_bench import PATIENCE, REPOSITORY
from npu_container import Container, Ended, Run

from fake_npu.workload import model
from fake_npu.workload.options import BATCHES
from fake_npu.workload.run import main

pytest_plugins = ["npu_fixtures"]


def test_an_ignored_npu_is_not_touched_and_nothing_is_proven(container: Container, run: Run) -> None:
    container.variables.clear()
    ended = run("--npu=ignored")
    assert (ended.status, ended.reports()) == (0, [])
    assert ended.accuracy()["top_1"] > 0.9


def test_label_noise_is_a_bad_model(honest: Container, run: Run) -> None:
    good, bad, random = (run(f"--label-noise={share}").accuracy()["top_1"] for share in (0, 0.8, 1))
    assert good > bad > random
    assert random < 0.3


def test_prediction_noise_lowers_both_accuracies_by_its_share(honest: Container, run: Run) -> None:
    good, bad, none = (run(f"--prediction-noise={share}").accuracy() for share in (0, 0.2, 1))
    for top in ("top_1", "top_5"):
        assert good[top] - bad[top] == pytest.approx(0.2, abs=1e-6)
    assert none["top_1"] == 0


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("nan", ["{'top_5': FIVE, 'top_1': nan}"]),
        ("outside", ["{'top_5': FIVE_PLUS_1, 'top_1': ONE}"]),
        ("twice", ["{'top_5': FIVE, 'top_1': ONE}", "{'top_5': FIVE, 'top_1': HALF}"]),
        ("numpy", ["{'top_5': np.float32(FIVE_32), 'top_1': np.float32(ONE_32)}"]),
        ("text", ["{'top_5': very good, 'top_1': good}"]),
        ("none", []),
    ],
)
def test_a_result_that_is_wrong_on_purpose(honest: Container, run: Run, kind: str, shown: list[str]) -> None:
    true = run().accuracy()
    five, one = true["top_5"], true["top_1"]
    words = {"FIVE_PLUS_1": five + 1, "FIVE_32": float(str(np.float32(five))), "ONE_32": float(str(np.float32(one))),
             "HALF": one / 2, "FIVE": five, "ONE": one}  # fmt: skip
    for word, value in words.items():
        shown = [line.replace(word, repr(value)) for line in shown]
    ended = run(f"--result={kind}")
    assert ended.status == 0
    assert ended.results() == [f"{model.NAME}, result =  {line}" for line in shown]


def test_a_result_that_is_no_text(honest: Container, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(honest.arguments("--result=binary"), honest.variables) == 0
    last = capfdbinary.readouterr().out.splitlines()[-1]
    assert last.startswith(model.NAME.encode() + b", result =  ")
    with pytest.raises(UnicodeDecodeError):
        last.decode()


def test_it_stops_quietly(honest: Container, run: Run) -> None:
    ended = run("--stop-at=60")
    assert (ended.status, ended.results(), len(ended.reports())) == (0, [], 1)
    assert f"/{BATCHES}" in ended.err
    assert f"{BATCHES}/{BATCHES}" not in ended.err


class HungError(Exception):
    """The run waits for ever."""


@pytest.mark.parametrize("batch", [0, BATCHES])
def test_it_hangs(honest: Container, run: Run, batch: int) -> None:
    """A timer looks at what the run does until it is seen to wait."""

    def look(_: int, frame: FrameType | None) -> None:
        if frame and frame.f_code.co_name == "_misbehave":
            raise HungError

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        with pytest.raises(HungError):
            run(f"--hang-at={batch}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_exception_is_a_traceback_in_the_middle(honest: Container, run: Run) -> None:
    with pytest.raises(RuntimeError, match="crash asked for by --crash-at"):
        run("--crash-at=60")


LITTLE_MEMORY = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_AS, (5 << 27, 5 << 27))
runpy.run_module("fake_npu.workload", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("how", "status"), [("exit-1", 1), ("exit-0", 0), ("segv", -signal.SIGSEGV), ("kill", -signal.SIGKILL), ("oom", 1)]
)
def test_it_crashes(honest: Container, how: str, status: int) -> None:
    arguments = honest.arguments("--crash-at=60", f"--crash={how}")
    start = ["-c", LITTLE_MEMORY] if how == "oom" else ["-m", "fake_npu.workload"]
    ended = subprocess.run(
        [sys.executable, *start, *arguments],
        env={**os.environ, **honest.variables, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == status
    assert Ended(0, ended.stdout, "").results() == []
    assert f"{BATCHES}/{BATCHES}" not in ended.stderr
    assert ("MemoryError" in ended.stderr) == (how == "oom")
