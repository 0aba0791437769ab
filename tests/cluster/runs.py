"""Whole runs of the harness, each a process of its own, on a cluster that is none of the developer's."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = "npu-e2e-test"
ROOT = Path(__file__).parents[2]
SOME = ("--profile", "conformance", "-k", "documented_flow or pod_network or resource_names or test_allocation.py")
"""Checks of a kind each; all of them are what `tox -e e2e -- --profile conformance` runs."""
RUN_SECONDS = 3000
"""The first run may have to build everything."""


@dataclass(frozen=True)
class Ran:
    """One run: exit status, what a person saw, and the files."""

    status: int
    shown: str
    results: dict[str, Any]
    folder: Path

    @property
    def outcomes(self) -> dict[str, str]:
        return {check["id"]: check["outcome"] for check in self.results["checks"]}

    @property
    def steps(self) -> list[str]:
        return [step["name"] for step in self.results["steps"]]


def argv(folder: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "e2e", "--results", str(folder), *options]


def ran(folder: Path, *options: str) -> Ran:
    done = subprocess.run(
        argv(folder, *options), cwd=ROOT, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    return Ran(done.returncode, done.stdout + done.stderr, json.loads((folder / "results.json").read_text()), folder)


def on_kind(folder: Path, *options: str) -> Ran:
    return ran(folder, "--cluster-name", NAME, "--keep", *options)
