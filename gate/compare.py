"""What changed from one release to the next: checks, waits, warnings; and what changes without one: flaky checks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import median
from typing import Literal

from gate.jsonfile import shown
from gate.policy import PROFILES
from gate.results import PASSING, SEVERITY, CheckResult, Outcome, Results, Timed, Warning  # noqa: A004 - Kubernetes' own word for it
from gate.subject import identity_of

Kind = Literal[
    "unfinished-run", "new-failure", "lost-check", "weakened-check", "new-skip", "slow-wait", "new-warning",
    "new-check", "new-pass",
]  # fmt: skip
"""Of a change; all but the last two are for the worse."""
WORSE: tuple[Kind, ...] = (
    *("unfinished-run", "new-failure", "lost-check", "weakened-check", "new-skip", "slow-wait", "new-warning"),
)
ORDER: tuple[Kind, ...] = (*WORSE, "new-check", "new-pass")
SLOW_WAIT = 2.0
"""A wait that takes this many times as long is a change."""
LEAST_SECONDS = 5.0
"""By which a wait must have grown. Of 130 pairs of runs of one image on one machine, each of 564 waits, 95 in 100 had
no wait that took twice as long and 5 s more; with 3 s they were 45 in 100, with 1 s none. Of medians over three runs
none took twice as long and 3 s more."""
REPEATS = 3
"""Of so many runs, two must have a new warning: ten runs of one image had two that were in one run alone."""
SHORT = 1.0
"""Of a wait of fewer seconds no ratio is told."""
RAN: tuple[Outcome, ...] = ("passed", "failed", "error")
"""Outcomes that say whether a check is flaky."""
PROFILE_ORDER = {"documented": 0, "conformance": 1, "slow": 2}
"""Profiles that a check can belong to: the later, the fewer runs have it."""
MADE_UP = "[bcdfghjklmnpqrstvwxz2456789]"
"""What Kubernetes makes suffixes of: `alphanums` of k8s.io/apimachinery/pkg/util/rand, so that they hold no words."""
OF_ONE_RUN = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|(?<=-)[0-9a-f]{8}\b"
    rf"|(?<=-){MADE_UP}{{6,10}}-{MADE_UP}{{5}}\b"
    rf"|(?<=-)(?:{MADE_UP}{{5}}|{MADE_UP}{{6,10}})(?![\w-])"
    r"|(?<![a-z0-9])\d+(?![a-z0-9])"
)
"""In the name of an object: what is made anew in each run. A UID; either part of 8 hex digits in the name of a check's
namespace; the suffix of a Deployment's pod, of a DaemonSet's or a Job's, and of a ReplicaSet; a number."""


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

    Of several runs the worst outcome of a check counts, and whether it passes in any; of a wait the median over runs.

    Args:
        before: of the release that was accepted.
        after: of the candidate.
        slow_wait: how many times as long makes a wait slow.
        least_seconds: by how many seconds it must also be longer.
    """
    found = [
        *_of_checks(before, after),
        *weakened_checks(_strengths(before), _strengths(after)),
        *slow_waits(before, after, slow_wait, least_seconds),
        *new_warnings(before, after),
    ]
    return tuple(sorted(found, key=lambda change: ORDER.index(change.kind)))


def _of_checks(before: Sequence[Results], after: Sequence[Results]) -> Iterable[Change]:
    old, new = _all_outcomes(before), _all_outcomes(after)
    lacked, lacking = _lacking(before), _lacking(after)
    for check, were in old.items():
        are = new.get(check)
        if are is None:
            yield Change("lost-check", check, f"{check} was {_told(were)}, and is in no run any more.", check)
        elif kind := _kind(were, are):
            yield Change(kind, check, f"{check} was {_told(were)}, and is {_told(are)}.", check)
        elif lacking[check] and not lacked[check]:
            sentence = f"{check} is missing from {lacking[check]} of {len(after)} runs, though their profile holds it."
            yield Change("lost-check", check, sentence, check)
    for check, are in new.items():
        if check not in old:
            fails = worst_of(are) in ("failed", "error")
            yield Change("new-failure" if fails else "new-check", check, f"{check} is new, and is {_told(are)}.", check)


def _kind(were: Sequence[Outcome], are: Sequence[Outcome]) -> Kind | None:
    was, now = worst_of(were), worst_of(are)
    worse = regressed(were, are)
    if now in ("skipped", "not-run"):
        ran = was in ("failed", "error") or (worse and best_of(were) in PASSING)
        return None if not ran else "new-skip" if now == "skipped" else "lost-check"
    if worse:
        return "new-failure"
    return "new-pass" if now == "passed" != was else None


def regressed(were: Sequence[Outcome], are: Sequence[Outcome]) -> bool:
    """Whether a check is worse at its worst, or passes in no run any more.

    Args:
        were: its outcomes in the runs of the release that was accepted.
        are: in the candidate's.
    """
    worse = SEVERITY.index(worst_of(are)) > SEVERITY.index(worst_of(were))
    return worse or SEVERITY.index(best_of(are)) > SEVERITY.index(best_of(were))


def worst_of(outcomes: Iterable[Outcome]) -> Outcome:
    """The gravest of them."""
    return max(outcomes, key=SEVERITY.index)


def best_of(outcomes: Iterable[Outcome]) -> Outcome:
    """The least grave of them."""
    return min(outcomes, key=SEVERITY.index)


def _told(outcomes: Sequence[Outcome]) -> str:
    """The worst of them, and in how many runs it is, unless in all."""
    worst = worst_of(outcomes)
    number = outcomes.count(worst)
    return worst if number == len(outcomes) else f"{worst} in {number} of {len(outcomes)} runs"


def _all_outcomes(runs: Sequence[Results]) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = {}
    for results in runs:
        for check in results.checks:
            found.setdefault(check.id, []).append(check.outcome)
    return found


def outcomes_of(runs: Sequence[Results]) -> dict[str, Outcome]:
    """Of every check in `runs` its worst outcome."""
    return {check: worst_of(outcomes) for check, outcomes in _all_outcomes(runs).items()}


def _lacking(runs: Sequence[Results]) -> Counter[str]:
    """By check, in how many of `runs` it is not that chose from its profile; a shard has but a part of it."""
    profiles = {check.id: check.profile for results in runs for check in results.checks}
    lacking: Counter[str] = Counter()
    for results in runs:
        if results.run.shard is None:
            chosen = PROFILES.get(results.settings.get("profile", ""), frozenset())
            not_there = profiles.keys() - {check.id for check in results.checks} - set(results.deselected)
            lacking.update(check for check in not_there if profiles[check] in chosen)
    return lacking


Strength = tuple[str, str]
"""Level and profile of a check."""


def _strengths(runs: Sequence[Results]) -> dict[str, Strength]:
    return {check.id: (check.level, check.profile) for results in runs for check in results.checks}


def weakened_checks(before: Mapping[str, Strength], after: Mapping[str, Strength]) -> Iterable[Change]:
    """Checks that were a must, and are a should, or of a larger profile, by their level and profile."""
    for check, (level, profile) in before.items():
        now, among = after.get(check, (level, profile))
        larger = PROFILE_ORDER.get(among, len(PROFILE_ORDER)) > PROFILE_ORDER.get(profile, len(PROFILE_ORDER))
        if level == "must" and (now != "must" or larger):
            sentence = f"{check} was a must of {shown(profile, 40)}, and is a {now} of {shown(among, 40)}."
            yield Change("weakened-check", check, sentence, check)


@dataclass(frozen=True)
class _Wait:
    """One wait over runs: the longest of each run in which all of its kind were met, and one for each run else."""

    met: list[Timed]
    unmet: list[Timed]


def slow_waits(
    before: Sequence[Results], after: Sequence[Results], slow_wait: float, least_seconds: float = LEAST_SECONDS
) -> Iterable[Change]:
    """Waits that take `slow_wait` times as long as they did, and `least_seconds` more, or are no longer met.

    Those of a check that differ but in what each run names anew are one: of each run its longest counts, and then the
    median over runs.
    """
    old = _waits(before)
    for (check, what), now in _waits(after).items():
        was = old.get((check, what))
        if was is None or not was.met:
            continue
        took = median(one.seconds for one in was.met)
        about = f"{check}: the wait for" if check else "The wait for"
        change = Change("slow-wait", f"{check}: {what}" if check else what, "", check)
        if now.unmet and not was.unmet:
            one = now.unmet[0]
            among = f" in {len(now.unmet)} of {len(now.unmet) + len(now.met)} runs" if len(after) > 1 else ""
            ended = f"was not met{among}, and ended after {one.seconds:.1f} s: it took {took:.1f} s."
            yield replace(change, sentence=f"{about} {shown(one.what, 120)} {ended}")
        elif now.met:
            takes = median(one.seconds for one in now.met)
            if takes >= took * slow_wait and takes - took >= least_seconds:
                times = f"{takes / took:.1f} times as long" if took >= SHORT else "longer"
                ended = f"took {takes:.1f} s, {times}: it was {took:.1f} s."
                yield replace(change, sentence=f"{about} {shown(now.met[-1].what, 120)} {ended}")


def _waits(runs: Sequence[Results]) -> dict[tuple[str, str], _Wait]:
    """Every wait by the check that it is of and what is waited for; one that was interrupted says nothing."""
    found: dict[tuple[str, str], _Wait] = {}
    for results in runs:
        plain = _plain(results)
        longest: dict[tuple[str, str], Timed] = {}
        for wait in results.waits:
            if wait.outcome != "interrupted":
                key = (wait.check, plain(wait.what))
                longest[key] = max(longest.get(key, wait), wait, key=lambda one: (one.outcome != "met", one.seconds))
        for key, wait in longest.items():
            over_runs = found.setdefault(key, _Wait([], []))
            (over_runs.met if wait.outcome == "met" else over_runs.unmet).append(wait)
    return found


def new_warnings(before: Sequence[Results], after: Sequence[Results]) -> Iterable[Change]:
    """Warning events of a reason and an object that there were none of; of REPEATS runs or more, two must have it."""
    old = _warnings(before)
    for (reason, of), found in _warnings(after).items():
        if (reason, of) not in old and (len(found) > 1 or len(after) < REPEATS):
            warning = found[-1]
            among = f" in {len(found)} of {len(after)} runs" if len(after) > 1 else ""
            about = f"{shown(reason, 60)} of {shown(warning.of, 100)}{among}"
            sentence = f"There is a new warning {about}: {shown(warning.message, 160)}"
            yield Change("new-warning", f"{reason} {of}", sentence, warning.check)


def _warnings(runs: Sequence[Results]) -> dict[tuple[str, str], list[Warning]]:
    """By reason and object, of each run that has such a warning one."""
    found: dict[tuple[str, str], list[Warning]] = {}
    for results in runs:
        plain = _plain(results)
        for key, warning in {(warning.reason, plain(warning.of)): warning for warning in results.warnings}.items():
            found.setdefault(key, []).append(warning)
    return found


def _plain(results: Results) -> Callable[[str], str]:
    """What makes words about objects the same in each run: without OF_ONE_RUN, and without the names of its nodes."""
    nodes: dict[str, str] = {}
    for subject in (results.before, results.after):
        for node in subject.nodes if subject else ():
            if node.npus or node.name not in nodes:
                nodes[node.name] = "an-npu-node" if node.npus else "a-node"
    return _replacing(frozenset((name, word) for name, word in nodes.items() if name))


@cache
def _replacing(nodes: frozenset[tuple[str, str]]) -> Callable[[str], str]:
    words = dict(nodes)
    names = "|".join(re.escape(name) for name in sorted(words, key=lambda name: (-len(name), name)))
    anew = re.compile(rf"(?<![a-z0-9])(?:{names})(?![a-z0-9])|{OF_ONE_RUN.pattern}") if names else OF_ONE_RUN
    return lambda text: anew.sub(lambda found: words.get(found[0], "*"), text)


def flaky_checks(runs: Sequence[Results]) -> tuple[Flaky, ...]:
    """Checks that passed in some of `runs` and not in others, or only at a later try; the worst first.

    Args:
        runs: of one release; those of another node image, or the like, are no repeats of the rest.
    """
    bad: Counter[str] = Counter()
    tries: Counter[str] = Counter()
    for repeats in _of_one_subject(runs):
        checks: dict[str, list[CheckResult]] = {}
        for results in repeats:
            for check in results.checks:
                if check.outcome in RAN:
                    checks.setdefault(check.id, []).append(check)
        for identity, found in checks.items():
            all_of_it, good = sum(one.tries for one in found), sum(one.outcome == "passed" for one in found)
            if 0 < good < all_of_it:
                tries[identity] += all_of_it
                bad[identity] += all_of_it - good
    flaky = [Flaky(check, bad[check], tries[check]) for check in bad]
    return tuple(sorted(flaky, key=lambda one: (-one.rate, one.check)))


def _of_one_subject(runs: Sequence[Results]) -> Iterable[list[Results]]:
    found: dict[tuple[tuple[str, str], ...], list[Results]] = {}
    for results in runs:
        subject = results.after or results.before
        found.setdefault(tuple(identity_of(subject)) if subject else (), []).append(results)
    return found.values()


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
