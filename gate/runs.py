"""Whether the runs themselves can be counted on: ended, whole, cleaned up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from gate.decision import Effect, Finding
from gate.jsonfile import shown
from gate.results import TESTED, Outcome, Results

CLOCK_SECONDS = 5.0
"""By which clocks of the machines that wrote the times may differ."""
OPEN: tuple[Outcome, ...] = ("error", "skipped", "not-run")
OF_THE_RUN = re.compile(
    r"The run has not ended\.|Nothing was tested\.|The run had the deliberate defect .*"
    r"|\d+ checks? of the profile left out by the command line\."
)
"""Reasons of a verdict that are of no check, as fixtures.verdicts words them."""
AGAIN = "Run the checks again, and keep the results folder as the run leaves it."
CLEAN = "Remove what is left, or `npu-e2e clean`, then run the checks again."


def findings_of_runs(runs: Sequence[Results], now: float, *, still_going: bool = False) -> list[Finding]:
    """Where a run was killed or stopped, its times cannot be, it left something behind, or is there twice.

    Args:
        runs: the candidate's.
        now: seconds since the epoch.
        still_going: what was being deleted as a run ended is no more than a note.
    """
    found: list[Finding] = []
    seen: dict[str, Results] = {}
    for results in runs:
        other = seen.setdefault(results.run.id, results)
        if other is not results:
            sentence = f"Run {results.run.id} is given twice: {shown(other.folder)} and {shown(results.folder)}."
            found.append(Finding("run-twice", "inconclusive", sentence, "Give each run once.", run=results.run.id))
        found += _state(results)
        found += _clock(results, now)
        found += _inventory(results, still_going=still_going)
        found += [_violation(results, text) for text in results.violations]
        if not results.checks:
            sentence = f"Run {results.run.id} selected no check."
            found.append(Finding("run-empty", "inconclusive", sentence, AGAIN, run=results.run.id))
    found += _shards(runs)
    return found


def _state(results: Results) -> Iterable[Finding]:
    run = results.run
    words = {
        "running": "was killed: it never wrote its end",
        "interrupted": "was interrupted",
        "cannot-run": "ended before any check could begin",
    }
    if run.state in words:
        stopped = f": {run.stopped}" if run.stopped else "."
        yield Finding(
            "run-not-finished", "inconclusive", f"Run {run.id} {words[run.state]}{stopped}", AGAIN, run=run.id
        )
    elif run.stopped:
        yield Finding("run-not-finished", "inconclusive", f"Run {run.id} was stopped: {run.stopped}", AGAIN, run=run.id)
    if run.state == "finished" and None in (run.exit_code, run.ended):
        lacks = "exit code" if run.exit_code is None else "time of its end"
        sentence = f"Run {run.id} says that it finished, and has no {lacks}."
        yield Finding("run-not-finished", "inconclusive", sentence, AGAIN, run=run.id)
    if defect := results.settings.get("defect"):
        sentence = f"Run {run.id} had the deliberate defect {shown(defect)}: it says nothing of the candidate."
        yield Finding("defect", "nothing", sentence, "Run the checks without `--defect`.", run=run.id)
    for sentence in _contradictions(results):
        yield Finding("run-contradicts", "inconclusive", sentence, AGAIN, run=run.id)
    for trouble in run.troubles:
        yield Finding("run-troubled", "inconclusive", f"Run {run.id}: {trouble}", AGAIN, run=run.id)


def _contradictions(results: Results) -> Iterable[str]:
    """Where a run says other than its checks do: what it knew of is then no longer in the file.

    A run fails for its musts and violations alone, and knows nothing where a must has no answer; pytest's exit code 1
    stands if anything failed and the run is no pass (fixtures.verdicts).
    """
    run, outcomes = results.run, {check.outcome for check in results.checks}
    musts = [check for check in results.checks if check.level == "must"]
    failed = bool(results.violations) or any(check.outcome == "failed" for check in musts)
    unanswered = any(
        (
            run.troubles,
            run.stopped,
            run.state == "running",
            results.settings.get("defect"),
            not outcomes & TESTED,
            *(check.outcome in OPEN for check in musts),
        )
    )
    if results.verdict == "fail" and not failed:
        yield f"Run {run.id} says that it failed, and no must-check in it did."
    if results.verdict == "inconclusive" and not unanswered:
        yield f"Run {run.id} says that it is inconclusive, and each must-check in it came to an answer."
    for reason in _unexplained(results) if results.verdict != "pass" else ():
        yield f"Run {run.id} gives a reason that nothing else in it does: {shown(reason)}"
    if run.state != "finished" or run.exit_code is None:
        return
    ended_badly = results.verdict != "pass" and (failed or bool(outcomes & {"failed", "error"}))
    explained = {0: results.verdict == "pass", 1: ended_badly, 2: results.verdict == "inconclusive"}
    if not explained.get(run.exit_code, False):
        sentence = f"Run {run.id} ended with exit code {run.exit_code}"
        yield f"{sentence}, and no check in it says why." if run.exit_code else f"{sentence}, and is no pass."


def _unexplained(results: Results) -> Iterable[str]:
    """Reasons of a run's verdict that are of no check, violation or trouble in it."""
    run = results.run
    said = {*results.violations, *run.troubles, run.stopped}
    begins = tuple(
        f"{check.id}{'' if check.level == 'must' else ' (should)'}: {check.outcome}" for check in results.checks
    )
    for reason in results.reasons:
        if reason not in said and not reason.startswith(begins) and not OF_THE_RUN.fullmatch(reason):
            yield reason


def _clock(results: Results, now: float) -> Iterable[Finding]:
    run = results.run
    in_order = (
        ("its beginning", run.began),
        ("the first reading of its nodes", results.before.at if results.before else None),
        ("the last reading of its nodes", results.after.at if results.after else None),
        ("its end", run.ended),
        ("now", now),
    )
    known = [(words, time) for words, time in in_order if time is not None]
    for (earlier, first), (later, then) in pairwise(known):
        if then < first - CLOCK_SECONDS:
            sentence = f"The clock of run {run.id} cannot be counted on: {later} is before {earlier}."
            yield Finding("clock", "inconclusive", sentence, "Set the clocks, then run the checks again.", run=run.id)


def _inventory(results: Results, *, still_going: bool) -> Iterable[Finding]:
    run, inventory = results.run.id, results.inventory
    if inventory is None:
        yield Finding(
            "inventory-unknown", "inconclusive", f"Nobody looked at what run {run} left behind.", AGAIN, run=run
        )
        return
    if not inventory.before or not inventory.after:
        sentence = f"The inventory of run {run} is empty, which no cluster is: it was not read."
        yield Finding("inventory-unknown", "inconclusive", sentence, AGAIN, run=run)
    for left in inventory.left_behind:
        detail = f" ({left.detail})" if left.detail else ""
        effect: Effect = "note" if left.going and still_going else "left-behind"
        yield Finding("left-behind", effect, f"Run {run} {left.change} {left.what}{detail}.", CLEAN, run=run)


def _violation(results: Results, text: str) -> Finding:
    remedy = "Read the device plugin's and the kubelet's log of that node and time."
    return Finding("device-violated", "fail", f"Run {results.run.id}: {text}", remedy, run=results.run.id)


def _shards(runs: Sequence[Results]) -> Iterable[Finding]:
    shards: dict[int, set[int]] = {}
    for results in runs:
        if results.run.shard:
            index, of = results.run.shard.index, results.run.shard.of
            shards.setdefault(of, set()).add(index)
            if index > of:
                sentence = f"Run {results.run.id} says that it is shard {index} of {of}."
                yield Finding("shard-missing", "inconclusive", sentence, AGAIN, run=results.run.id)
    for of, seen in shards.items():
        if missing := sorted(set(range(1, of + 1)) - seen):
            several = ", ".join(map(str, missing[:10]))
            sentence = f"Of {of} shards {len(missing)} were not given: {several}."
            yield Finding("shard-missing", "inconclusive", sentence, "Give the results of every shard.")
