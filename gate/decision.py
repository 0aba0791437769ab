"""What the gate decides, and on what: the data that the screen, the report, JUnit and the statement are made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from msgspec import Struct

from gate.results import Evidence, Level, Outcome, Results, Subject

Verdict = Literal["pass", "fail", "inconclusive"]
Effect = Literal["nothing", "fail", "left-behind", "inconclusive", "warning", "note"]
"""What a finding does to the verdict: `nothing` says that nothing was tested, or not this candidate; `warning` and
`note` change nothing. Of several the first in this order stands."""
EXIT_CODES: dict[Effect, int] = {"nothing": 3, "fail": 1, "left-behind": 4, "inconclusive": 2}
"""In this order: what is worse for the release stands before what is only unknown."""
Status = Literal[
    "passed", "failed", "error", "skipped", "known-upstream", "not-run",
    "missing", "extra", "duplicated", "flaky", "waived", "not-applicable", "unproven", "outside",
]  # fmt: skip
"""Of a check over all runs. `missing`: in the catalogue and in no run. `extra`: in a run and not in the catalogue.
`duplicated`: more than once in one run. `flaky`: passed, but not at the first try or not in every run. `waived`: would
block, and a waiver says why it does not. `not-applicable`: skipped, as the policy allows, since the target lacks a
capability. `unproven`: passed in fewer runs than the policy asks for. `outside`: not in the profile, and not run."""


@dataclass(frozen=True)
class Cause:
    """Why a pod or a check failed.

    Attributes:
        code: a stable word for it, such as `npus-in-use`; `unknown` when no rule fits.
        sentence: the cause in one sentence.
        command: what to type next.
        looked_at: what was looked at, each in a few words; all of it when the cause is unknown.
    """

    code: str
    sentence: str
    command: str
    looked_at: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """One thing that a release manager has to know.

    Attributes:
        code: a stable word for its kind, such as `check-failed`.
        effect: what it does to the verdict.
        sentence: what was found.
        remedy: what to do next; empty when there is nothing to do.
        check: the id of the check that it is about, if of one.
        run: the id of the run that it is about, if of one.
    """

    code: str
    effect: Effect
    sentence: str
    remedy: str = ""
    check: str = ""
    run: str = ""


class Observation(Struct, frozen=True, gc=False):
    """A check in one run: what came of it, how long it took in seconds, and how often it was tried."""

    run: str
    outcome: Outcome
    seconds: float
    tries: int
    reason: str = ""


@dataclass(frozen=True)
class CheckRow:
    """One check over all runs.

    Attributes:
        id: of the behaviour.
        level: as the catalogue has it; as the run has it when the catalogue does not know the check.
        claim: what is true of a conformant cluster.
        profile: the smallest that it belongs to.
        needs: the capabilities that a target must have for it.
        required: whether the verdict depends on it.
        status: what became of it over all runs.
        blocks: whether it keeps the verdict from being pass.
        observations: one for each time that it is in a run, in the order of the runs.
        reason: why it did not pass, from the first run in which it did not.
        remedy: what to do next.
        cause: why, as far as the recorded objects tell.
        waiver: why it does not block, as the policy says it, with owner and expiry.
        evidence: each with the folder that it is in.
    """

    id: str
    level: Level
    claim: str
    profile: str
    needs: tuple[str, ...]
    required: bool
    status: Status
    blocks: bool
    observations: tuple[Observation, ...] = ()
    reason: str = ""
    remedy: str = ""
    cause: Cause | None = None
    waiver: str = ""
    evidence: tuple[tuple[Path, Evidence], ...] = ()


@dataclass(frozen=True)
class Statistic:
    """One comparison of a number with its threshold or with the baseline.

    Attributes:
        metric: what is compared, such as `top_1`.
        unit: of value, interval, limit, baseline and smallest drop; `fraction` for accuracies.
        against: `threshold` or `baseline`.
        test: the name of the test, such as `exact binomial`.
        value: of the candidate: a proportion, or a median over repeats.
        low: lower end of the confidence interval: of `value` against a threshold; against the baseline of the change,
            a difference for accuracies and a ratio for rates and times.
        high: upper end.
        confidence: of the interval, 0 to 1.
        limit: the threshold; against the baseline the largest drop, or for rates and times the ratio, that is allowed.
        baseline: the baseline's value; None against a threshold.
        p_value: of the test; None where the comparison is exact equality.
        alpha: the false-alarm rate that this test may have at most, after the correction for several comparisons.
        false_alarm: the rate that it has, as counts are whole numbers; 0 for exact equality.
        smallest_drop: the smallest true drop that would be found with `power`; 0 for exact equality; None where nothing
            is assumed of the distribution, and the interval alone tells what could be seen.
        power: the chance to find that drop; None where `smallest_drop` is.
        size: images, or repeats, that it stands on: of the candidate.
        baseline_size: of the baseline; 0 against a threshold.
        result: `fail` for a significant shortfall; `inconclusive` when a forbidden drop could not be seen.
        sentence: the result in words.
        assumptions: what must be true for the numbers to mean what they say.
    """

    metric: str
    unit: str
    against: Literal["threshold", "baseline"]
    test: str
    value: float
    low: float
    high: float
    confidence: float
    limit: float
    baseline: float | None
    p_value: float | None
    alpha: float
    false_alarm: float
    smallest_drop: float | None
    power: float | None
    size: int
    baseline_size: int
    result: Verdict
    sentence: str
    assumptions: tuple[str, ...]


@dataclass(frozen=True)
class Compared:
    """What was compared, what was found, and the chance that all comparisons together fail a good candidate."""

    statistics: tuple[Statistic, ...]
    findings: tuple[Finding, ...]
    false_alarm: float


@dataclass(frozen=True)
class NamedFile:
    """A file that the verdict stands on, by the SHA-256 of its bytes in hex."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Decision:
    """The verdict on one candidate.

    Attributes:
        findings: all that was found, the gravest first.
        checks: of the catalogue in its order, then those that it does not know.
        statistics: every comparison that was made.
        false_alarm: the chance that at least one of them fails a candidate that is as good as it must be; None without.
        subject: what was tested, when all runs agree on it; None when they do not, or none says.
        results: of the candidate, in the order in which they were given; those that could not be read are findings.
        baseline: results of the accepted release.
        policy: the policy file.
        profile: which the policy asks for.
        catalogue: the catalogue file; its path is empty when there was none to be had.
        made: when the gate was asked, seconds since the epoch.
    """

    findings: tuple[Finding, ...]
    checks: tuple[CheckRow, ...]
    statistics: tuple[Statistic, ...]
    false_alarm: float | None
    subject: Subject | None
    results: tuple[Results, ...]
    baseline: tuple[Results, ...]
    policy: NamedFile
    profile: str
    catalogue: NamedFile
    made: float

    @property
    def verdict(self) -> Verdict:
        """`pass` only if nothing that was found stands against it, and something was found to stand for it."""
        return "pass" if self.exit_code == 0 else "fail" if self.exit_code == 1 else "inconclusive"

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 2 inconclusive, 3 nothing was tested or not this candidate, 4 something was left behind."""
        effects = {finding.effect for finding in self.findings}
        for effect, code in EXIT_CODES.items():
            if effect in effects:
                return code
        return 0 if any(row.required and row.status == "passed" for row in self.checks) else 3

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the verdict is not pass: the sentences that stand against it, the gravest first; empty for a pass."""
        against = tuple(finding.sentence for finding in self.findings if finding.effect in EXIT_CODES)
        return against or (() if self.exit_code == 0 else ("No check that the policy requires has passed.",))
