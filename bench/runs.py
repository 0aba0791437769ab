"""Runs of the suite that are measured: each in a process of its own, as a user starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Run:
    """A run that has ended.

    Attributes:
        wall: seconds by the clock, from the start of its process to its end.
        results: what it wrote: results.json.
        printed: all that it printed.
    """

    wall: float
    results: dict[str, Any]
    printed: str

    @property
    def passed(self) -> bool:
        return bool(self.results["verdict"]["result"] == "pass")

    @property
    def steps(self) -> dict[str, float]:
        """Seconds by step."""
        return {step["name"]: step["seconds"] for step in self.results["steps"]}


def finished_run(*options: str, cache: Path | None = None) -> Run:
    """Run `pytest e2e` with these options, in the usual cache or in this one.

    Raises:
        SystemExit: it ended without results; what it printed is shown.
    """
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "pytest", "e2e", "--results", folder, *options]
        began = time.monotonic()
        done = subprocess.run(argv, cwd=ROOT, env=environment(cache), capture_output=True, text=True, check=False)
        wall = time.monotonic() - began
        printed = done.stdout + done.stderr
        try:
            results = json.loads((Path(folder) / "results.json").read_text())
        except (OSError, ValueError):
            raise SystemExit(f"The run left no results:\n{printed}") from None
    return Run(wall, results, printed)


def environment(cache: Path | None) -> dict[str, str]:
    """The environment of a command that uses this cache; the usual one when None."""
    return {**os.environ, **({"NPU_E2E_CACHE": str(cache)} if cache else {})}
