"""Every check of the catalogue over all runs, so that none is silently fine: missing, extra, skipped, flaky."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import NamedTuple

from fixtures.resultsfolder import ISSUE
from gate.catalogue import Catalogue, Entry
from gate.decision import CheckRow, Effect, Finding, Observation, Status
from gate.policy import PROFILES, Policy, Waiver
from gate.results import PASSING, SEVERITY, CheckResult, Results

NAMED_BEFORE = timedelta(days=14)
"""A waiver is named this long before it expires."""
GOOD: tuple[Status, ...] = ("passed", "known-upstream", "not-applicable", "waived")
RERUN = "Run the checks again on the same candidate."
EFFECTS: dict[Status, Effect] = {"failed": "fail", "flaky": "fail"}
"""Of a required check that does not pass; any other status says that its question is open."""
MEANINGS: dict[Status, str] = {
    "failed": "failed",
    "error": "could not be judged",
    "skipped": "was skipped, and the policy does not allow that",
    "not-run": "was not run",
    "missing": "is in the catalogue and in none of the runs",
    "extra": "is in a run and not in the catalogue",
    "duplicated": "is in one run more than once",
    "flaky": "passed, but not each time that it was tried",
    "unproven": "passed in fewer runs than the policy asks for",
}


class Seen(NamedTuple):
    """One entry of a check in a run."""

    results: Results
    check: CheckResult


def rows_of(catalogue: Catalogue, runs: Sequence[Results], policy: Policy, today: date) -> tuple[CheckRow, ...]:
    """A row for each check of the catalogue in its order, then for each that it does not know."""
    seen: dict[str, list[Seen]] = {}
    for results in runs:
        for check in results.checks:
            seen.setdefault(check.id, []).append(Seen(results, check))
    rows = [_row(entry, seen.get(entry.id, ()), policy, runs) for entry in catalogue.entries.values()]
    rows += [_extra(identity, found) for identity, found in seen.items() if identity not in catalogue.entries]
    rows = _within_flaky_budget(rows, policy.flaky)
    waivers = [waiver for waiver in policy.waivers if today <= waiver.expires]
    return tuple(_excused(row, waivers) for row in rows)


def _row(entry: Entry, found: Sequence[Seen], policy: Policy, runs: Sequence[Results]) -> CheckRow:
    in_profile = entry.profile in PROFILES[policy.profile]
    required = entry.id in policy.checks or (in_profile and entry.level == "must")
    status = _status(entry, found, policy)
    named = entry.id in policy.checks
    lacking = _lacking(entry, runs, policy.skips) if status == "missing" and not named else ""
    if lacking:
        status = "not-applicable"
    counted = {"passed"} if named else PASSING
    if required and status in PASSING and sum(one.check.outcome in counted for one in found) < policy.repeats:
        status = "unproven"
    if status == "missing" and not required and not in_profile:
        status = "outside"
    blocks = status in ("missing", "duplicated") or (required and status not in GOOD)
    gravest_first = sorted(found, key=lambda one: SEVERITY.index(one.check.outcome), reverse=True)
    told = next((one.check for one in gravest_first if one.check.outcome != "passed"), None)
    return CheckRow(
        entry.id,
        entry.level,
        entry.claim,
        entry.profile,
        entry.needs,
        required,
        status,
        blocks,
        observations=_observations(found),
        reason=told.reason if told else lacking,
        remedy=told.remedy if told else "",
        evidence=tuple((one.results.folder, kept) for one in gravest_first for kept in one.check.evidence),
    )


def _extra(identity: str, found: Sequence[Seen]) -> CheckRow:
    check = found[0].check
    return CheckRow(
        identity,
        check.level,
        check.claim,
        check.profile,
        check.needs,
        required=False,
        status="extra",
        blocks=True,
        observations=_observations(found),
        reason=check.reason,
        evidence=tuple((one.results.folder, kept) for one in found for kept in one.check.evidence),
    )


def _observations(found: Iterable[Seen]) -> tuple[Observation, ...]:
    return tuple(
        Observation(
            one.results.run.id, one.check.outcome, sum(one.check.seconds.values()), one.check.tries, one.check.reason
        )
        for one in found
    )


def _status(entry: Entry, found: Sequence[Seen], policy: Policy) -> Status:
    runs = [one.results.run.id for one in found]
    checks = [one.check for one in found]
    outcomes = {check.outcome for check in checks}
    passed = outcomes & PASSING
    excused = all(_may_skip(entry, one, policy) for one in found if one.check.outcome == "skipped")
    in_order: tuple[tuple[object, Status], ...] = (
        (not found, "missing"),
        (len(set(runs)) < len(runs), "duplicated"),
        ("failed" in outcomes and _passed_at_last(found), "flaky"),
        ("failed" in outcomes, "failed"),
        ("error" in outcomes or not all(map(_is_proven, checks)), "error"),
        (passed and any(check.tries > 1 for check in checks), "flaky"),
        ("not-run" in outcomes, "not-run"),
        ("skipped" in outcomes and not excused, "skipped"),
        ("skipped" in outcomes and not passed, "not-applicable"),
        ("known-upstream" in outcomes, "known-upstream"),
        (True, "passed"),
    )
    return next(status for holds, status in in_order if holds)


def _is_proven(check: CheckResult) -> bool:
    """Whether a check that says that it came to an answer has one: only a call proves a claim, or names a known bug."""
    if check.outcome not in PASSING:
        return True
    return "call" in check.seconds and (check.outcome == "passed" or bool(ISSUE.search(check.reason)))


def _passed_at_last(found: Sequence[Seen]) -> bool:
    """Whether the last run of those that tried it passed: one that fails from some run on is not flaky."""
    last = max(reversed(found), key=lambda one: one.results.run.began)
    return last.check.outcome == "passed"


def _may_skip(entry: Entry, one: Seen, policy: Policy) -> bool:
    if entry.id in policy.checks:  # each that a policy names has to pass
        return False
    if one.check.skipped_for == "not-applicable":
        return policy.not_applicable
    has = one.results.capabilities
    if has is None or one.check.skipped_for != "capability":
        return False
    lacks = set(entry.needs) - has
    return bool(lacks) and lacks <= policy.skips


def _lacking(entry: Entry, runs: Sequence[Results], may_lack: frozenset[str]) -> str:
    """What no target of the runs has and the policy lets it lack, if a run says that it left the check out; or empty.

    An entry that was lost is no check that was left out.
    """
    if not any(entry.id in results.deselected for results in runs):
        return ""
    lacks = [set(entry.needs) - results.capabilities for results in runs if results.capabilities is not None]
    if len(lacks) < len(runs) or not all(lack and lack <= may_lack for lack in lacks):
        return ""
    return f"No run has it: the target lacks {', '.join(sorted(set().union(*lacks)))}." if lacks else ""


def _within_flaky_budget(rows: list[CheckRow], budget: int) -> list[CheckRow]:
    flaky = [row for row in rows if row.status == "flaky" and row.required]
    if len(flaky) > budget:
        return rows
    return [replace(row, blocks=False) if row in flaky else row for row in rows]


def _excused(row: CheckRow, waivers: Sequence[Waiver]) -> CheckRow:
    waiver = next((one for one in waivers if one.check == row.id and row.status in one.outcomes), None)
    if waiver is None or not row.blocks:
        return row
    told = f"{waiver.reason} ({waiver.owner}, until {waiver.expires}; it {MEANINGS.get(row.status, row.status)})"
    return replace(row, status="waived", blocks=False, waiver=told)


def findings_of_rows(rows: Sequence[CheckRow]) -> list[Finding]:
    """What the rows say for and against a release."""
    found = []
    for row in rows:
        if row.blocks:
            found.append(_finding(row, EFFECTS.get(row.status, "inconclusive")))
        elif row.status == "flaky":
            found.append(_finding(row, "warning"))
        elif row.status == "waived":
            found.append(Finding("check-waived", "warning", f"{row.id} is waived: {row.waiver}.", check=row.id))
        elif row.status == "known-upstream":
            found.append(_noted(row, "fails as Kubernetes itself is known to"))
        elif row.status == "not-applicable":
            found.append(_noted(row, "does not apply: the target lacks what it needs"))
        elif not row.required and row.status in ("failed", "error", "skipped", "not-run") and row.observations:
            found.append(_finding(row, "warning"))
    return found


def _finding(row: CheckRow, effect: Effect) -> Finding:
    reason = f": {row.reason}" if row.reason else "."
    level = "" if row.level == "must" else f" ({row.level})"
    remedy = row.remedy or (RERUN if effect == "inconclusive" else "")
    return Finding(f"check-{row.status}", effect, f"{row.id}{level} {MEANINGS[row.status]}{reason}", remedy, row.id)


def _noted(row: CheckRow, what: str) -> Finding:
    reason = f": {row.reason}" if row.reason else "."
    return Finding(f"check-{row.status}", "note", f"{row.id} {what}{reason}", check=row.id)


def findings_of_catalogue(catalogue: Catalogue, runs: Sequence[Results], policy: Policy) -> list[Finding]:
    """Whether the catalogue is the one that the runs chose from and the policy means."""
    found = []
    given = catalogue.file.sha256
    if policy.candidate.catalogue and policy.candidate.catalogue.removeprefix("sha256:") != given:
        found.append(
            Finding(
                "catalogue-differs",
                "nothing",
                f"The catalogue is {given[:12]}…, and the policy is about {policy.candidate.catalogue[:19]}….",
                "Judge with the catalogue that the policy names.",
            )
        )
    for results in runs:
        if results.catalogue != given:
            said = f"{results.catalogue[:12]}…" if results.catalogue else "none"
            found.append(
                Finding(
                    "catalogue-differs",
                    "inconclusive",
                    f"Run {results.run.id} chose from the catalogue {said}, and is judged by {given[:12]}….",
                    "Name the catalogue of the run with `--catalogue`, or run the checks of this one.",
                    run=results.run.id,
                )
            )
        found += _changed(catalogue.entries, results)
    for identity in policy.checks:
        if identity not in catalogue.entries:
            found.append(
                Finding(
                    "check-unknown",
                    "inconclusive",
                    f"The policy requires the check {identity}, which is not in the catalogue.",
                    "Correct the id in the policy's [required], or use the catalogue that has it.",
                    identity,
                )
            )
    return found


def _changed(entries: Mapping[str, Entry], results: Results) -> Iterable[Finding]:
    for check in results.checks:
        entry = entries.get(check.id)
        if entry and (entry.level, entry.profile) != (check.level, check.profile):
            yield Finding(
                "check-changed",
                "inconclusive",
                f"{check.id} is {entry.level} of {entry.profile} in the catalogue, and was {check.level} of "
                f"{check.profile} in run {results.run.id}.",
                "Use the catalogue of the same version as the run.",
                check.id,
                results.run.id,
            )


def findings_of_waivers(policy: Policy, rows: Sequence[CheckRow], today: date) -> list[Finding]:
    """Waivers that have expired, will soon, or excuse nothing."""
    known = {row.id: row for row in rows}
    found = []
    for waiver in policy.waivers:
        row = known.get(waiver.check)
        about = f"The waiver of {waiver.check} ({waiver.owner})"
        renew = "Mend the check, or renew the waiver with its owner."
        if row is None:
            sentence = f"{about} is of a check that does not exist."
            found.append(Finding("waiver-unknown", "inconclusive", sentence, "Correct its id.", waiver.check))
        elif waiver.expires < today:
            effect: Effect = "fail" if row.blocks else "warning"
            found.append(
                Finding("waiver-expired", effect, f"{about} expired on {waiver.expires}.", renew, waiver.check)
            )
        else:
            if waiver.expires - today <= NAMED_BEFORE:
                sentence = f"{about} expires on {waiver.expires}."
                found.append(Finding("waiver-expires", "warning", sentence, renew, waiver.check))
            if row.status != "waived":
                sentence = f"{about} excuses nothing: the check {'passed' if row.status == 'passed' else row.status}."
                found.append(Finding("waiver-idle", "note", sentence, "Remove it.", waiver.check))
    return found
