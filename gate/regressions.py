"""What a candidate does differently from the accepted release: named each, and blocking where the policy says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gate.compare import Change, new_warnings, slow_waits
from gate.decision import CheckRow, Effect, Finding
from gate.policy import Policy
from gate.results import Results
from gate.subject import identity_of

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
        *slow_waits(baseline, runs, policy.baseline.slow_wait),
        *new_warnings(baseline, runs),
    ]
    for change in differences:
        effect: Effect = "inconclusive" if change.kind in policy.baseline.blocks else "warning"
        found.append(Finding(change.kind, effect, change.sentence, LOOK, change.check))
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


def _checks(rows: Sequence[CheckRow], baseline: Sequence[Results]) -> Iterable[Change]:
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
            yield Change("lost-check", identity, f"{identity} passed in the baseline and is no longer there.", identity)
        elif row.status in ("skipped", "not-applicable", "not-run"):
            sentence = f"{identity} passed in the baseline and is now {row.status}: {row.reason}"
            yield Change("new-skip", identity, sentence, identity)
        elif row.status in ("failed", "error", "flaky"):
            sentence = f"{identity} passed in the baseline and is now {row.status}."
            yield Change("new-failure", identity, sentence, identity)
