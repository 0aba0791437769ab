"""`npu-e2e` as a process: all that it prints arrives, and what cannot be printed is no verdict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CLI = [sys.executable, "-m", "fixtures.cli"]


def test_all_of_a_long_output_arrives_at_a_slow_reader() -> None:
    with subprocess.Popen([*CLI, "catalogue", "--format", "json"], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout
        text = b"".join(iter(lambda: process.stdout.read(10_000) if process.stdout else b"", b""))
    assert process.returncode == 0
    assert len(json.loads(text)["checks"]) > 100


def test_a_full_disk_is_no_verdict_and_no_traceback() -> None:
    with Path("/dev/full").open("wb") as full:
        words = [*CLI, "catalogue", "--format", "json"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, cwd=ROOT, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == [
        "Not all could be written: No space left on device.",
        "Make room, and run it again.",
    ]


def test_a_reader_that_ends_early_is_no_verdict() -> None:
    with subprocess.Popen(
        [*CLI, "log", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout
        process.stdout.close()
        _, said = process.communicate(b"x", timeout=30)
    assert process.returncode == 2
    assert b"Traceback" not in said


@pytest.mark.parametrize("command", ["catalogue", "doctor"])
def test_a_reader_of_a_table_that_ends_early_is_no_verdict(command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        done = subprocess.run([*CLI, command], stdout=nobody, stderr=subprocess.PIPE, cwd=ROOT, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (2, b"")


SHELL = f'exec "{sys.executable}" -m fixtures.cli "$@"'


@pytest.mark.parametrize(
    ("words", "closed", "code"),
    [
        (["catalogue"], "<&- >&-", 0),
        (["catalogue", "--nonsense"], "2>&-", 5),
        (["catalogue", "--nonsense"], ">&- 2>&-", 5),
        (["catalogue", "--nonsense"], "2>/dev/full", 5),
        (["log", "no-such-file"], "2>&-", 5),
        (["log", "no-such-file"], "2>/dev/full", 2),
        (["gate", "--results", "."], ">&-", 3),
        (["gate", "--results", "no-such-folder"], "<&- >&- 2>&-", 5),
    ],
)
def test_a_stream_that_is_closed_or_full_is_no_verdict(words: list[str], closed: str, code: int) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{SHELL} {closed}", "sh", *words], cwd=ROOT, timeout=60, check=False, capture_output=True
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (code, False), done.stderr


def test_what_nobody_foresaw_is_told_whole_and_is_no_verdict() -> None:
    program = "from fixtures import cli\ncli.main = lambda: [].pop()\ncli.command_line()"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, timeout=30, check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith(
        "IndexError: pop from empty list\nThis is a mistake in npu-e2e, and no verdict.\n"
        "Report it, with the lines above, to those from whom you have it.\n"
    )
