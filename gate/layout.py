"""Where each file is, beside a decision and in a bundle."""

from __future__ import annotations

from collections.abc import Sequence

from gate.results import RESULTS, Results

REPORT, SUMMARY = "report.html", "summary.md"
RUNS, BASELINE = "runs", "baseline"
"""Folders of the candidate's runs and of the baseline's, a folder for each run."""


def named_runs(runs: Sequence[Results]) -> list[tuple[str, Results]]:
    """Each run with the name of its folder: its id, and a number after it when that was there before."""
    named: dict[str, Results] = {}
    for results in runs:
        name, number = results.run.id, 1
        while name in named:
            number += 1
            name = f"{results.run.id}-{number}"
        named[name] = results
    return list(named.items())


def results_file(folder: str, run: str) -> str:
    """The path of a run's results file."""
    return f"{folder}/{run}/{RESULTS}"


def evidence_file(run: str, file: str) -> str:
    """The path of a file that a run of the candidate kept."""
    return f"{RUNS}/{run}/{file}"
