"""What checks measured and how long pods took, over runs: all that numbers are compared by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from gate.jsonfile import shown
from gate.policy import Policy
from gate.results import PodTimes, Results

TIMES: dict[str, tuple[str, Callable[[PodTimes], tuple[float | None, float | None]]]] = {
    "pod start": ("from created to started", lambda pod: (pod.created, pod.started)),
    "pod run": ("from started to finished", lambda pod: (pod.started, pod.finished)),
}
"""By name, in words and the two ends of what is timed of a pod."""
LEAST_SECONDS = 0.5
"""Times of pods are whole seconds, so that 0 s may be half of one."""


@dataclass(frozen=True)
class Reading:
    """One value that a check measured in a run."""

    run: str
    value: float | str | bool
    unit: str

    @property
    def shown(self) -> str:
        """The value as a person may read it."""
        return shown(repr(self.value), 60)


@dataclass(frozen=True)
class Sample:
    """What some runs measured, of what a policy compares.

    Attributes:
        runs: how many there are.
        readings: by check and name, every value in the order of the runs.
        times: by the name in TIMES, of each run that has any the median seconds of its NPU pods.
    """

    runs: int
    readings: Mapping[tuple[str, str], tuple[Reading, ...]]
    times: Mapping[str, tuple[float, ...]]

    def of(self, check: str, name: str) -> tuple[Reading, ...]:
        """Every value called `name` of the check."""
        return self.readings.get((check, name), ())


def sample_of(runs: Iterable[Results], policy: Policy) -> Sample:
    """What `runs` measured, of what `policy` compares; whole numbers as floats."""
    checks = {rules.check for rules in (policy.accuracy, policy.throughput) if rules}
    readings: dict[tuple[str, str], list[Reading]] = {}
    times: dict[str, list[float]] = {}
    count = 0
    for results in runs:
        count += 1
        for check in results.checks:
            for one in check.measured if check.id in checks else ():
                value = one.value
                number = float(value) if isinstance(value, int) and not isinstance(value, bool) else value
                readings.setdefault((check.id, one.name), []).append(Reading(results.run.id, number, one.unit))
        for name, (_, ends) in TIMES.items() if policy.timing else ():
            spans = [_span(*ends(pod)) for pod in results.pods if pod.npus]
            if known := [span for span in spans if span is not None]:
                times.setdefault(name, []).append(median(known))
    return Sample(
        count, {of: tuple(all_of_it) for of, all_of_it in readings.items()},
        {name: tuple(all_of_it) for name, all_of_it in times.items()},
    )  # fmt: skip


def _span(began: float | None, ended: float | None) -> float | None:
    if began is None or ended is None or ended < began:
        return None
    return max(ended - began, LEAST_SECONDS)
