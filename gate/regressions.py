"""What a candidate does differently from the accepted release: named each, and blocking where the policy says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from gate.decision import CheckRow, Effect, Finding
from gate.policy import Policy
from gate.results import Results
from gate.subject import identity_of

LONGER = 1.0
"""Seconds that a wait must last longer, beside being so many times as long: short waits differ by nothing."""
LOOK = "Look at what changed, or let the policy's [baseline] blocks leave it out."
GOOD = ("passed", "known-upstream")


def findings_of_baseline(
    rows: Sequence[CheckRow], runs: Sequence[Results], baseline: Sequence[Results], policy: Policy
) -> list[Finding]:
    """Whether the baseline can be compared with, and every difference from it."""
    if not baseline:
        if not policy.baseline.required:
            return []
        sentence = "The policy asks for a baseline, and there is none that could be read."
        return [Finding("baseline-missing", "inconclusive", sentence, "Give the accepted results with `--baseline`.")]
    found = list(_fitness(runs, baseline))
    differences = [
        *_checks(rows, baseline),
        *_waits(runs, baseline, policy.baseline.slow_wait),
        *_warnings(runs, baseline),
    ]
    for code, sentence, check in differences:
        effect: Effect = "inconclusive" if code in policy.baseline.blocks else "warning"
        found.append(Finding(code, effect, sentence, LOOK, check))
    return found


def _fitness(runs: Sequence[Results], baseline: Sequence[Results]) -> Iterable[Finding]:
    ours = {results.run.id for results in runs} | {results.sha256 for results in runs}
    for results in baseline:
        if {results.run.id, results.sha256} & ours:
            sentence = f"Run {results.run.id} is given as the candidate and as its own baseline."
            yield Finding("baseline-is-candidate", "inconclusive", sentence, "Give the accepted release's results.")
        if results.run.state != "finished" or results.verdict != "pass":
            sentence = (
                f"Run {results.run.id} of the baseline did not pass itself ({results.run.state}, {results.verdict})."
            )
            yield Finding("baseline-not-passed", "warning", sentence, "Give the results that were accepted.")


def findings_of_baseline_subject(runs: Sequence[Results], baseline: Sequence[Results]) -> list[Finding]:
    """What of the subject is another than in the accepted release."""
    before = dict(_identities(baseline))
    found = []
    for words, value in dict(_identities(runs)).items():
        if words in before and before[words] != value:
            sentence = f"The {words} is {value or 'unknown'}; the baseline's is {before[words] or 'unknown'}."
            found.append(Finding("differs-from-baseline", "note", sentence))
    return found


def _identities(runs: Sequence[Results]) -> Iterable[tuple[str, str]]:
    for results in runs:
        if results.after:
            yield from identity_of(results.after)


def _checks(rows: Sequence[CheckRow], baseline: Sequence[Results]) -> Iterable[tuple[str, str, str]]:
    before: dict[str, set[str]] = {}
    for results in baseline:
        for check in results.checks:
            before.setdefault(check.id, set()).add(check.outcome)
    known = {row.id: row for row in rows}
    for identity, outcomes in before.items():
        row = known.get(identity)
        if not outcomes & set(GOOD):
            continue
        if row is None or row.status in ("missing", "outside", "extra"):
            yield "lost-check", f"{identity} passed in the baseline and is no longer there.", identity
        elif row.status in ("skipped", "not-applicable", "not-run"):
            yield "new-skip", f"{identity} passed in the baseline and is now {row.status}: {row.reason}", identity
        elif row.status in ("failed", "error", "flaky"):
            yield "new-failure", f"{identity} passed in the baseline and is now {row.status}.", identity


def _waits(runs: Sequence[Results], baseline: Sequence[Results], times: float) -> Iterable[tuple[str, str, str]]:
    before, after = _seconds(baseline), _seconds(runs)
    for key, seconds in after.items():
        if key in before and seconds > times * before[key] and seconds - before[key] > LONGER:
            what, check = key
            yield "slow-wait", f"{what} took {seconds:.1f} s; {before[key]:.1f} s in the baseline.", check


def _seconds(runs: Sequence[Results]) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], list[float]] = {}
    for results in runs:
        for wait in results.waits:
            if wait.outcome == "met":
                found.setdefault((wait.what, wait.check), []).append(wait.seconds)
    return {key: median(values) for key, values in found.items()}


def _warnings(runs: Sequence[Results], baseline: Sequence[Results]) -> Iterable[tuple[str, str, str]]:
    before = {(one.reason, _kind(one.of)) for results in baseline for one in results.warnings}
    told = set()
    for results in runs:
        for one in results.warnings:
            key = (one.reason, _kind(one.of))
            if key not in before and key not in told:
                told.add(key)
                yield "new-warning", f"The event {one.reason} of {one.of} is new: {one.message}", one.check


def _kind(of: str) -> str:
    return of.partition(" ")[0]
