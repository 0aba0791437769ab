"""The training log: what reads as completed, and that nothing else does."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from fixtures.errors import ExitCode
from fixtures.traininglog import Outcome, TrainingLog, read_training_log

CPU = b"2019-10-30 12:10:50.389452: I tensorflow/core/platform/cpu_feature_guard.cc:141] Your CPU supports AVX2\n"
BAR = b"100%|##########| 98/98 [00:26<00:00,  3.67it/s]\n"
RESULT = b"resnet_v1_50, result =  {'top_5': 0.9244321584701538, 'top_1': 0.7480267286300659}\n"
DOCUMENTED = CPU + BAR + RESULT


def reading(log: bytes) -> TrainingLog:
    return read_training_log(io.BytesIO(log))


def test_the_documented_log() -> None:
    log = reading(DOCUMENTED)
    assert log.completed
    assert (log.model, log.top_1, log.top_5) == ("resnet_v1_50", 0.7480267286300659, 0.9244321584701538)
    assert (log.steps_done, log.steps_total, log.iterations_per_second) == (98, 98, 3.67)
    assert (log.elapsed_seconds, log.lines) == (26, 3)


def drawn(*steps: int, total: int = 98) -> bytes:
    """What tqdm itself draws at these steps, a second for fifty of them."""
    bars = (tqdm.format_meter(n, total, n / 50 or 0.001, ncols=72, ascii=True) for n in steps)
    return "".join(f"\r{bar}" for bar in bars).encode() + b"\n"


@pytest.mark.parametrize(
    ("log", "rate"),
    [
        (drawn(0, 40, 98) + RESULT, 50.0),
        (b"100%|##| 98/98 [03:16<00:00,  2.00s/it]\n" + RESULT, 0.5),
        (BAR + b"other.model-1, result = {'top_1': np.float32(0.5), 'top_5': 7.5e-1}\n", 3.67),
        (drawn(49).rstrip() + CPU + drawn(98) + RESULT, 50.0),
        (b"noise \xff\xfe\n" + DOCUMENTED, 3.67),
        (DOCUMENTED + RESULT, 3.67),
    ],
)
def test_what_reads_as_completed(log: bytes, rate: float) -> None:
    read = reading(log)
    assert read.completed, read.problems
    assert read.iterations_per_second == pytest.approx(rate)


@pytest.mark.parametrize(
    "log",
    [
        b"",
        b"\n\n",
        CPU,
        BAR,
        RESULT,
        drawn(0, 97) + RESULT,
        CPU + BAR + RESULT.replace(b"0.7480267286300659", b"nan"),
        CPU + BAR + RESULT.replace(b"0.7480267286300659", b"inf"),
        CPU + BAR + RESULT.replace(b"0.7480267286300659", b"1.5"),
        CPU + BAR + RESULT.replace(b"0.7480267286300659", b"-0.1"),
        CPU + BAR + RESULT.replace(b"0.7480267286300659", b"0.95"),  # more than top_5
        CPU + BAR + RESULT.replace(b"0.7480267286300659", b"__import__('os')"),
        CPU + BAR + RESULT + RESULT.replace(b"0.74", b"0.73"),
        CPU + BAR + RESULT.replace(b"'top_1'", b"'top_\xff'"),
        CPU + BAR + RESULT.replace(b", 'top_1': 0.7480267286300659", b""),
        DOCUMENTED + drawn(0, 3),
    ],
)
def test_what_never_reads_as_completed(log: bytes) -> None:
    read = reading(log)
    assert not read.completed
    assert read.problems
    assert read.outcome is not Outcome.COMPLETED


@given(st.integers(0, len(DOCUMENTED) - 1))
def test_a_cut_off_log_is_completed_only_with_its_whole_result(length: int) -> None:
    whole = length >= len(DOCUMENTED.rstrip(b"\n"))
    assert reading(DOCUMENTED[:length]).completed == whole


@given(st.lists(st.integers(1, 60), max_size=30))
def test_where_chunks_end_makes_no_difference(sizes: list[int]) -> None:
    log = CPU + drawn(0, 10, 50, 98) + RESULT

    def chunks() -> Iterator[bytes]:
        start = 0
        for size in sizes:
            yield log[start : start + size]
            start += size
        yield log[start:]

    assert read_training_log(chunks()) == reading(log)


@given(st.binary(max_size=400))
def test_any_bytes_have_an_outcome(log: bytes) -> None:
    assert reading(log).outcome in Outcome


@given(st.lists(st.text("abc xyz:/.[]\t", max_size=60), max_size=8), st.floats(0, 1), st.floats(0, 1))
def test_noise_changes_no_number(noise: list[str], one: float, other: float) -> None:
    top_1, top_5 = sorted((one, other))
    result = f"net, result =  {{'top_5': {top_5!r}, 'top_1': {top_1!r}}}\n".encode()
    read = reading("".join(f"{line}\n" for line in noise).encode() + BAR + result)
    assert read.completed, read.problems
    assert (read.top_1, read.top_5) == (top_1, top_5)


def test_a_long_log_takes_little_memory() -> None:
    block = (b"x" * 99 + b"\n") * 10_000 + drawn(0, 98)

    def chunks() -> Iterator[bytes]:
        for _ in range(6):
            yield block
        yield RESULT

    tracemalloc.start()
    try:
        read_training_log(chunks())
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def npu_e2e(*words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "fixtures.cli", *words], input=given, capture_output=True, check=False)


def test_the_command_exits_0_for_a_completed_training_alone(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(DOCUMENTED)
    done = npu_e2e("log", str(file))
    assert done.returncode == 0
    assert json.loads(done.stdout)["top_1"] == 0.7480267286300659
    assert npu_e2e("log", "-", given=DOCUMENTED).returncode == 0
    assert npu_e2e("log", "-", given=RESULT).returncode == ExitCode.FAILED


@pytest.mark.parametrize("words", [[], ["log"], ["nothing"], ["log", "/no/such/file"]])
def test_a_wrong_call_says_so_without_a_traceback(words: list[str]) -> None:
    done = npu_e2e(*words)
    assert done.returncode == ExitCode.USAGE
    assert done.stderr
    assert b"Traceback" not in done.stderr
