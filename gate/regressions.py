"""What a candidate does differently from the accepted release: named each, and blocking where the policy says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gate.compare import Change, new_warnings, regressed, slow_waits, weakened_checks
from gate.decision import CheckRow, Effect, Finding
from gate.jsonfile import shown
from gate.policy import PROFILES, Policy
from gate.results import PASSING, CheckResult, Outcome, Results
from gate.subject import identity_of

LOOK = "Look at what changed, or let the policy's [baseline] blocks leave it out."
OF_CANDIDATE = ("node image", "kernel", "container runtime", "plugin image")
"""How the parts of a subject are called that make it one candidate and no other."""


def findings_of_baseline(
    rows: Sequence[CheckRow], runs: Sequence[Results], baseline: Sequence[Results], policy: Policy
) -> list[Finding]:
    """Whether the baseline can be compared with, and every difference from it."""
    if not baseline:
        if not policy.baseline.required:
            return []
        sentence = "The policy asks for a baseline, and there is none that could be read."
        return [Finding("baseline-missing", "inconclusive", sentence, "Give the accepted results with `--baseline`.")]
    found = [*_fitness(runs, baseline), *_same_candidate(runs, baseline)]
    differences = [
        *_checks(rows, baseline, policy),
        *slow_waits(baseline, runs, policy.baseline.slow_wait),
        *new_warnings(baseline, runs),
    ]
    for change in differences:
        effect: Effect = "inconclusive" if change.kind in policy.baseline.blocks else "warning"
        found.append(Finding(change.kind, effect, change.sentence, LOOK, change.check))
    return found


def _fitness(runs: Sequence[Results], baseline: Sequence[Results]) -> Iterable[Finding]:
    ours = {results.run.id for results in runs} | {results.sha256 for results in runs}
    seen: dict[str, Results] = {}
    for results in baseline:
        other = seen.setdefault(results.run.id, results)
        if other is not results:
            folders = f"{shown(other.folder)} and {shown(results.folder)}"
            sentence = f"Run {results.run.id} of the baseline is given twice: {folders}."
            yield Finding("run-twice", "inconclusive", sentence, "Give each run once.", run=results.run.id)
        if {results.run.id, results.sha256} & ours:
            sentence = f"Run {results.run.id} is given as the candidate and as its own baseline."
            yield Finding("baseline-is-candidate", "inconclusive", sentence, "Give the accepted release's results.")
        if results.run.state != "finished" or results.verdict != "pass":
            sentence = (
                f"Run {results.run.id} of the baseline did not pass itself ({results.run.state}, {results.verdict})."
            )
            yield Finding("baseline-not-passed", "warning", sentence, "Give the results that were accepted.")


def _same_candidate(runs: Sequence[Results], baseline: Sequence[Results]) -> Iterable[Finding]:
    """A baseline that is of the candidate itself shows no difference, whatever the candidate is like."""
    ours = {results.run.id for results in runs}
    candidates = {_candidate(results) for results in runs}
    for results in baseline:
        candidate = _candidate(results)
        if results.run.id not in ours and candidate in candidates and candidate and all(candidate):
            sentence = (
                f"Run {results.run.id} of the baseline is of the candidate itself: node image, kernel, container"
                " runtime and plugin are the same."
            )
            yield Finding("baseline-is-the-candidate", "warning", sentence, "Give the accepted release's results.")
            return


def _candidate(results: Results) -> tuple[str, ...]:
    subject = results.after
    return tuple(value for words, value in identity_of(subject) if words.startswith(OF_CANDIDATE)) if subject else ()


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


def _checks(rows: Sequence[CheckRow], baseline: Sequence[Results], policy: Policy) -> Iterable[Change]:
    before: dict[str, list[CheckResult]] = {}
    for results in baseline:
        for check in results.checks:
            before.setdefault(check.id, []).append(check)
    known = {row.id: row for row in rows}
    strengths = {}
    for identity, found in before.items():
        held = identity in policy.checks or found[-1].profile in PROFILES[policy.profile]
        if held:
            strengths[identity] = (found[-1].level, found[-1].profile)
        row = known.get(identity)
        if any(check.outcome in PASSING for check in found) and (row or held):
            yield from _check(identity, found, row)
    yield from weakened_checks(strengths, {row.id: (row.level, row.profile) for row in rows})


def _check(identity: str, found: Sequence[CheckResult], row: CheckRow | None) -> Iterable[Change]:
    """What became of a check that passed in a run of the baseline, at least."""
    if row is None or row.status in ("missing", "extra"):
        yield Change("lost-check", identity, f"{identity} passed in the baseline and is no longer there.", identity)
        return
    were = [check.outcome for check in found]
    are: list[Outcome] = [one.outcome for one in row.observations] or ["skipped"]
    worse = regressed(were, are)
    if row.status in ("skipped", "not-applicable") and worse:
        sentence = f"{identity} passed in the baseline and is now {row.status}: {row.reason}"
        yield Change("new-skip", identity, sentence, identity)
    elif row.status == "not-run" and worse:
        yield Change("lost-check", identity, f"{identity} passed in the baseline and is now not-run.", identity)
    elif row.status in ("failed", "error", "flaky", "known-upstream"):
        steady = all(check.outcome == "passed" and check.tries == 1 for check in found)
        if worse or (row.status != "known-upstream" and steady):
            sentence = f"{identity} passed in the baseline and is now {row.status}."
            yield Change("new-failure", identity, sentence, identity)
