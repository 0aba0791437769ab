"""What checks measured and how long pods took, over runs: all that numbers are compared by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from gate.compare import OF_ONE_RUN
from gate.decision import Finding
from gate.jsonfile import shown
from gate.policy import Policy
from gate.results import PodTimes, Results

Key = TypeVar("Key")
Value = TypeVar("Value")
TIMES: dict[str, tuple[str, Callable[[PodTimes], tuple[float | None, float | None]]]] = {
    "pod start": ("from created to started", lambda pod: (pod.created, pod.started)),
    "pod run": ("from started to finished", lambda pod: (pod.started, pod.finished)),
}
"""By name, in words and the two ends of what is timed of a pod."""
LEAST_SECONDS = 0.5
"""Times of pods are whole seconds, so that 0 s may be half of one."""


@dataclass(frozen=True)
class Reading:
    """One value that a check measured in a run, which is the one in `place` of those that were given."""

    place: int
    run: str
    value: float | str | bool
    unit: str

    def shown_beside(self, unit: str) -> str:
        """The value as a person may read it who expects it in `unit`: with its own where that is another."""
        own = "" if self.unit == unit else f" {shown(self.unit, 40) or 'without a unit'}"
        return shown(repr(self.value), 60) + own


@dataclass(frozen=True)
class Sample:
    """What some runs measured, of what a policy compares.

    Attributes:
        runs: how many there are.
        readings: by check and name, every value in the order of the runs.
        passed: by check, place and id of each run in which it passed.
        times: by the name in TIMES, of each run the median seconds of its NPU pods, by the name of the pods.
    """

    runs: int
    readings: Mapping[tuple[str, str], tuple[Reading, ...]]
    passed: Mapping[str, tuple[tuple[int, str], ...]]
    times: Mapping[str, tuple[Mapping[str, float], ...]]

    def times_of(self, name: str, pods: Collection[str]) -> tuple[float, ...]:
        """Of each run the median over `pods`, each of which it has; nothing without any of those."""
        return tuple(median(run[pod] for pod in pods) for run in self.times.get(name, ())) if pods else ()

    def of(self, check: str, name: str) -> tuple[Reading, ...]:
        """Every value called `name` of the check."""
        return self.readings.get((check, name), ())


def sample_of(runs: Sequence[Results], policy: Policy) -> Sample:
    """What `runs` measured, of what `policy` compares; whole numbers as floats."""
    checks = {rules.check for rules in (policy.accuracy, policy.throughput) if rules}
    readings: dict[tuple[str, str], list[Reading]] = {}
    passed: dict[str, list[tuple[int, str]]] = {}
    times: dict[str, list[Mapping[str, float]]] = {}
    for place, results in enumerate(runs):
        for check in results.checks:
            if check.id not in checks:
                continue
            if check.outcome == "passed":
                passed.setdefault(check.id, []).append((place, results.run.id))
            for one in check.measured:
                value = one.value
                number = float(value) if isinstance(value, int) and not isinstance(value, bool) else value
                readings.setdefault((check.id, one.name), []).append(Reading(place, results.run.id, number, one.unit))
        for name, (_, ends) in TIMES.items() if policy.timing else ():
            spans: dict[str, list[float]] = {}
            for pod in results.pods:
                span = _span(*ends(pod)) if pod.npus else None
                if span is not None:
                    spans.setdefault(OF_ONE_RUN.sub("*", pod.name), []).append(span)
            times.setdefault(name, []).append({pod: median(every) for pod, every in spans.items()})
    return Sample(len(runs), _frozen(readings), _frozen(passed), _frozen(times))


def _frozen(lists: Mapping[Key, list[Value]]) -> dict[Key, tuple[Value, ...]]:
    return {key: tuple(values) for key, values in lists.items()}


def findings_of_number(sample: Sample, check: str, name: str, remedy: str) -> Iterator[Finding]:
    """Runs that have not one value of that name: one in which the check passed has one, and none has several."""
    counted = Counter((reading.place, reading.run) for reading in sample.of(check, name))
    for one in sorted({*sample.passed.get(check, ()), *counted}):
        run, number = one[1], counted[one]
        if number == 0:
            sentence = f"{name} was not measured in run {run}, in which {check} passed."
            yield Finding("not-measured", "inconclusive", sentence, remedy, check, run)
        elif number > 1:
            sentence = f"{name} of run {run} was measured {number} times, and is not one number."
            yield Finding("not-believable", "inconclusive", sentence, remedy, check, run)


def common_pods(samples: Iterable[Sample], name: str) -> frozenset[str]:
    """The names of pods of which every run of every sample knows that time: of others it would compare the mixture."""
    known = [frozenset(run) for sample in samples for run in sample.times.get(name, ())]
    return frozenset.intersection(*known) if known else frozenset()


def _span(began: float | None, ended: float | None) -> float | None:
    if began is None or ended is None or ended < began:
        return None
    return max(ended - began, LEAST_SECONDS)
