"""`python -m bench.gatestatistics`: how often the gate fails a good candidate and finds a bad one, against its claims.

Each figure is of GATES simulated gates, decided by the functions that the gate itself uses, with its random numbers
from a fixed seed. Rates as low as one in a thousand are had to a few percent by drawing near the limit and weighing
each draw by how much rarer it is where it is claimed: importance sampling.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from gate import statistics
from gate.accuracy import UNIT, compare_accuracies
from gate.measures import Reading, Sample
from gate.policy import Accuracy, MetricLimits

GATES = 10_000
SEED = 20_261_124
IMAGES = 49_664
TOP_1, TOP_5 = 37_150 / IMAGES, 45_911 / IMAGES
SHARES = (("top_1", TOP_1), ("top_5", TOP_5), ("a share of 0.99", 0.99))
WITHIN = {"top_1": 1, "top_5": 2}
"""How many of the parts an image may be in to count: the first guess, the next four, none."""
SIZES = (512, IMAGES)
ALPHAS = (0.05, 0.001)
RATE, SCALE, SLOW = 3.67, 0.03, 0.93
"""Iterations per second, the scatter of their logarithm, and the factor of a candidate that is too slow."""
RATES = 5
"""Times as many gates for rates, as these are not drawn near the limit."""
ALLOWED = 0.10
"""By which a rate may differ from its claim."""
POWER = 0.8
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Rate:
    """A claim and what the simulation found."""

    what: str
    claimed: float
    found: float
    error: float

    @property
    def fits(self) -> bool:
        """Whether it is within ALLOWED of the claim."""
        return abs(self.found - self.claimed) <= ALLOWED * self.claimed


def _rate(what: str, claimed: float, weights: NDArray[np.float64] | NDArray[np.bool_]) -> Rate:
    return Rate(what, claimed, float(weights.mean()), float(weights.std() / np.sqrt(len(weights))))


def thresholds(source: np.random.Generator, gates: int) -> Iterator[Rate]:
    """One accuracy against its threshold."""
    for (name, share), images, alpha in product(SHARES, SIZES, ALPHAS):
        test = statistics.against_threshold(round(share * images), images, share, alpha=alpha, power=POWER, level=0.95)
        limit = statistics.critical_count(images, share, alpha)
        near = limit / images
        counts = source.binomial(images, near, gates)
        ratio = np.exp(stats.binom.logpmf(counts, images, share) - stats.binom.logpmf(counts, images, near))
        label = f"{name}, {images} images, threshold, at most {alpha:g}"
        yield _rate(f"{label}: false alarms", test.false_alarm, (counts <= limit) * ratio)
        bad = source.binomial(images, share - test.smallest_drop, gates)
        drop = f"{test.smallest_drop * 100:.2f} points"
        yield _rate(f"{label}: finds {drop}", POWER, bad <= limit)


def baselines(source: np.random.Generator, gates: int) -> Iterator[Rate]:
    """One accuracy against the baseline's: both are drawn anew for each gate, with a true drop of what is allowed."""
    cases = [*product(SHARES, [0.0]), *product(SHARES[:1], [0.02])]
    for ((name, share), allowed), images, alpha in product(cases, SIZES, ALPHAS):
        right, fewer = round(share * images), round((share - allowed) * images)
        test = statistics.against_baseline(
            fewer, images, right, images, alpha=alpha, power=POWER, level=0.95, allowed=allowed
        )
        truth = (right / images - allowed, right / images)
        near = tuple(_towards(each, images, alpha, sign) for each, sign in zip(truth, (-1, 1), strict=True))
        ours, theirs = (source.binomial(images, each, gates) for each in near)
        logs = [
            stats.binom.logpmf(counts, images, one) - stats.binom.logpmf(counts, images, other)
            for counts, one, other in zip((ours, theirs), truth, near, strict=True)
        ]
        failed = _fails(ours, theirs, images, alpha, allowed)
        label = f"{name}, {images} images, baseline, " + (f"allowed {allowed:g}, " if allowed else "")
        label += f"at most {alpha:g}"
        yield _rate(f"{label}: false alarms", test.false_alarm, failed * np.exp(sum(logs)))
        bad = source.binomial(images, truth[1] - test.smallest_drop, gates)
        good = source.binomial(images, truth[1], gates)
        drop = f"{test.smallest_drop * 100:.2f} points"
        yield _rate(f"{label}: finds {drop}", POWER, _fails(bad, good, images, alpha, allowed))


def _towards(share: float, images: int, alpha: float, sign: int) -> float:
    """`share` moved to where two samples of `images` are often so far apart as `alpha` allows; inside of 0 and 1."""
    distance = stats.norm.isf(alpha) / np.sqrt(2 * images * share * (1 - share))
    return float(special.expit(special.logit(share) + sign * distance))


def _fails(ours: Counts, theirs: Counts, images: int, alpha: float, allowed: float = 0.0) -> NDArray[np.bool_]:
    counts, places = np.unique(theirs, return_inverse=True)
    critical = statistics.critical_beside(counts, images, images, alpha, allowed)
    return np.asarray(ours <= critical[places])


def several(source: np.random.Generator, gates: int) -> Iterator[Rate]:
    """All comparisons of the same images at once, as the gate makes them and adds up their false alarms."""
    shares = dict(SHARES[:2])
    readings = {("accuracy", name): (Reading(0, "run", share, UNIT),) for name, share in shares.items()}
    sample = Sample(1, readings, {}, {})
    limits = {name: MetricLimits(share, 0.0, 0.1) for name, share in shares.items()}
    parts = np.array([TOP_1, TOP_5 - TOP_1, 1 - TOP_5])
    for baseline, alpha in product((Sample(0, {}, {}, {}), sample), (0.1, 0.001)):
        rules = Accuracy("accuracy", IMAGES, "sample", alpha, POWER, 0.95, limits)
        compared = compare_accuracies(sample, baseline, rules)
        drawn: list[tuple[Counts, Counts]] = []
        tilts = []
        tests = [(one.metric, one.against, one.alpha) for one in compared.statistics]
        for name, against, each in tests:
            near = statistics.critical_count(IMAGES, shares[name], each) / IMAGES
            ours, theirs = _tilted(parts, name, near), parts
            if against == "baseline":
                ours, theirs = (_tilted(parts, name, _towards(shares[name], IMAGES, each, sign)) for sign in (-1, 1))
            tilts.append((ours, theirs))
            number = gates // len(tests)
            drawn.append((source.multinomial(IMAGES, ours, number), source.multinomial(IMAGES, theirs, number)))
        first, second = (np.vstack(counts) for counts in zip(*drawn, strict=True))
        logs = [first @ np.log(ours / parts) + second @ np.log(theirs / parts) for ours, theirs in tilts]
        ratio = len(tests) / np.exp(logs).sum(axis=0)
        alarm = np.zeros(len(first), dtype=bool)
        for name, against, each in tests:
            ours, theirs = (counts[:, : WITHIN[name]].sum(axis=1) for counts in (first, second))
            limit = statistics.critical_count(IMAGES, shares[name], each)
            alarm |= ours <= limit if against == "threshold" else _fails(ours, theirs, IMAGES, each)
        label = f"top_1 and top_5, threshold{' and baseline' if baseline.runs else ''}, at most {alpha:g}"
        yield _rate(f"{label}: false alarms", compared.false_alarm, alarm * ratio)


def _tilted(parts: NDArray[np.float64], name: str, share: float) -> NDArray[np.float64]:
    """`parts` with those of the metric scaled to sum to `share`, the others to the rest."""
    inside = np.arange(len(parts)) < WITHIN[name]
    scaled: NDArray[np.float64] = np.where(
        inside, parts * share / parts[inside].sum(), parts * (1 - share) / parts[~inside].sum()
    )
    return scaled


def rates(source: np.random.Generator, gates: int) -> Iterator[Rate]:
    """Throughput over repeats, with a distribution that is far from normal.

    The gate claims no power for rates: what is found is held against the binomial distribution, and scipy's rank sums.
    """

    def drawn(number: int, factor: float = 1.0) -> NDArray[np.float64]:
        heavy = source.standard_t(3, (RATES * gates, number)) * SCALE
        return np.asarray(factor * RATE * np.exp(heavy))

    for repeats in (6, 12):
        ours, theirs, slow = drawn(repeats), drawn(repeats), drawn(repeats, SLOW)
        label = f"rate, {repeats} repeats"
        medians = [statistics.median_interval(one.tolist(), 0.05) for one in ours]
        missed = np.array([one.high < RATE for one in medians])
        yield _rate(f"{label}, threshold: false alarms", medians[0].one_sided, missed)
        above = stats.t.sf(-np.log(SLOW) / SCALE, 3)
        claimed = float(stats.binom.cdf(statistics.critical_count(repeats, 0.5, 0.05), repeats, above))
        found = np.array([statistics.median_interval(one.tolist(), 0.05).high < RATE for one in slow])
        yield _rate(f"{label}, threshold: finds {1 - SLOW:.0%}", claimed, found)
        ratios = _ratios(ours, theirs)
        yield _rate(f"{label}, baseline: false alarms", ratios[0].one_sided, np.array([one.high < 1 for one in ratios]))
        ranked = stats.mannwhitneyu(slow, theirs, alternative="less", axis=1, method="exact").pvalue <= 0.05
        found = np.array([one.high < 1 for one in _ratios(slow, theirs)])
        yield _rate(f"{label}, baseline: finds {1 - SLOW:.0%}", float(ranked.mean()), found)


def _ratios(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> list[statistics.Interval]:
    return [
        statistics.ratio_interval(one.tolist(), other.tolist(), 0.05) for one, other in zip(ours, theirs, strict=True)
    ]


def main() -> int:
    """Print a Markdown table; 1 when a rate differs from its claim by more than ALLOWED."""
    parser = argparse.ArgumentParser(prog="python -m bench.gatestatistics", description=__doc__)
    parser.add_argument("--gates", type=int, default=GATES, help=f"for each figure ({GATES})")
    gates = parser.parse_args().gates
    source = np.random.default_rng(SEED)
    print("| what | claimed | found | standard error | within 10 % |\n| --- | --- | --- | --- | --- |")
    misses = 0
    for part in (thresholds, baselines, several, rates):
        for one in part(source, gates):
            misses += not one.fits
            fits = "yes" if one.fits else "NO"
            print(f"| {one.what} | {one.claimed:.3g} | {one.found:.3g} | {one.error:.1g} | {fits} |", flush=True)
    return int(misses > 0)


if __name__ == "__main__":
    sys.exit(main())
