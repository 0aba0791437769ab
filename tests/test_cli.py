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
