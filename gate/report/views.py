"""What the page shows, made from a decision: bounded, however many runs there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from gate.decision import EXIT_CODES, CheckRow, Decision, Finding
from gate.layout import evidence_file, named_runs
from gate.policyrules import DIFFERENCES
from gate.report.drawing import MOST_PODS, Chart, begun
from gate.report.text import day, duration, excerpt
from gate.results import Results, Series

MOST_RUNS = 40
"""In the table of runs."""
MOST_TIMELINES = 4
MOST_SERIES = 6
MOST_STATISTICS = 12
"""In the chart of intervals; the table has all."""
MOST_FAILURES = 60
"""With their evidence; the catalogue names the rest."""
MOST_EXCERPTS = 3
"""Of one check."""
MOST_FINDINGS = 200
OTHER = (*DIFFERENCES, "differs-from-baseline", "baseline-not-passed")
"""Codes of findings that say what is other than in the baseline."""
WORDS = {0: "It may be released.", 1: "It must not be released.", 2: "Whether it may be released is not known.",
         3: "This says nothing of the candidate.", 4: "Something was left behind."}  # fmt: skip


@dataclass(frozen=True)
class Failure:
    """A check that stands against a release, with its evidence: path, bytes, SHA-256 and last lines of each file."""

    row: CheckRow
    evidence: tuple[tuple[str, int, str, str], ...]


@dataclass(frozen=True)
class Charts:
    """All of a page; and how many runs have pods that are not drawn."""

    accuracy: list[Chart]
    series: list[Chart]
    timelines: list[Chart]
    left: int


def against(decision: Decision) -> list[Finding]:
    """What keeps the verdict from being pass, the gravest first."""
    return [finding for finding in decision.findings if finding.effect in EXIT_CODES]


def beside(decision: Decision) -> list[Finding]:
    """Warnings and notes, but for differences from the baseline."""
    found = [finding for finding in decision.findings if finding.effect not in EXIT_CODES]
    return [finding for finding in found if finding.code not in OTHER]


def differences(decision: Decision) -> list[Finding]:
    """What is other than in the baseline."""
    return [finding for finding in decision.findings if finding.code in OTHER]


def failures(decision: Decision) -> list[Failure]:
    """Checks that stand against a release, MOST_FAILURES of them, with the last lines of what was kept."""
    names = {id(results): name for name, results in named_runs(decision.results)}
    runs = {results.folder: names[id(results)] for results in decision.results}
    rows = [row for row in decision.checks if row.blocks][:MOST_FAILURES]
    return [Failure(row, tuple(_evidence(row, runs))) for row in rows]


def _evidence(row: CheckRow, runs: Mapping[Path, str]) -> Iterable[tuple[str, int, str, str]]:
    for number, (folder, kept) in enumerate(row.evidence[:20]):
        path = evidence_file(runs.get(folder, "?"), kept.file)
        yield path, kept.bytes, kept.sha256, excerpt(folder / kept.file) if number < MOST_EXCERPTS else ""


def seen(row: CheckRow) -> str:
    """How a check went over all runs, in a few words."""
    counted = Counter(one.outcome for one in row.observations)
    if len(row.observations) == 1:
        return f"{row.observations[0].outcome}"
    return ", ".join(f"{number} {outcome}" for outcome, number in counted.most_common()) or "never run"


def seconds(row: CheckRow) -> str:
    """The median of its durations."""
    return duration(median(one.seconds for one in row.observations)) if row.observations else ""


def run_rows(decision: Decision) -> tuple[list[tuple[str, Results, str, str]], int]:
    """The runs, those that did not finish first: name, results, when, outcomes; and how many more there are."""
    runs = sorted(named_runs(decision.results), key=lambda one: (one[1].run.state == "finished", one[1].run.began))
    rows = []
    for name, results in runs[:MOST_RUNS]:
        lasted = duration(max((results.run.ended or results.run.began) - results.run.began, 0))
        counted = Counter(check.outcome for check in results.checks)
        outcomes = ", ".join(f"{number} {outcome}" for outcome, number in counted.most_common())
        rows.append((name, results, f"{day(results.run.began)}, {lasted}", outcomes))
    return rows, len(runs) - len(rows)


def charts_of(decision: Decision, pool: Executor) -> Charts:
    """The charts of the page, which `pool` begins to draw."""
    drawn, left = _timelines(decision, pool)
    return Charts(_accuracy(decision, pool), _series(decision, pool), drawn, left)


def _accuracy(decision: Decision, pool: Executor) -> list[Chart]:
    """Every statistic with its interval."""
    some = decision.statistics[:MOST_STATISTICS]
    return [begun(pool, "Values with their confidence intervals", "intervals", some)] if some else []


def _timelines(decision: Decision, pool: Executor) -> tuple[list[Chart], int]:
    """Pods and NPUs over time, of MOST_TIMELINES runs with failures first; and how many more runs there are."""
    bad = {one.run for row in decision.checks if row.blocks for one in row.observations if one.outcome != "passed"}
    runs = [(name, results) for name, results in named_runs(decision.results) if results.pods]
    runs.sort(key=lambda one: one[1].run.id not in bad)
    made = []
    for number, (name, results) in enumerate(runs[:MOST_TIMELINES]):
        began = min([results.run.began, *(pod.created for pod in results.pods if pod.created is not None)])
        capacity = sum(node.npus for node in results.after.nodes) if results.after else 0
        what = (results.pods, began, _ended(results), capacity, f"pods-{number}")
        left = len(results.pods) - MOST_PODS
        note = f"{left} more pods are not drawn." if left > 0 else ""
        made.append(begun(pool, f"Run {name}", "pod_timeline", *what, note=note))
    return made, len(runs) - len(made)


def _ended(results: Results) -> float:
    times = [at for pod in results.pods for at in (pod.created, pod.started, pod.finished) if at is not None]
    return max([results.run.ended or results.run.began, *times])


def _series(decision: Decision, pool: Executor) -> list[Chart]:
    """Numbers over the run, such as the throughput: of each name and unit, the last runs."""
    grouped: dict[tuple[str, str], list[tuple[str, Results, Series]]] = {}
    for name, results in named_runs(decision.results):
        for one in results.series:
            if one.points:
                grouped.setdefault((one.name, one.unit), []).append((name, results, one))
    made = []
    for number, ((name, unit), several) in enumerate(list(grouped.items())[:MOST_SERIES]):
        lines = [
            (f"run {run}", [(at - results.run.began, value) for at, value in one.points])
            for run, results, one in several[-MOST_TIMELINES:]
        ]
        left = len(several) - len(lines)
        title, note = f"{name} over the run", f"{left} more are not drawn." if left else ""
        made.append(begun(pool, title, "lines_over_time", f"series-{number}", title, unit, lines, note=note))
    return made


def nodes(decision: Decision) -> Sequence[tuple[str, ...]]:
    """The nodes that were tested."""
    if decision.subject is None:
        return ()
    return [
        (node.name, str(node.npus), node.image, node.os_image, node.kernel, node.containerd, node.kubelet)
        for node in decision.subject.nodes[:MOST_RUNS]
    ]
