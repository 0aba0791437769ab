"""From results folders, a policy and a catalogue to a decision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from gate.beside import beside
from gate.catalogue import CATALOGUE, Catalogue, Entry, read_catalogue
from gate.causes import cause_of
from gate.closedworld import findings_of_catalogue, findings_of_rows, findings_of_waivers, rows_of
from gate.decision import CheckRow, Decision, Effect, Finding, NamedFile, Statistic
from gate.evidence import EvidenceReading
from gate.jsonfile import UnreadableError, is_absent, shown
from gate.numbers import Comparing
from gate.policy import Policy
from gate.regressions import findings_of_baseline, findings_of_baseline_subject
from gate.results import RESULTS, TESTED, Results, read_results
from gate.runs import findings_of_runs
from gate.subject import devices_not_exercised, findings_of_subject, nodes_not_exercised, subject_of_runs

GRAVEST: tuple[Effect, ...] = ("nothing", "fail", "left-behind", "inconclusive", "warning", "note")


def decide(
    folders: Sequence[Path],
    policy: Policy,
    *,
    now: float,
    baseline: Sequence[Path] = (),
    catalogue: Path | None = None,
    helper: Executor | None = None,
) -> Decision:
    """The decision on the candidate whose results are in `folders`.

    It never raises for what is in a folder: what cannot be read is a finding that stands against a release.

    Args:
        folders: results of the candidate: of one run or several, of its shards, of repeats.
        policy: what it must show.
        now: seconds since the epoch; decides which waivers count.
        baseline: results of the accepted release.
        catalogue: what `npu-e2e catalogue --format json` printed; the one that the first run kept when None.
        helper: hashes the evidence and compares numbers meanwhile; one of its own when None.
    """
    with nullcontext(helper) if helper else beside(len(folders) + len(baseline)) as pool:
        return _decided(folders, policy, pool, now=now, baseline=baseline, named=catalogue)


def _decided(
    folders: Sequence[Path], policy: Policy, pool: Executor, *, now: float, baseline: Sequence[Path], named: Path | None
) -> Decision:
    findings: list[Finding] = []
    evidence, comparing = EvidenceReading(pool), Comparing(pool, policy)
    runs = _read(folders, findings, evidence)
    accepted = _read(baseline, findings, evidence)
    comparing.begin(runs, accepted)
    today = datetime.fromtimestamp(now, UTC).date()
    known = _catalogue(named or (runs[0].folder / CATALOGUE if runs else None), runs, findings)
    from_baseline = findings_of_baseline_subject(runs, accepted)
    differences = [finding.sentence for finding in from_baseline]
    rows = tuple(_with_cause(row, differences) for row in rows_of(known, runs, policy, today))
    findings += findings_of_rows(rows)
    if known.file.path:
        findings += findings_of_catalogue(known, runs, policy)
    findings += findings_of_waivers(policy, rows, today)
    findings += findings_of_runs(runs, now, still_going=policy.still_going)
    findings += evidence.findings()
    findings += findings_of_subject(runs, policy.candidate)
    findings += _coverage(runs, policy)
    findings += [*findings_of_baseline(rows, runs, accepted, policy), *from_baseline]
    compared = comparing.results()
    told = tuple(one for part in compared for one in part.statistics)
    findings += [finding for part in compared for finding in part.findings]
    findings += [_of_statistic(one) for one in told if one.result != "pass"]
    findings += _nothing_ran(runs, findings)
    none = 1.0
    for part in compared:
        none *= 1.0 - part.false_alarm
    return Decision(
        findings=tuple(sorted(findings, key=lambda finding: GRAVEST.index(finding.effect))),
        checks=rows,
        statistics=told,
        false_alarm=1.0 - none if told else None,
        subject=subject_of_runs(runs),
        results=tuple(runs),
        baseline=tuple(accepted),
        policy=NamedFile(policy.path, policy.sha256),
        profile=policy.profile,
        catalogue=known.file,
        made=now,
    )


def _read(folders: Iterable[Path], findings: list[Finding], evidence: EvidenceReading) -> list[Results]:
    runs = []
    for folder in folders:
        if is_absent(folder / RESULTS):
            sentence = f"{shown(folder)} holds no {RESULTS}: no run of checks ended or began there."
            findings.append(Finding("no-results", "inconclusive", sentence, "Name the folder of a run's results."))
            continue
        try:
            runs.append(read_results(folder))
        except UnreadableError as error:
            findings.append(Finding("unreadable", "inconclusive", error.cause, error.remedy))
        else:
            evidence.add(runs[-1])
    return runs


def _catalogue(file: Path | None, runs: Sequence[Results], findings: list[Finding]) -> Catalogue:
    """The catalogue; one made from the runs themselves, so that failures are told, when there is none to be had."""
    remedy = "Give what `npu-e2e catalogue --format json` printed with `--catalogue`."
    if file is not None:
        try:
            return read_catalogue(file)
        except UnreadableError as error:
            findings.append(Finding("catalogue-missing", "inconclusive", error.cause, remedy))
    entries = {
        check.id: Entry(check.id, check.level, check.claim, check.profile, check.needs)
        for results in runs
        for check in results.checks
    }
    return Catalogue(entries, NamedFile("", ""))


def _with_cause(row: CheckRow, differences: Sequence[str]) -> CheckRow:
    if row.status not in ("failed", "error", "flaky"):
        return row
    return replace(row, cause=cause_of(row.evidence, row.reason, differences))


def _coverage(runs: Sequence[Results], policy: Policy) -> Iterable[Finding]:
    remedy = "Run checks until each has run something, or set `coverage` in the policy."
    for node in nodes_not_exercised(runs) if policy.coverage != "none" else ():
        sentence = f"No NPU pod has succeeded on node {shown(node.name)}, which has {node.npus} NPUs."
        yield Finding("node-not-exercised", "inconclusive", sentence, remedy)
    effect: Effect = "inconclusive" if policy.coverage == "devices" else "note"
    for name, (idle, of) in devices_not_exercised(runs).items():
        yield Finding("device-not-exercised", effect, f"{idle} of {of} NPUs of node {shown(name)} ran nothing.", remedy)
    if policy.coverage == "devices" and not any(results.devices for results in runs):
        yield Finding("device-not-exercised", effect, "No run says which NPUs ran anything.", remedy)


def _of_statistic(one: Statistic) -> Finding:
    if one.result == "fail":
        remedy = "Compare the driver, the firmware and the model of the candidate with the baseline's."
        return Finding("too-low", "fail", one.sentence, remedy)
    remedy = "Give more runs, or ask for less in the policy."
    if one.smallest_drop is not None:  # of an accuracy, whose repeats count as one evaluation
        remedy = "Evaluate more images, or ask for less in the policy."
        if one.p_value is None:
            remedy = 'Evaluate the same images in the same way, or set images_are = "sample" in the policy.'
    return Finding("cannot-be-seen", "inconclusive", one.sentence, remedy)


def _nothing_ran(runs: Sequence[Results], findings: Sequence[Finding]) -> Iterable[Finding]:
    if any(finding.code == "unreadable" or finding.effect == "fail" for finding in findings):
        return
    if not any(check.outcome in TESTED for results in runs for check in results.checks):
        sentence = "Nothing was tested: no check came to an answer in any run."
        yield Finding("nothing-ran", "nothing", sentence, "Run the checks: `tox -e e2e -- --profile release`.")
