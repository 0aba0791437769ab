"""What changed from one release to the next: checks, waits, warnings; and what changes without one: flaky checks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from gate.jsonfile import shown
from gate.results import CheckResult, Outcome, Results, Warning  # noqa: A004 - Kubernetes' own word for it

Kind = Literal["new-failure", "lost-check", "new-skip", "slow-wait", "new-warning", "new-check", "new-pass"]
"""Of a change; all but the last two are for the worse."""
WORSE: tuple[Kind, ...] = ("new-failure", "lost-check", "new-skip", "slow-wait", "new-warning")
ORDER: tuple[Kind, ...] = (*WORSE, "new-check", "new-pass")
SLOW_WAIT = 2.0
"""A wait that takes this many times as long is a change."""
LEAST_SECONDS = 1.0
"""By which a wait must have grown: of two short waits the ratio says nothing."""
SEVERITY: tuple[Outcome, ...] = ("passed", "known-upstream", "skipped", "not-run", "error", "failed")
RAN: tuple[Outcome, ...] = ("passed", "failed", "error")
"""Outcomes that say whether a check is flaky."""
OF_ONE_RUN = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=-)[a-z0-9]{5,10}-[a-z0-9]{5}\b|(?<=-)[0-9a-f]{8}\b|\d+"
)
"""In the name of an object: what is made anew in each run, such as a UID, a ReplicaSet's and its pod's suffix, or the
two parts of 8 hex digits in the name of a check's namespace."""


@dataclass(frozen=True)
class Change:
    """One difference: `what` is the check's id, or the wait, or the event, and `sentence` says it in words.

    `check` is the id of the check that it is of; empty where it is of none.
    """

    kind: Kind
    what: str
    sentence: str
    check: str = ""


@dataclass(frozen=True)
class Flaky:
    """A check that both passed and did not, in runs of the same release: in `bad` of `tries` it did not."""

    check: str
    bad: int
    tries: int

    @property
    def rate(self) -> float:
        """How often it did not pass, 0 to 1."""
        return self.bad / self.tries


def changes(
    before: Sequence[Results],
    after: Sequence[Results],
    *,
    slow_wait: float = SLOW_WAIT,
    least_seconds: float = LEAST_SECONDS,
) -> tuple[Change, ...]:
    """What is other in the runs `after` than in the runs `before`, the worse kinds first.

    Of several runs the worst outcome of a check counts, and the median of a wait.

    Args:
        before: of the release that was accepted.
        after: of the candidate.
        slow_wait: how many times as long makes a wait slow.
        least_seconds: by how many seconds it must also be longer.
    """
    waits = slow_waits(before, after, slow_wait, least_seconds)
    found = [*_of_checks(before, after), *waits, *new_warnings(before, after)]
    return tuple(sorted(found, key=lambda change: ORDER.index(change.kind)))


def _of_checks(before: Sequence[Results], after: Sequence[Results]) -> Iterable[Change]:
    old, new = outcomes_of(before), outcomes_of(after)
    for check, was in old.items():
        now = new.get(check)
        if now is None:
            yield Change("lost-check", check, f"{check} was {was}, and is in no run any more.")
        elif now == was:
            continue
        elif now == "skipped":
            yield Change("new-skip", check, f"{check} was {was}, and is skipped.")
        elif now == "not-run":
            yield Change("lost-check", check, f"{check} was {was}, and was not run.")
        elif SEVERITY.index(now) > SEVERITY.index(was):
            yield Change("new-failure", check, f"{check} was {was}, and is {now}.")
        else:
            yield Change("new-pass", check, f"{check} was {was}, and is {now}.")
    for check, now in new.items():
        if check not in old:
            yield Change("new-check", check, f"{check} is new, and is {now}.")


def outcomes_of(runs: Sequence[Results]) -> dict[str, Outcome]:
    """Of every check in `runs` its worst outcome."""
    worst: dict[str, Outcome] = {}
    for results in runs:
        for check in results.checks:
            worst[check.id] = max(worst.get(check.id, "passed"), check.outcome, key=SEVERITY.index)
    return worst


def slow_waits(
    before: Sequence[Results], after: Sequence[Results], slow_wait: float, least_seconds: float = LEAST_SECONDS
) -> Iterable[Change]:
    """Waits that take `slow_wait` times as long as they did, and `least_seconds` more."""
    old = _waits(before)
    for (check, what), now in _waits(after).items():
        was = old.get((check, what))
        if was is not None and now >= was * slow_wait and now - was >= least_seconds:
            times = f"{now / was:.1f} times as long" if was else "longer"
            sentence = f"The wait for {shown(what, 120)} took {now:.1f} s, {times}: it was {was:.1f} s."
            yield Change("slow-wait", f"{check}: {what}" if check else what, sentence, check)


def _waits(runs: Sequence[Results]) -> dict[tuple[str, str], float]:
    """The median seconds of every wait that was met, by the check that it is of and what is waited for."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for results in runs:
        for wait in results.waits:
            if wait.outcome == "met":
                seconds.setdefault((wait.check, OF_ONE_RUN.sub("*", wait.what)), []).append(wait.seconds)
    return {wait: median(all_of_it) for wait, all_of_it in seconds.items()}


def new_warnings(before: Sequence[Results], after: Sequence[Results]) -> Iterable[Change]:
    """Warning events of a reason and an object that there were none of."""
    old = _warnings(before)
    for (reason, of), warning in _warnings(after).items():
        if (reason, of) not in old:
            sentence = f"There is a new warning {shown(reason, 60)} of {shown(of, 80)}: {shown(warning.message, 160)}"
            yield Change("new-warning", f"{reason} {of}", sentence, warning.check)


def _warnings(runs: Sequence[Results]) -> dict[tuple[str, str], Warning]:
    return {
        (warning.reason, OF_ONE_RUN.sub("*", warning.of)): warning for results in runs for warning in results.warnings
    }


def flaky_checks(runs: Sequence[Results]) -> tuple[Flaky, ...]:
    """Checks that passed in some of `runs` and not in others, or only at a later try; the worst first.

    Args:
        runs: repeats of one subject; a run of another is no repeat.
    """
    bad: Counter[str] = Counter()
    tries: Counter[str] = Counter()
    passed: set[str] = set()
    for results in runs:
        for check in results.checks:
            if check.outcome in RAN:
                good = check.outcome == "passed"
                tries[check.id] += check.tries
                bad[check.id] += check.tries - good
                passed |= {check.id} if good else set()
    flaky = [Flaky(check, bad[check], tries[check]) for check in passed if bad[check]]
    return tuple(sorted(flaky, key=lambda one: (-one.rate, one.check)))


def measured_of(runs: Sequence[Results]) -> dict[tuple[str, str, str], list[float]]:
    """Every number that was measured, and every check's time as `call`, by check, name and unit, as the runs go."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for results in runs:
        for check in results.checks:
            for name, unit, value in _numbers(check):
                found.setdefault((check.id, name, unit), []).append(value)
    return found


def _numbers(check: CheckResult) -> Iterable[tuple[str, str, float]]:
    for one in check.measured:
        if isinstance(one.value, int | float) and not isinstance(one.value, bool):
            yield one.name, one.unit, float(one.value)
    if check.outcome == "passed" and "call" in check.seconds:
        yield "call", "s", check.seconds["call"]
