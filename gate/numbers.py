"""Numbers of the candidate against thresholds and baseline, compared beside the gate's own work: scipy loads slowly."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from gate.decision import Compared
from gate.measures import Sample, sample_of
from gate.policy import Accuracy, Policy, Rate, Timing
from gate.results import Results

Rules = tuple[Accuracy | None, Rate | None, Timing | None]


@dataclass
class Comparing:
    """The comparisons that a policy asks for.

    Attributes:
        pool: does them; it loads what they take at once, if there are any.
        policy: what is compared.
    """

    pool: Executor
    policy: Policy

    def __post_init__(self) -> None:
        self._rules: Rules = (self.policy.accuracy, self.policy.throughput, self.policy.timing)
        self._done: Future[list[Compared]] | None = None
        if any(self._rules):
            self.pool.submit(_load)

    def begin(self, runs: Sequence[Results], baseline: Sequence[Results]) -> None:
        """Begin to compare `runs` with thresholds and `baseline`; without a run there is nothing to compare."""
        if runs and any(self._rules):
            samples = sample_of(runs, self.policy), sample_of(baseline, self.policy)
            self._done = self.pool.submit(_compared, *samples, self._rules)

    def results(self) -> list[Compared]:
        """Of each comparison that was begun, what came of it."""
        return self._done.result() if self._done else []


def _load() -> None:
    from gate import statistics  # noqa: F401, PLC0415 - half a second, that nobody need wait for


def _compared(sample: Sample, baseline: Sample, rules: Rules) -> list[Compared]:
    from gate.accuracy import compare_accuracies  # noqa: PLC0415 - as above
    from gate.rates import compare_throughput, compare_timings  # noqa: PLC0415 - as above

    accuracy, throughput, timing = rules
    return [
        *([compare_accuracies(sample, baseline, accuracy)] if accuracy else []),
        *([compare_throughput(sample, baseline, throughput)] if throughput else []),
        *([compare_timings(sample, baseline, timing)] if timing else []),
    ]
